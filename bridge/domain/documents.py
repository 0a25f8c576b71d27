"""The record of a conference as files: Markdown to read, WebVTT to play, JSON to compute with.

All three are written from one `Record`, so they can never tell different stories. WebVTT follows
https://www.w3.org/TR/webvtt1/ (voice spans, escapes of `&`, `<` and `>`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from bridge.domain.transcript import Spoken, Turn, current, label, speakers, turns
from bridge.ids import server_of

Language = Literal["fr", "en"]


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who was in the call, whether they spoke or not."""

    user_id: str
    display_name: str = ""

    @property
    def server(self) -> str:
        """Name of their homeserver."""
        return server_of(self.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything the documents say about one conference.

    `started_ms` and `ended_ms` are Unix times in milliseconds; `zone` is the time zone in which
    the reader's documents give the hour (JSON is always UTC). `missing`: sites of the call whose
    part of the record is not (wholly) in it. `voices`: who is named behind a voice of a shared
    microphone, by (speaker, voice).
    """

    title: str
    room_name: str
    room_id: str
    conference: str
    started_ms: int
    ended_ms: int
    participants: tuple[Participant, ...] = ()
    utterances: tuple[Spoken, ...] = field(default=())
    missing: tuple[str, ...] = ()
    voices: Mapping[tuple[str, str], str] = field(default_factory=dict)
    zone: tzinfo = UTC

    def label(self, spoken: Spoken | Turn, language: Language) -> str:
        """What the speaker is called in the documents."""
        name = spoken.display_name or spoken.speaker
        voice_name = self.voices.get((spoken.speaker, spoken.voice), "")
        return label(name, spoken.voice, voice_name, language)


_WORDS: dict[Language, dict[str, str]] = {
    "fr": {
        "transcript": "Transcription",
        "room": "Salon",
        "date": "Date",
        "duration": "Durée",
        "participants": "Participants",
        "conversation": "Échanges",
        "nothing": "Aucune parole n’a été transcrite.",
        "overlap": "en même temps",
        "notice": "Texte produit par une machine\u202f: il peut contenir des erreurs.",
        "engine": "Reconnaissance vocale",
        "missing": "Manque ce qui a été dit chez",
        "colon": "\u00a0: ",
        "date_form": "%d/%m/%Y, %Hh%M",
        "to": "à",
        "time_form": "%Hh%M",
    },
    "en": {
        "transcript": "Transcript",
        "room": "Room",
        "date": "Date",
        "duration": "Duration",
        "participants": "Participants",
        "conversation": "Conversation",
        "nothing": "No speech was transcribed.",
        "overlap": "at the same time",
        "notice": "Text written by a machine: it may contain errors.",
        "engine": "Speech recognition",
        "missing": "Missing is what was said at",
        "colon": ": ",
        "date_form": "%Y-%m-%d, %H:%M",
        "to": "to",
        "time_form": "%H:%M",
    },
}


def markdown(record: Record, language: Language) -> str:
    """The record as a page to read: heading, who was there, one paragraph a turn."""
    words = _WORDS[language]
    lines = [f"# {words['transcript']}{words['colon']}{_md(record.title)}", ""]
    lines += [f"- **{label}**{words['colon']}{value}" for label, value in _facts(record, words)]
    lines += ["", f"*{words['notice']}*", "", f"## {words['participants']}", ""]
    lines += [_participant_line(person, words) for person in record.participants]
    lines += ["", f"## {words['conversation']}", ""]
    spoken = turns(record.utterances)
    lines += [_turn_paragraph(record, turn, language) for turn in spoken] or [words["nothing"], ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def webvtt(record: Record, language: Language) -> str:
    """The record as captions: one cue an utterance, each with its speaker as a voice span.

    Cue times count from the conference's start; a cue lasts at least 1 ms, as WebVTT demands.
    """
    words = _WORDS[language]
    head = [
        "WEBVTT",
        "",
        f"NOTE {_one_line(words['transcript'])}{words['colon']}{_note(record.title)}",
        f"{words['room']}{words['colon']}{_note(record.room_name)}",
        f"{words['notice']}",
    ]
    if record.missing:
        head.append(f"{words['missing']}{words['colon']}{_note(', '.join(record.missing))}")
    head.append("")
    spoken = current(record.utterances)
    return "\n".join(
        head + [_cue(utterance, record.label(utterance, language)) for utterance in spoken]
    )


def as_json(record: Record, language: Language) -> str:
    """The record for programs: stable keys whatever the language, integer milliseconds, UTC."""
    document = {
        "version": 1,
        "title": record.title,
        "room": {"id": record.room_id, "name": record.room_name},
        "conference": record.conference,
        "started_at": _iso(record.started_ms),
        "ended_at": _iso(record.ended_ms),
        "duration_ms": max(0, record.ended_ms - record.started_ms),
        "notice": _WORDS[language]["notice"],
        "missing": list(record.missing),
        "participants": [_participant_object(record, person) for person in record.participants],
        "utterances": [_utterance_object(record, one) for one in current(record.utterances)],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def clock(milliseconds: int) -> str:
    """Time since the start as people write it: `0:07`, `12:40`, `1:02:03`."""
    seconds = max(0, milliseconds) // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}:{minutes:02d}:{seconds % 60:02d}"
    return f"{minutes}:{seconds % 60:02d}"


def _facts(record: Record, words: dict[str, str]) -> list[tuple[str, str]]:
    began, ended = _moment(record.started_ms, record.zone), _moment(record.ended_ms, record.zone)
    zone = began.tzname() or ""
    date = f"{began.strftime(words['date_form'])} {words['to']} "
    facts = [
        (words["room"], _md(record.room_name)),
        (words["date"], f"{date}{ended.strftime(words['time_form'])} ({zone})"),
        (words["duration"], clock(record.ended_ms - record.started_ms)),
    ]
    engines = sorted({utterance.engine for utterance in record.utterances if utterance.engine})
    if engines:
        facts.append((words["engine"], _md(", ".join(engines))))
    if record.missing:
        facts.append((words["missing"], _md(", ".join(record.missing))))
    return facts


def _participant_line(person: Participant, words: dict[str, str]) -> str:
    name = _md(person.display_name or person.user_id)
    return f"- {name} (`{_code(person.user_id)}`, {_md(person.server)})"


def _turn_paragraph(record: Record, turn: Turn, language: Language) -> str:
    words = _WORDS[language]
    together = f" *({words['overlap']})*" if turn.overlaps else ""
    name = _md(record.label(turn, language))
    said = _md(turn.text)
    return f"**{name}** [{clock(turn.start_ms)}]{together}{words['colon']}{said}\n"


def _participant_object(record: Record, person: Participant) -> dict[str, object]:
    return {
        "user_id": person.user_id,
        "display_name": person.display_name,
        "server": person.server,
        "spoke": person.user_id in speakers(record.utterances),
    }


def _utterance_object(record: Record, utterance: Spoken) -> dict[str, object]:
    return {
        "segment": utterance.segment,
        "rev": utterance.rev,
        "speaker": utterance.speaker,
        "display_name": utterance.display_name,
        "voice": utterance.voice or None,
        "voice_name": record.voices.get((utterance.speaker, utterance.voice)),
        "text": utterance.text,
        "language": utterance.language,
        "start_ms": utterance.start_ms,
        "end_ms": utterance.end_ms,
        "engine": utterance.engine,
        "words": [list(word) for word in utterance.words],
        "editor": utterance.editor or None,
    }


def _cue(utterance: Spoken, label: str) -> str:
    end = max(utterance.end_ms, utterance.start_ms + 1)
    # An annotation cannot hold a line break or `>` (escaped); an empty one would be no name.
    name = _vtt(label)
    said = _vtt(utterance.text)
    # Not the segment's id: a cue identifier is free text that a page may show to people.
    return f"{_stamp(utterance.start_ms)} --> {_stamp(end)}\n<v {name}>{said}</v>\n"


def _stamp(milliseconds: int) -> str:
    at = max(0, milliseconds)
    hours, rest = divmod(at, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _one_line(text: str) -> str:
    """No line break and no control character: both could begin another block or cue."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _vtt(text: str) -> str:
    escaped = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace(">", "&gt;")  # so `-->` cannot occur either


def _note(text: str) -> str:
    return _one_line(text).replace("-->", "->")


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~"})


def _md(text: str) -> str:
    """Text that no Markdown reader takes for markup, an image or HTML."""
    escaped = _one_line(text).translate(_MARKS)
    return f"\\{escaped}" if escaped[:1] in {"-", "+"} else escaped


def _code(text: str) -> str:
    return _one_line(text).replace("`", "'")


def _moment(milliseconds: int, zone: tzinfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).astimezone(
        zone
    )


def _iso(milliseconds: int) -> str:
    moment = _moment(milliseconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
