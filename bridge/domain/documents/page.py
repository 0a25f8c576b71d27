"""What a document for people shows, as blocks in order: Markdown, ODT and DOCX write the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.domain.documents.presence import Person, people
from bridge.domain.documents.record import Record, Written, clock, interruption, one_line
from bridge.domain.transcript import Spoken, Turn, current, label, turns
from bridge.text import Language, say


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is the document's title."""

    level: Literal[1, 2]
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what it is."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence of ours."""

    text: str


@dataclass(frozen=True, slots=True)
class Attendance:
    """The people: a table, or a list. `hint` says what is in it."""

    hint: str
    people: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Speech:
    """What one person, or one voice, said. `marks`: words of ours beside the name.

    `parts`: text and language tag of each utterance.
    """

    name: str
    at: str
    marks: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]


Block = Heading | Fact | Remark | Attendance | Speech


def blocks(record: Record, language: Language) -> list[Block]:
    """The whole document."""
    page: list[Block] = [
        Heading(1, say("document.heading", language, title=one_line(record.title))),
        *_facts(record, language),
        Remark(say("document.notice", language)),
        Heading(2, say("document.participants", language)),
        Attendance(say("document.attendance_hint", language), people(record)),
        Heading(2, say("document.conversation", language)),
    ]
    talk = conversation(record, language)
    return [*page, *talk] if talk else [*page, Remark(say("document.nothing", language))]


def conversation(record: Record, language: Language) -> list[Speech | Remark]:
    """The turns, and between them what was written or lost, in the order of their beginnings."""
    lost = [
        (since_ms, Remark(interruption(since_ms, until_ms, language)))
        for since_ms, until_ms in record.interruptions
    ]
    said = [(turn.start_ms, _speech(record, turn, language)) for turn in turns(record.utterances)]
    chat = [
        (message.at_ms - record.started_ms, _written(record, message, language))
        for message in record.chat or ()
    ]
    timed: list[tuple[int, Speech | Remark]] = [*lost, *said, *chat]
    return [block for _, block in sorted(timed, key=lambda one: one[0])]


def presence(record: Record, person: Person, language: Language) -> str:
    """When somebody was there: `09h00 à 09h20, 09h30 à 10h02`."""
    return ", ".join(record.hours(began, ended, language) for began, ended in person.stays)


COLUMNS = ("name", "account", "server", "presence", "talk_time")


def columns(language: Language) -> list[str]:
    """Heads of the table of people."""
    return [say(f"document.{key}", language) for key in COLUMNS]


def rows(record: Record, block: Attendance, language: Language) -> list[list[str]]:
    """Its rows: one a person, and below it one for each voice at their microphone."""
    table = []
    for person in block.people:
        who = person.who
        cells = [who.name, who.user_id, who.server, presence(record, person, language)]
        table.append([one_line(cell) for cell in (*cells, clock(person.spoken_ms))])
        for name, spoken_ms in voices(record, person, language):
            table.append([name, one_line(who.user_id), one_line(who.server), "", clock(spoken_ms)])
    return table


def voices(record: Record, person: Person, language: Language) -> list[tuple[str, int]]:
    """What the voices at somebody's microphone are called, and how long each spoke (ms)."""
    who = person.who
    return [
        (
            one_line(label(who.name, voice, record.voices.get((who.user_id, voice), ""), language)),
            spoken_ms,
        )
        for voice, spoken_ms in person.voices
    ]


def _facts(record: Record, language: Language) -> list[Fact]:
    form = say("document.date_form", language)
    began = record.local(record.started_ms)
    date = say(
        "document.from_to",
        language,
        began=began.strftime(form),
        ended=record.local(record.ended_ms).strftime(say("document.time_form", language)),
        zone=began.tzname() or "",
    )
    spoken = current(record.utterances)
    facts = [
        ("room", one_line(record.room_name)),
        ("date", date),
        ("duration", clock(record.ended_ms - record.started_ms)),
        ("engine", one_line(", ".join(sorted({u.engine for u in spoken if u.engine})))),
        ("corrections", one_line(", ".join(_editors(record, spoken)))),
        ("missing", one_line(", ".join(record.missing))),
        ("chat", _chat(record, language)),
    ]
    return [
        Fact(say(f"document.{key}", language), text) for key, text in facts if text or key == "room"
    ]


def _chat(record: Record, language: Language) -> str:
    if record.chat is None:
        return ""
    key = "document.chat_unread" if record.chat_unread else "document.chat_whole"
    return say(key, language, count=record.chat_unread)


def _editors(record: Record, spoken: list[Spoken]) -> list[str]:
    names = {who.user_id: who.name for who in record.participants}
    return sorted({names.get(u.editor, u.editor) for u in spoken if u.editor})


def _speech(record: Record, turn: Turn, language: Language) -> Speech:
    marks = []
    if turn.overlaps:
        marks.append(say("document.overlap", language))
    if any(utterance.editor for utterance in turn.utterances):
        marks.append(say("document.corrected", language))
    return Speech(
        name=one_line(record.label(turn, language)),
        at=clock(turn.start_ms),
        marks=tuple(marks),
        parts=tuple((one_line(said.text), said.language) for said in turn.utterances),
    )


def _written(record: Record, message: Written, language: Language) -> Speech:
    return Speech(
        name=one_line(message.display_name or message.author),
        at=clock(message.at_ms - record.started_ms),
        marks=(say("document.written", language),),
        parts=((one_line(message.text), ""),),
    )
