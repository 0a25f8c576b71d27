"""Who was there from when to when, and how long they spoke: exact, in milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.domain.documents.record import Participant, Record
from bridge.domain.transcript import current

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One participant's part in the call.

    `stays`: when they were there (Unix milliseconds), each moment once whatever the number of their
    devices. `present_ms`: how long that was; `spoken_ms`: how long they spoke, each moment once
    whatever the number of voices at their microphone. `voices`: the same for each voice, where
    there are any.
    """

    who: Participant
    stays: tuple[Interval, ...]
    present_ms: int
    spoken_ms: int
    voices: tuple[tuple[str, int], ...] = ()


def people(record: Record) -> tuple[Person, ...]:
    """Every participant, in the record's order."""
    said: dict[str, dict[str, list[Interval]]] = {}
    for utterance in current(record.utterances):
        voices = said.setdefault(utterance.speaker, {})
        voices.setdefault(utterance.voice, []).append((utterance.start_ms, utterance.end_ms))
    return tuple(_person(who, said.get(who.user_id, {})) for who in record.participants)


def joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same moments as intervals that neither overlap nor touch, in order."""
    apart: list[Interval] = []
    for start, end in sorted(intervals):
        if end < start:
            continue
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return tuple(apart)


def length(intervals: Iterable[Interval]) -> int:
    """How long these moments are together: what overlaps counts once."""
    return sum(end - start for start, end in joined(intervals))


def _person(who: Participant, said: dict[str, list[Interval]]) -> Person:
    stays = joined((stay.joined_ms, stay.left_ms) for stay in who.stays)
    return Person(
        who=who,
        stays=stays,
        present_ms=length(stays),
        spoken_ms=length(interval for intervals in said.values() for interval in intervals),
        voices=tuple((voice, length(said[voice])) for voice in sorted(said) if voice),
    )
