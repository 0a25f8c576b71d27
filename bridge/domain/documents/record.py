"""One `Record`: everything the documents of a conference say. All forms are written from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType

from bridge.domain.transcript import Spoken, Turn, label
from bridge.ids import server_of
from bridge.text import Language, say

__all__ = ["Language", "Participant", "Presence", "Record", "Written"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Presence:
    """One connection of a person, Unix milliseconds. `site`: '' for our own media server."""

    joined_ms: int
    left_ms: int
    site: str = ""


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who was in the call, whether they spoke or not.

    `stays`: their connections in the order they were made; they overlap where somebody came with
    two devices. None where a site that was away told what was said there, and not who was there.
    """

    user_id: str
    display_name: str = ""
    stays: tuple[Presence, ...] = ()

    @property
    def name(self) -> str:
        """How they are called."""
        return self.display_name or self.user_id

    @property
    def server(self) -> str:
        """Name of their homeserver."""
        return server_of(self.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message that somebody wrote in the room while the call went on. `at_ms`: Unix time."""

    event_id: str
    author: str
    display_name: str
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything the documents say about one conference.

    `started_ms` and `ended_ms` are Unix times in milliseconds; `zone` is the time zone in which
    documents for people give the hour (JSON is always UTC). `missing`: sites of the call whose
    part of the record is not (wholly) in it. `interruptions`: when nobody listened, from and until,
    in milliseconds since the start. `voices`: who is named behind a voice of a shared
    microphone, by (speaker, voice). `chat`: None where it was not asked for; `chat_unread`: how
    many of its messages could not be read.
    """

    title: str
    room_name: str
    room_id: str
    conference: str
    started_ms: int
    ended_ms: int
    participants: tuple[Participant, ...] = ()
    utterances: tuple[Spoken, ...] = ()
    missing: tuple[str, ...] = ()
    interruptions: tuple[tuple[int, int], ...] = ()
    voices: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    chat: tuple[Written, ...] | None = None
    chat_unread: int = 0
    zone: tzinfo = UTC

    def label(self, spoken: Spoken | Turn, language: Language) -> str:
        """What the speaker is called: a person, or one of the voices at their microphone."""
        voice_name = self.voices.get((spoken.speaker, spoken.voice), "")
        return label(spoken.display_name or spoken.speaker, spoken.voice, voice_name, language)

    def local(self, at_ms: int) -> datetime:
        """A Unix time in the documents' zone."""
        return _moment(at_ms).astimezone(self.zone)

    def hours(self, began_ms: int, ended_ms: int, language: Language) -> str:
        """`09h00 à 10h02`, in the documents' zone."""
        form = say("document.time_form", language)
        return say(
            "document.stay",
            language,
            began=self.local(began_ms).strftime(form),
            ended=self.local(ended_ms).strftime(form),
        )


def interruption(since_ms: int, until_ms: int, language: Language) -> str:
    """What stands where nobody listened."""
    values = {"since": clock(since_ms), "until": clock(until_ms)}
    return say("document.interruption", language, **values)


def iso(at_ms: int) -> str:
    """A Unix time in milliseconds as RFC 3339, in UTC: `2026-11-23T09:00:00.000Z`."""
    return _moment(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(milliseconds: int) -> str:
    """Time since the start as people write it: `0:07`, `12:40`, `1:02:03`."""
    seconds = max(0, milliseconds) // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}:{minutes:02d}:{seconds % 60:02d}"
    return f"{minutes}:{seconds % 60:02d}"


def one_line(text: str) -> str:
    """No line break and no control character.

    Both could begin another block or cue, and XML 1.0 has no place for most control characters.
    """
    printable = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())


def _moment(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
