"""The record of a call: what was said at all its sites, as documents below its card."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bridge.config import DocumentForm
from bridge.domain import documents, transcript
from bridge.domain.conference import Conference, from_json, read_conferences, to_json
from bridge.domain.stays import Stay
from bridge.domain.transcript import Spoken
from bridge.matrix import timeline
from bridge.matrix.wire import RELATES_TO, IncomingMessage
from bridge.rooms.house import House, Stores
from bridge.store.database import Connection
from bridge.store.meetings import Meeting
from bridge.store.outbox import Outgoing
from bridge.store.peer_utterances import PeerUtterance
from bridge.store.shown import documents_mark
from bridge.store.utterances import Utterance
from bridge.text import say


def record(
    house: House,
    c: Conference,
    own: Sequence[Utterance],
    others: Sequence[PeerUtterance],
    *,
    voices: Mapping[tuple[str, str], str],
    room_name: str,
    now_ms: int,
) -> documents.Record:
    """What the documents of a call say. `own` and `others`: what was said here and elsewhere."""
    spoken = merged([in_call(utterance, c) for utterance in own], others)
    return documents.Record(
        title=say("document.title", c.language),
        room_name=room_name or c.room_id,
        room_id=c.room_id,
        conference=c.call_id,
        started_ms=c.began_ms,
        ended_ms=c.ended_ms or now_ms,
        participants=_participants(c, spoken, c.ended_ms or now_ms),
        utterances=tuple(spoken),
        missing=c.missing,
        interruptions=_interruptions(c),
        voices=voices,
        zone=house.zone,
    )


async def load(
    house: House,
    stores: Stores,
    c: Conference,
    *,
    room_name: str,
    now_ms: int,
    conn: Connection | None = None,
) -> documents.Record:
    """The record as it is stored now."""
    return record(
        house,
        c,
        await stores.utterances.of_conference(c.id, conn),
        await stores.peer_utterances.of_conference(c.id, conn),
        voices=await stores.voice_names.of_conference(c.id, conn),
        room_name=room_name,
        now_ms=now_ms,
    )


async def find(stores: Stores, room_id: str, conference: str) -> Conference | None:
    """A call of a room, whether the room's snapshot still has it or not."""
    for c in read_conferences(await stores.conferences.load(None, room_id)):
        if c.id == conference:
            return c
    kept = await stores.meetings.get(conference)
    return from_json(kept.snapshot) if kept is not None and kept.room_id == room_id else None


async def rows(
    c: Conference, recorded: documents.Record, rev: int, forms: Iterable[DocumentForm]
) -> list[Outgoing]:
    """Its documents, one row for each form."""
    return [
        await row(c, recorded, rev, form, timeline.document_txn(c.id, form, rev)) for form in forms
    ]


async def row(
    c: Conference, recorded: documents.Record, rev: int, form: DocumentForm, txn_id: str
) -> Outgoing:
    """One document, to be posted in the call's thread."""
    paper = documents.FORMS[form]
    return Outgoing(
        room_id=c.room_id,
        txn_id=txn_id,
        kind="file",
        content=timeline.document(
            c.call_id,
            form=form,
            rev=rev,
            file_name=paper.file_name,
            root=timeline.root_txn(c),
        ),
        # Three hours take a quarter of a second: other rooms need not stand still for them.
        blob=await asyncio.to_thread(paper.write, recorded, c.language),
        media_type=paper.media_type,
        file_name=paper.file_name,
        segments=(documents_mark(c.id), *(written.event_id for written in recorded.chat or ())),
    )


def own_words(user_id: str, said: Sequence[Utterance]) -> bytes:
    """What was written down of one person, as JSON: every revision, and where it was said."""
    listed = [
        {
            "room_id": u.room_id,
            "conference": u.conference,
            "segment": u.segment,
            "rev": u.rev,
            "said_ms": u.said_ms,
            "text": u.text,
            "language": u.language,
            "voice": u.voice,
            "engine": u.engine,
            "editor": u.editor,
        }
        for u in said
    ]
    document = {"version": 1, "user_id": user_id, "utterances": listed}
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def own_words_message(asked: IncomingMessage) -> timeline.Content:
    """The message of that file, where it was asked for."""
    answer = timeline.notice("", reply_to=asked.event_id, thread_root=asked.thread_root or "")
    return {"m.mentions": {}, RELATES_TO: answer[RELATES_TO]}


def label(spoken: Spoken, voices: Mapping[tuple[str, str], str], language: str) -> str:
    """What the speaker is called in the room. `voices`: names by (speaker, voice)."""
    voice_name = voices.get((spoken.speaker, spoken.voice), "")
    return transcript.label(spoken.display_name, spoken.voice, voice_name, language)


def meeting(c: Conference, *, room_name: str, root: str | None) -> Meeting:
    """What is kept of a conference that is over."""
    return Meeting(
        conference=c.id,
        call_id=c.call_id,
        room_id=c.room_id,
        room_name=room_name,
        title=say("document.title", c.language),
        started_ms=c.began_ms,
        ended_ms=c.ended_ms or c.began_ms,
        language=c.language,
        encrypted=c.encrypted,
        snapshot=to_json(c),
        root=root,
    )


def in_call(utterance: Utterance, conference: Conference) -> Utterance:
    """As it is told of: times count from the call's start, which may be another site's."""
    offset = conference.started_ms - conference.began_ms
    return replace(
        utterance,
        conference=conference.call_id,
        start_ms=utterance.start_ms + offset,
        end_ms=utterance.end_ms + offset,
        words=tuple((word, a + offset, b + offset) for word, a, b in utterance.words),
    )


def _interruptions(c: Conference) -> tuple[tuple[int, int], ...]:
    """When our own scribe did not listen, as the call counts time."""
    offset = c.started_ms - c.began_ms
    return tuple(
        (lost.start + offset, (lost.end or lost.start) + offset) for lost in c.interruptions
    )


def merged(own: Sequence[Spoken], others: Sequence[PeerUtterance]) -> list[Spoken]:
    """What was said at all sites. A segment is of the site that had its name first, ours before
    all: no site can put its words in place of another's."""
    homes = {utterance.segment: "" for utterance in own}
    for utterance in others:
        homes.setdefault(utterance.segment, utterance.site)
    return [*own, *(u for u in others if homes[u.segment] == u.site)]


def _participants(
    c: Conference, spoken: Sequence[Spoken], ended_ms: int
) -> tuple[documents.Participant, ...]:
    stays: dict[str, list[Stay]] = {stay.user_id: [] for stay in c.people}
    for stay in (*c.stays, *c.away):
        stays[stay.user_id].append(stay)
    names = {stay.user_id: stay.display_name for stay in c.people}
    # A site that was away may have told what was said there, and not who was there.
    for utterance in spoken:
        names.setdefault(utterance.speaker, utterance.display_name)
    return tuple(
        documents.Participant(user_id, name, _presence(stays.get(user_id, ()), ended_ms))
        for user_id, name in names.items()
    )


def _presence(stays: Iterable[Stay], ended_ms: int) -> tuple[documents.Presence, ...]:
    there = [
        documents.Presence(
            stay.joined_ms, ended_ms if stay.left_ms is None else stay.left_ms, stay.site
        )
        for stay in stays
    ]
    return tuple(sorted(there, key=lambda one: one.joined_ms))
