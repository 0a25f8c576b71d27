"""What people type: `!visio start`, `!visio salle d'attente on`, `!visio mute Bob`. Pure.

A command's word tells the language its answer is in; where a word is the same in French and in
English, the room's language holds.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bridge.domain import revision
from bridge.text import Language

Verb = Literal[
    "start",
    "ring",
    "stop",
    "invite",
    "status",
    "who",
    "captions",
    "transcript",
    "transcribe_me",
    "language",
    "lock",
    "unlock",
    "lobby",
    "publish",
    "max",
    "admit",
    "mute",
    "remove",
    "room_mic",
    "export",
    "summary",
    "panel",
    "correct",
    "delete",
    "voice",
    "my_words",
    "help",
    "unknown",
]

VERBS: tuple[Verb, ...] = get_args(Verb)
_OF_MANY_LINES: frozenset[Verb] = frozenset({"correct"})
MAX_ARGUMENTS = 6000
"""Characters of what follows the verb: as many as an utterance may have."""
SWITCHED: frozenset[Verb] = frozenset(
    {"captions", "transcript", "lobby", "summary", "panel", "transcribe_me"}
)
"""Verbs that `on` or `off` follows."""

# What stands under neither language is a word of both.
_WORDS: Mapping[Verb, Mapping[Language | None, tuple[str, ...]]] = {
    "start": {"en": ("start",), "fr": ("demarrer", "lancer")},
    "ring": {"en": ("ring",), "fr": ("sonner", "appeler")},
    "stop": {"en": ("stop", "end"), "fr": ("arreter", "terminer", "raccrocher")},
    "invite": {None: ("invite",), "fr": ("inviter",)},
    "status": {"en": ("status",), "fr": ("etat", "statut")},
    "who": {"en": ("who",), "fr": ("qui",)},
    "captions": {
        "en": ("captions", "subtitles"),
        "fr": ("sous-titres", "sous titres", "sous-titrage"),
    },
    "transcript": {"en": ("transcript",), "fr": ("transcrire",), None: ("transcription",)},
    "panel": {"en": ("panel",), "fr": ("panneau",)},
    "transcribe_me": {
        "en": ("transcribe-me", "transcribe me"),
        "fr": ("me transcrire", "me-transcrire", "transcrivez-moi"),
    },
    "language": {"en": ("language",), "fr": ("langue",)},
    "lock": {"en": ("lock",), "fr": ("verrouiller", "fermer")},
    "unlock": {"en": ("unlock",), "fr": ("deverrouiller", "ouvrir")},
    "lobby": {
        "en": ("lobby", "waiting room"),
        "fr": ("salle d'attente", "salle attente", "attente"),
    },
    "publish": {"en": ("publish",), "fr": ("parole",)},
    "max": {"en": ("max",), "fr": ("maximum",)},
    "admit": {"en": ("admit",), "fr": ("admettre", "laisser entrer")},
    "mute": {
        "en": ("mute",),
        "fr": ("couper le micro de", "couper le micro", "couper micro", "couper"),
    },
    "room_mic": {
        "en": ("room-mic", "room mic", "shared mic"),
        "fr": ("micro partage", "micro de salle", "micro-partage"),
    },
    "remove": {"en": ("remove",), "fr": ("retirer", "enlever")},
    "export": {None: ("export",), "fr": ("exporter",)},
    "summary": {"en": ("summary", "summarize"), "fr": ("resume", "resumer", "synthese")},
    "correct": {"en": ("correct",), "fr": ("corriger", "rectifier")},
    "delete": {"en": ("delete",), "fr": ("supprimer", "effacer")},
    "voice": {"en": ("voice",), "fr": ("voix",)},
    "my_words": {
        "en": ("my-words", "my words"),
        "fr": ("mes-paroles", "mes paroles", "mes-mots", "mes mots"),
    },
    "help": {"en": ("help",), "fr": ("aide",), None: ("?", "")},
}

_ON = frozenset({"on", "oui", "yes", "activer", "active", "marche"})
_OFF = frozenset({"off", "non", "no", "desactiver", "desactive", "arret"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `words`: what was typed after the prefix, for answers that repeat it.

    `arguments`: what followed the verb, as typed. `switch`: whether that was on or off, where the
    verb takes it. `near`: for an unknown verb, one it resembles. `language` is None where the verb
    is a word of both languages.
    """

    verb: Verb
    words: str = ""
    switch: bool | None = None
    near: str = ""
    arguments: str = ""
    language: Language | None = None


def parse(body: str, prefix: str) -> Command | None:
    """The command in a message, None where it is none. Accents and capitals do not matter."""
    lines = unquoted(body).strip().splitlines()
    first, *rest = lines[0].split() if lines and lines[0].split() else [""]
    if folded(first) != folded(prefix) or not first:
        return None
    for length in range(min(_LONGEST, max(len(rest), 1)), 0, -1):
        known = _PHRASES.get(" ".join(map(folded, rest[:length])))
        if known is not None:
            if known[0] in _OF_MANY_LINES:
                rest += [word for line in lines[1:] for word in line.split()]
            return _command(*known, rest, length)
    return Command("unknown", rest[0][:40], near=_near(rest[:_LONGEST]))


def substitution(body: str) -> Command | None:
    """`s/old/new/` alone is a command too, as a reply to the words it corrects."""
    typed = unquoted(body).strip()[:MAX_ARGUMENTS]
    return Command("correct", arguments=typed) if revision.substitution(typed) else None


def folded(word: str) -> str:
    """A word without accents and capitals, its apostrophes straight: what words are compared by."""
    decomposed = unicodedata.normalize("NFKD", word.casefold().replace("\u2019", "'"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _command(verb: Verb, language: Language | None, rest: list[str], length: int) -> Command:
    arguments = rest[length:]
    return Command(
        verb,
        " ".join(rest)[:100],
        _switch(arguments) if verb in SWITCHED else None,
        arguments=" ".join(arguments)[:MAX_ARGUMENTS],
        language=language,
    )


def _switch(arguments: list[str]) -> bool | None:
    return switched(arguments[0] if arguments else "")


def switched(word: str) -> bool | None:
    """Whether a word says on or off; None where it says neither."""
    word = folded(word)
    return True if word in _ON else False if word in _OFF else None


def _near(words: list[str]) -> str:
    """The spelling most like what was typed, or like its first word."""
    known = [spelling for spelling in _PHRASES if len(spelling) > 1]
    for typed in (" ".join(words), words[0]):
        matches = difflib.get_close_matches(folded(typed[:40]), known, n=1)
        if matches:
            return matches[0]
    return ""


def _spellings() -> Iterable[tuple[str, tuple[Verb, Language | None]]]:
    for verb, languages in _WORDS.items():
        for language, spellings in languages.items():
            for spelling in spellings:
                yield spelling, (verb, language)


_PHRASES = dict(_spellings())
_LONGEST = max(len(spelling.split()) for spelling in _PHRASES)


def unquoted(body: str) -> str:
    """A message without what it answers.

    The reply fallback of older clients: quoted lines, then an empty one (removed by MSC2781).
    """
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    while lines and lines[0].startswith(">"):
        lines.pop(0)
    return "\n".join(lines)
