"""The record for programs: JSON (docs/transcript.schema.json), RTTM, and attendance as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bridge.domain.documents.presence import Person, people
from bridge.domain.documents.record import Language, Record, Written, iso, one_line
from bridge.domain.transcript import Spoken, current
from bridge.text import say


def as_json(record: Record, language: Language) -> str:
    """Stable keys whatever the language, integer milliseconds, UTC."""
    spoken = current(record.utterances)
    there = people(record)
    numbers = {person.who.user_id: f"p{number}" for number, person in enumerate(there, 1)}
    document: dict[str, Any] = {
        "version": 1,
        "title": record.title,
        "room": {"id": record.room_id, "name": record.room_name},
        "conference": record.conference,
        "started_at": iso(record.started_ms),
        "ended_at": iso(record.ended_ms),
        "duration_ms": max(0, record.ended_ms - record.started_ms),
        "language": language,
        "notice": say("document.notice", language),
        "engines": sorted({utterance.engine for utterance in spoken if utterance.engine}),
        "missing": list(record.missing),
        "interruptions": [
            {"start_ms": since, "end_ms": until} for since, until in record.interruptions
        ],
        "participants": [_participant(numbers, person) for person in there],
        "utterances": [
            {"participant": numbers.get(said.speaker), **_utterance(record, said, language)}
            for said in spoken
        ],
    }
    if record.chat is not None:
        document["chat"] = [_message(record, message) for message in record.chat]
        document["chat_unread"] = record.chat_unread
    members = (f"  {_dumped(key)}: {_value(value)}" for key, value in document.items())
    return "{\n" + ",\n".join(members) + "\n}\n"


def _value(value: Any) -> str:
    """One line for each element of a list: three hours of words stay readable, and small."""
    if not isinstance(value, list) or not value:
        return _dumped(value)
    return "[\n    " + ",\n    ".join(map(_dumped, value)) + "\n  ]"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def rttm(record: Record, language: Language) -> str:
    """Who spoke when, as diarization tools compare it (NIST RT-09, Rich Transcription Time Marked).

    One line an utterance, in seconds from the conference's start. Names hold no white space there:
    the label is the Matrix id, and behind a slash the voice.
    """
    lines = []
    for said in current(record.utterances):
        label = "_".join((f"{said.speaker}/{said.voice}" if said.voice else said.speaker).split())
        start, length = max(0, said.start_ms), max(1, said.end_ms - said.start_ms)
        times = f"{start / 1000:.3f} {length / 1000:.3f}"
        lines.append(f"SPEAKER {record.conference} 1 {times} <NA> <NA> {label} <NA> <NA>\n")
    return "".join(lines)


COLUMNS = (
    "name",
    "account",
    "server",
    "voice",
    "first_in",
    "last_out",
    "stays",
    "present_s",
    "spoken_s",
)


def attendance(record: Record, language: Language) -> str:
    """One row a participant, and one more for each voice at their microphone (RFC 4180).

    Times are local with their offset; seconds have three decimals. The mark at the beginning tells
    spreadsheets that this is UTF-8.
    """
    lines = io.StringIO()
    rows = csv.writer(lines)
    rows.writerow(COLUMNS)
    for person in people(record):
        rows.writerow(map(_cell, _row(record, person)))
        for voice, spoken_ms in person.voices:
            name = record.voices.get((person.who.user_id, voice), "")
            cells = (name, _account(person), person.who.server, voice, "", "", "", "")
            rows.writerow(map(_cell, (*cells, _seconds(spoken_ms))))
    return "\ufeff" + lines.getvalue()


def _row(record: Record, person: Person) -> tuple[str, ...]:
    def local(at_ms: int) -> str:
        return record.local(at_ms).isoformat(timespec="seconds")

    stays = person.stays
    return (
        person.who.name,
        _account(person),
        person.who.server,
        "",
        local(stays[0][0]) if stays else "",
        local(stays[-1][1]) if stays else "",
        " ".join(f"{local(began)}/{local(ended)}" for began, ended in stays),
        _seconds(person.present_ms),
        _seconds(person.spoken_ms),
    )


def _account(person: Person) -> str:
    """As a Matrix URI: a spreadsheet takes what begins with `@` for a formula."""
    return f"matrix:u/{quote(person.who.user_id.removeprefix('@'), safe=':.=_-/')}"


def _cell(text: str) -> str:
    """A name is anybody's to choose: none is a formula (OWASP, CSV injection)."""
    line = one_line(text)
    return f"'{line}" if line[:1] in {"=", "+", "-", "@"} else line


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _participant(numbers: Mapping[str, str], person: Person) -> dict[str, Any]:
    who = person.who
    return {
        "id": numbers[who.user_id],
        "user_id": who.user_id,
        "display_name": who.display_name,
        "server": who.server,
        "stays": [
            {"joined_at": iso(stay.joined_ms), "left_at": iso(stay.left_ms), "site": stay.site}
            for stay in who.stays
        ],
        "present_ms": person.present_ms,
        "spoke": person.spoken_ms > 0,
        "spoken_ms": person.spoken_ms,
        "voices": [{"voice": voice, "spoken_ms": spoken} for voice, spoken in person.voices],
    }


def _utterance(record: Record, utterance: Spoken, language: Language) -> dict[str, Any]:
    return {
        "segment": utterance.segment,
        "rev": utterance.rev,
        "speaker": utterance.speaker,
        "display_name": utterance.display_name,
        "voice": utterance.voice or None,
        "voice_name": record.voices.get((utterance.speaker, utterance.voice)),
        "label": record.label(utterance, language),
        "text": utterance.text,
        "language": utterance.language,
        "start_ms": utterance.start_ms,
        "end_ms": utterance.end_ms,
        "words": [list(word) for word in utterance.words],
        "engine": utterance.engine,
        "editor": utterance.editor or None,
    }


def _message(record: Record, message: Written) -> dict[str, Any]:
    return {
        "event_id": message.event_id,
        "author": message.author,
        "display_name": message.display_name,
        "text": message.text,
        "at_ms": message.at_ms - record.started_ms,
    }
