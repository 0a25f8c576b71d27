"""Deleting what was said, inside the transaction of the entry that asks for it.

Of a deleted utterance go: its words in every revision (a revision without text stays, so that
nothing late brings it back), the message and each of its edits, every document that was made while
it was there (they are made again without it), what still waits in inbox and outbox, and the copies
at other sites. Who deleted what is logged, never the words. What others said in the same message
is posted again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bridge.domain.conference import Conference
from bridge.domain.happenings import RecordChanged
from bridge.domain.joint import ShareTaken
from bridge.matrix import wire
from bridge.rooms import news
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand
from bridge.store.redactions import Redaction, What, Why
from bridge.store.shown import Message
from bridge.store.utterances import Utterance

log = logging.getLogger(__name__)

STEP = 50
"""Utterances of an old record that one entry deletes."""
TOLD = 50
"""Segments that another bridge is told of at once."""


async def redacted(ledger: Ledger, told: wire.Redacted) -> None:
    """Somebody removed an event; if it showed words, it is the words that were meant.

    The homeserver has checked that they may. An edit counts as its message. Documents that repeat
    what somebody wrote there (`!visio export ... with chat`) go with it.
    """
    shown = ledger.stores.shown
    quoting = await shown.quoting(ledger.conn, ledger.room_id, told.redacts)
    await _documents_back(ledger, quoting)
    message = await shown.of_event(ledger.conn, ledger.room_id, told.redacts)
    if message is None:
        return
    if message.txn_id.startswith("doc:"):
        await _document_removed(ledger, message.txn_id, told)
        return
    await forget(ledger, message.segments, by=told.sender, why="redacted", spared=told.redacts)


async def forget(
    ledger: Ledger, segments: Iterable[str], *, by: str, why: Why, spared: str = ""
) -> int:
    """Delete these utterances; how many there were. `spared`: an event that is redacted already."""
    said = await ledger.stores.utterances.latest(ledger.conn, dict.fromkeys(segments))
    said = [u for u in said if u.room_id == ledger.room_id and await _has_words(ledger, u)]
    for name in dict.fromkeys(utterance.conference for utterance in said):
        gone = [utterance for utterance in said if utterance.conference == name]
        conference = await ledger.recall(name)
        await _take_messages_back(ledger, conference, gone, spared)
        await _empty(ledger, gone, by)
        await _log(ledger, name, "utterance", [u.segment for u in gone], by, why)
        if conference is not None:
            await _record_again(ledger, conference, RecordChanged(deleted=_living(gone)))
            await _tell_others(ledger, conference, [u.segment for u in gone])
    return len(said)


async def peer_forgot(ledger: Ledger, told: news.Forgotten) -> None:
    """Another site deleted what was said there: our copies and our documents of it go too."""
    for conference in await _parts_of(ledger, told.call):
        peers = ledger.stores.peer_utterances
        await peers.empty(ledger.conn, conference.id, told.site, told.segments)
        await _log(ledger, conference.id, "peer_utterance", told.segments, "", "elsewhere")
        revisions, left = await peers.count(conference.id, told.site, ledger.conn)
        if conference.joint is not None and revisions:
            taken = ShareTaken(site=told.site, taken=revisions, utterances=left)
            await ledger.apply(conference, taken)
            conference = ledger.conference(conference.id) or conference
        await _record_again(ledger, conference, RecordChanged())


async def expire(ledger: Ledger, name: str) -> None:
    """One step of deleting an old record: STEP utterances, and with the last of them the rest."""
    conference = await ledger.recall(name)
    if conference is None or conference.phase == "running":
        return
    if not conference.expired:
        await ledger.apply(conference, RecordChanged(expired=True))
    said = await ledger.stores.utterances.of_conference(name, ledger.conn)
    segments = [u.segment for u in said if await _has_words(ledger, u)]
    await forget(ledger, segments[:STEP], by="", why="retention")
    if len(segments) > STEP:
        return
    await documents_back(ledger, ledger.conference(name) or conference)
    await ledger.stores.peer_utterances.delete(ledger.conn, name)
    await ledger.stores.utterances.delete(ledger.conn, name)
    await ledger.stores.meetings.delete(ledger.conn, name)
    await _log(ledger, name, "meeting", [], "", "retention")


async def erase(ledger: Ledger, user_id: str) -> int:
    """Delete what was written down of one person in the room; how much it was.

    Copies of what they said at other sites go, too; their own bridge has to erase the rest.
    """
    stores, conn = ledger.stores, ledger.conn
    said = await stores.utterances.of_speaker(conn, user_id, ledger.room_id)
    count = await forget(ledger, [u.segment for u in said], by=user_id, why="person")
    copies = await stores.peer_utterances.of_speaker(conn, user_id, ledger.room_id)
    for name in dict.fromkeys(copy.conference for copy in copies):
        theirs = [copy for copy in copies if copy.conference == name]
        for copy in theirs:
            await stores.peer_utterances.empty(conn, name, copy.site, [copy.segment])
        segments = list(dict.fromkeys(copy.segment for copy in theirs))
        await _log(ledger, name, "peer_utterance", segments, user_id, "person")
        conference = await ledger.recall(name)
        if conference is not None:
            await _record_again(ledger, conference, RecordChanged())
    return count


async def documents_back(ledger: Ledger, conference: Conference) -> None:
    """Redact the documents of a conference, and empty those that wait."""
    rows = await ledger.stores.shown.documents_of(ledger.conn, conference.id)
    await _documents_back(ledger, rows)


async def _documents_back(ledger: Ledger, rows: Sequence[str]) -> None:
    for txn_id in rows:
        ledger.take_back(txn_id)
    await ledger.stores.shown.withdraw(ledger.conn, rows)


async def _record_again(ledger: Ledger, conference: Conference, event: RecordChanged) -> None:
    await documents_back(ledger, conference)
    await ledger.apply(conference, event)


async def _document_removed(ledger: Ledger, txn_id: str, told: wire.Redacted) -> None:
    """It is not made again by itself: whoever removed it did not want it there."""
    _, name, form, *_ = txn_id.split(":")
    conference = await ledger.recall(name)
    if conference is not None:
        await ledger.apply(conference, RecordChanged(withheld=(form,)))
        await _log(ledger, name, "document", [form], told.sender, "redacted")


async def _has_words(ledger: Ledger, utterance: Utterance) -> bool:
    history = await ledger.stores.utterances.history(ledger.conn, utterance.segment)
    return any(revision.text for revision in history)


def _living(gone: Iterable[Utterance]) -> int:
    """Those that counted in the record: a correction may have emptied one before."""
    return len([utterance for utterance in gone if utterance.text])


async def _take_messages_back(
    ledger: Ledger, conference: Conference | None, gone: Sequence[Utterance], spared: str
) -> None:
    shown, names = ledger.stores.shown, {utterance.segment for utterance in gone}
    messages: dict[str, Message] = {}
    for name in names:
        message = await shown.message_of(ledger.conn, name)
        if message is not None:
            messages[message.txn_id] = message
    for message in messages.values():
        await _take_back(ledger, message, spared)
        rest = [segment for segment in message.segments if segment not in names]
        stays = [u for u in await ledger.stores.utterances.latest(ledger.conn, rest) if u.text]
        if stays and conference is not None:
            await ledger.show_anew(conference, stays)


async def _take_back(ledger: Ledger, message: Message, spared: str) -> None:
    """Redact the message and each of its edits: Synapse keeps an edit whose message is redacted."""
    outbox, shown = ledger.stores.outbox, ledger.stores.shown
    rows = await shown.rows_of(ledger.conn, message.txn_id)
    for txn_id in rows:
        if not spared or await outbox.event_id(txn_id, ledger.conn) != spared:
            ledger.take_back(txn_id)
    await shown.withdraw(ledger.conn, rows)


async def _empty(ledger: Ledger, gone: Iterable[Utterance], by: str) -> None:
    for last in gone:
        tombstone = replace(last, rev=last.rev + 1, text="", words=(), editor=by)
        await ledger.stores.utterances.empty(ledger.conn, tombstone)
        await ledger.stores.inbox.empty(ledger.conn, "scribe", f"{last.segment}:")


async def _log(
    ledger: Ledger, conference: str, kind: What, items: Sequence[str], by: str, why: Why
) -> None:
    done = Redaction(
        at_ms=ledger.now_ms,
        room_id=ledger.room_id,
        conference=conference,
        kind=kind,
        items=items,
        by_user=by,
        why=why,
    )
    await ledger.stores.redactions.put(ledger.conn, done)


async def _tell_others(ledger: Ledger, conference: Conference, segments: Sequence[str]) -> None:
    """The other sites of the room: one of them has the record, all may have copies."""
    sites = sorted(ledger.facts.bridges)
    for begin in range(0, len(segments) if sites else 0, TOLD):
        told = {"call": conference.call_id, "segments": list(segments[begin : begin + TOLD])}
        await ledger.send_on_errand(
            Errand(
                id=f"forget:{ledger.entry_key}:{conference.id}:{begin}",
                room_id=ledger.room_id,
                kind="forget",
                content={**told, "sites": sites},
                created_ms=ledger.now_ms,
            )
        )


async def _parts_of(ledger: Ledger, call: str) -> list[Conference]:
    known = [c.id for c in ledger.conferences if c.call_id == call]
    kept = [
        m.conference
        for m in await ledger.stores.meetings.of_call(ledger.room_id, call, ledger.conn)
    ]
    parts = [await ledger.recall(name) for name in dict.fromkeys((*known, *kept))]
    return [part for part in parts if part is not None]
