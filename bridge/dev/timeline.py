"""A call as one reads it in a room's timeline: from the events of a person's own homeserver."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.matrix.timeline import CARD
from bridge.matrix.wire import TRANSCRIPT, UTTERANCE

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the room says somebody said; times are milliseconds since the call began."""

    speaker: str
    text: str
    start_ms: int
    end_ms: int
    segment: str
    rev: int
    thread: str


@dataclass(frozen=True, slots=True)
class File:
    """A document of the record. `file`: where it lies, and what decrypts it."""

    name: str
    file: dict[str, Any]
    format: str
    thread: str


@dataclass(slots=True)
class Timeline:
    """The parts of a timeline that a call leaves. `card` is the event id of the last call card."""

    card: str | None = None
    card_body: str = ""
    card_phase: str = ""
    utterances: list[Utterance] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def forms(self) -> list[str]:
        """Of the documents, in the order of the alphabet."""
        return sorted(file.format for file in self.files)

    @classmethod
    def read(cls, events: Sequence[Event], bot: str) -> Timeline:
        """The timeline in these events, oldest first; only the bot's messages make a record."""
        timeline = cls(events=[event for event in events if event["type"] == "m.room.message"])
        for event in timeline.events:
            if event["sender"] == bot:
                timeline._take(event["event_id"], event["content"])
        return timeline

    def _take(self, event_id: str, content: dict[str, Any]) -> None:
        relation = content.get("m.relates_to") or {}
        thread = str(relation.get("event_id", ""))
        if CARD in content:
            shown = content.get("m.new_content", content)
            self.card = thread if relation.get("rel_type") == "m.replace" else event_id
            self.card_body = str(shown["body"])
            self.card_phase = str(shown[CARD]["phase"])
        elif UTTERANCE in content:
            whole = content[UTTERANCE]
            # Where the bridge was behind, one message holds several utterances.
            self.utterances += [
                Utterance(
                    speaker=str(whole["speaker"]),
                    text=str(said["text"]),
                    start_ms=int(said["start_ms"]),
                    end_ms=int(said["end_ms"]),
                    segment=str(said["segment"]),
                    rev=int(said["rev"]),
                    thread=thread,
                )
                for said in whole.get("segments") or [whole]
            ]
        elif TRANSCRIPT in content:
            form = str(content[TRANSCRIPT]["format"])
            name = str(content.get("filename", content["body"]))
            self.files.append(File(name, dict(content["file"]), form, thread))


def show(timeline: Timeline) -> str:
    """The timeline as text: one line an event, the card as it is at the end."""
    return "\n".join(line for event in timeline.events for line in _lines(event, timeline))


def _lines(event: Event, timeline: Timeline) -> list[str]:
    content = event["content"]
    if (content.get("m.relates_to") or {}).get("rel_type") == "m.replace":
        return []  # shown where the original is
    when = datetime.datetime.fromtimestamp(event["origin_server_ts"] / 1000).astimezone()
    head = f"{when:%H:%M:%S}  {event['sender']}"
    if event["event_id"] == timeline.card:
        body = timeline.card_body.splitlines() or [""]
        return [f"{head}  {body[0]}", *(f"            | {line}" for line in body[1:])]
    if UTTERANCE in content:
        said = content[UTTERANCE]
        span = f"{said['start_ms'] / 1000:6.1f} - {said['end_ms'] / 1000:.1f} s"
        return [f"            > {said['speaker']}  [{span}]  {said['text']}"]
    if TRANSCRIPT in content:
        return [f"            + {content.get('filename', content['body'])}"]
    first, *more = str(content.get("body", "")).splitlines() or [""]
    return [f"{head}  {first}", *(f"            {line}" for line in more)]
