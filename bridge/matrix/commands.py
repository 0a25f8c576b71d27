"""What people type: `!visio start`, `!visio démarrer`, `!visio transcript on`. Pure."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from typing import Literal

Verb = Literal["start", "stop", "status", "who", "transcript", "help", "unknown"]

_WORDS: dict[str, Verb] = {
    "start": "start",
    "demarrer": "start",
    "lancer": "start",
    "stop": "stop",
    "arreter": "stop",
    "terminer": "stop",
    "status": "status",
    "etat": "status",
    "statut": "status",
    "who": "who",
    "qui": "who",
    "transcript": "transcript",
    "transcription": "transcript",
    "transcrire": "transcript",
    "help": "help",
    "aide": "help",
    "?": "help",
    "": "help",
}
_ON = frozenset({"on", "oui", "yes", "activer", "active", "marche"})
_OFF = frozenset({"off", "non", "no", "desactiver", "desactive", "arret"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `words`: what was typed after the prefix, for answers that repeat it.

    `switch` is set for `transcript on` and `off`. `near`: for an unknown verb, one it resembles.
    """

    verb: Verb
    words: str = ""
    switch: bool | None = None
    near: str = ""


def parse(body: str, prefix: str) -> Command | None:
    """The command in a message, None where it is none. Accents and capitals do not matter."""
    line = _without_quote(body).strip().splitlines()[:1]
    first, *rest = line[0].split() if line and line[0].split() else [""]
    if _folded(first) != _folded(prefix) or not first:
        return None
    words = " ".join(rest)[:100]
    verb = _WORDS.get(_folded(rest[0]) if rest else "", "unknown")
    if verb == "unknown":
        return Command("unknown", rest[0][:40], near=_near(rest[0]))
    return Command(verb, words, _switch(rest[1:]) if verb == "transcript" else None)


def _switch(arguments: list[str]) -> bool | None:
    word = _folded(arguments[0]) if arguments else ""
    return True if word in _ON else False if word in _OFF else None


def _near(word: str) -> str:
    known = [spelling for spelling in _WORDS if len(spelling) > 1]
    matches = difflib.get_close_matches(_folded(word[:40]), known, n=1)
    return matches[0] if matches else ""


def _folded(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _without_quote(body: str) -> str:
    # The reply fallback of older clients: quoted lines, then an empty one (removed by MSC2781).
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    while lines and lines[0].startswith(">"):
        lines.pop(0)
    return "\n".join(lines)
