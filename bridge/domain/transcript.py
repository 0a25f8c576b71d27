"""What was said in one conference: utterances as stored, and the turns a reader sees.

An utterance is one final segment of one person's track, at its newest revision. A turn is what
one person said before somebody else took the floor: utterances of the same voice that follow each
other within a short pause and without another voice beginning between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

PAUSE_MS = 4000
"""A silence longer than this ends a turn even where nobody else speaks: a new paragraph."""


Word = tuple[str, int, int]
"""A word, when it began and when it ended: milliseconds since the conference's start."""


class Spoken(Protocol):
    """What every stored utterance has. Times are milliseconds since the conference's start.

    `voice`: "" or "V1", "V2"... of several people at one microphone. `words`: empty where the
    engine knows none. `editor`: who corrected it, "" where a machine wrote it.
    """

    @property
    def segment(self) -> str: ...
    @property
    def rev(self) -> int: ...
    @property
    def speaker(self) -> str: ...
    @property
    def display_name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def engine(self) -> str: ...
    @property
    def voice(self) -> str: ...
    @property
    def words(self) -> tuple[Word, ...]: ...
    @property
    def editor(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A plain `Spoken`: what the stores keep of an utterance, and bridges tell each other."""

    segment: str
    speaker: str
    text: str
    start_ms: int
    end_ms: int
    rev: int = 0
    display_name: str = ""
    language: str = ""
    engine: str = ""
    voice: str = ""
    words: tuple[Word, ...] = ()
    editor: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One person's words until somebody else speaks.

    `overlaps`: another turn begins before this one ends (two people spoke at once).
    """

    speaker: str
    display_name: str
    start_ms: int
    end_ms: int
    utterances: tuple[Spoken, ...]
    overlaps: bool = False
    voice: str = ""

    @property
    def text(self) -> str:
        """The words of the whole turn, with one space between utterances."""
        return " ".join(utterance.text.strip() for utterance in self.utterances)


def label(display_name: str, voice: str, voice_name: str, language: str) -> str:
    """What a speaker is called: "Salle 214", "Salle 214 – voix 1", "Anne Martin (Salle 214)"."""
    if not voice:
        return display_name
    if voice_name:
        return f"{voice_name} ({display_name})"
    word = "voice" if language == "en" else "voix"
    return f"{display_name} – {word} {voice.removeprefix('V')}"


def whole(segment: str) -> str:
    """The utterance that a segment is of: "s-0" for "s-0" and for "s-0.1", a part of it.

    The last pass cuts utterances where the voice changes (docs/voices.md).
    """
    utterance, _, number = segment.rpartition(".")
    return utterance if utterance and number.isdecimal() else segment


def current(utterances: Iterable[Spoken]) -> list[Spoken]:
    """The newest revision of every segment, in the order they began; emptied ones are left out.

    A correction is a higher revision of the same segment; a deletion leaves a revision without
    text behind, so that an older one arriving late does not come back to life.
    """
    newest: dict[str, Spoken] = {}
    for utterance in utterances:
        known = newest.get(utterance.segment)
        if known is None or utterance.rev > known.rev:
            newest[utterance.segment] = utterance
    spoken = (utterance for utterance in newest.values() if utterance.text.strip())
    return sorted(spoken, key=lambda u: (u.start_ms, u.end_ms, u.segment))


def turns(utterances: Iterable[Spoken], *, pause_ms: int = PAUSE_MS) -> list[Turn]:
    """The conversation as a reader sees it, in order of the turns' beginnings."""
    runs: list[list[Spoken]] = []
    for utterance in current(utterances):
        if runs and _continues(runs[-1][-1], utterance, pause_ms):
            runs[-1].append(utterance)
        else:
            runs.append([utterance])
    built = [_turn(run) for run in runs]
    return [_marked(turn, built[at + 1 :]) for at, turn in enumerate(built)]


def speakers(utterances: Iterable[Spoken]) -> list[str]:
    """Matrix ids of those who spoke, in the order of their first word."""
    return list(dict.fromkeys(utterance.speaker for utterance in current(utterances)))


def _continues(last: Spoken, following: Spoken, pause_ms: int) -> bool:
    same = (last.speaker, last.voice) == (following.speaker, following.voice)
    return same and following.start_ms - last.end_ms <= pause_ms


def _turn(run: list[Spoken]) -> Turn:
    return Turn(
        speaker=run[0].speaker,
        display_name=run[-1].display_name or run[0].speaker,
        start_ms=run[0].start_ms,
        end_ms=max(utterance.end_ms for utterance in run),
        utterances=tuple(run),
        voice=run[0].voice,
    )


def _marked(turn: Turn, later: list[Turn]) -> Turn:
    overlaps = any(
        other.start_ms < turn.end_ms and (other.speaker, other.voice) != (turn.speaker, turn.voice)
        for other in later[:1]
    )
    return replace(turn, overlaps=overlaps)
