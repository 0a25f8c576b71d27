"""One room inside the transaction of one entry: what is stored, changed, and to be said.

Opened, changed and saved by the conductor. Nothing here waits for the network: the transaction
holds the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from bridge.domain import course, documents
from bridge.domain.conference import Conference, from_json, read_conferences, write_conferences
from bridge.domain.federation import Call
from bridge.domain.happenings import (
    CallOut,
    CancelRing,
    Effect,
    Event,
    PostCard,
    PostDocuments,
    PostRing,
    PostStatus,
    PostUtterance,
    RecordChanged,
    RetireCard,
    Say,
    SegmentHeard,
    WishRead,
)
from bridge.domain.membership import Membership
from bridge.domain.transcript import whole
from bridge.domain.wish import Wish
from bridge.matrix import calling, timeline
from bridge.rooms import facts as room_facts
from bridge.rooms import record, words
from bridge.rooms.house import House, Stores
from bridge.rooms.saying import Saying
from bridge.store.database import Connection
from bridge.store.errands import Errand, Kind
from bridge.store.inbox import Entry
from bridge.store.outbox import Outgoing
from bridge.store.shown import Message
from bridge.store.utterances import Utterance

VOICE_MESSAGES = 100
"""Of older ones the documents tell: five events a second are a minute of nothing else."""
EARLIER = 8
"""Ended conferences of a room that late segments are still taken for."""


class Ledger(Saying):
    """The working copy of a room. `conferences` has the newest first."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        conn: Connection,
        entry: Entry,
        now_ms: int,
        new_id: Callable[[], str],
    ) -> None:
        super().__init__(house, entry, now_ms)
        self.conferences: list[Conference] = []
        self.memberships: tuple[Membership, ...] = ()
        self._stored_memberships: tuple[Membership, ...] = ()
        self.stores = stores
        self.conn = conn
        self._new_id = new_id
        self._heard: dict[tuple[str, int], Outgoing] = {}
        self._stored_conferences: tuple[Conference, ...] = ()

    async def load(self) -> None:
        """Read what is stored."""
        stored = await self.stores.rooms.get(self.conn, self.room_id)
        self.facts = room_facts.from_json(stored)
        snapshot = await self.stores.conferences.load(self.conn, self.room_id)
        self.conferences = read_conferences(snapshot)
        self._stored_conferences = tuple(self.conferences)
        said = await self.stores.memberships.of_room(self.conn, self.room_id)
        self.memberships = self._stored_memberships = tuple(said)

    async def save(self) -> None:
        """Write everything back, and what is to be said behind what waits already."""
        await self.stores.rooms.put(self.conn, self.room_id, room_facts.to_json(self.facts))
        await self._keep_meetings()
        if self.conferences:
            self.conferences = _kept(self.conferences)
            await self.stores.conferences.save(
                self.conn,
                self.room_id,
                write_conferences(self.conferences),
                active=any(conference.open for conference in self.conferences),
            )
        await self.stores.memberships.save(
            self.conn, self.room_id, self._stored_memberships, self.memberships
        )
        if self.facts.joined:
            await self.stores.outbox.put(self.conn, *self._rows, now_ms=self.now_ms)
        await self.stores.inbox.done(self.conn, self._entry)

    # ---- reading

    @property
    def running(self) -> Conference | None:
        """The conference that runs now."""
        newest = self.conferences[0] if self.conferences else None
        return newest if newest is not None and newest.phase == "running" else None

    @property
    def can_write_down(self) -> bool:
        """Whether captions and a transcript of this room's calls can be had at all.

        Where it is encrypted so is the sound of its calls: people's devices give the keys to a
        device of the bot's.
        """
        return not self.facts.encrypted or self.house.encryption

    @property
    def wish(self) -> Wish:
        """What the room wants and can have.

        Nobody is written down in a room where the bot cannot show it. In an encrypted room the
        administrator's defaults do not count: only the room gives its call's keys away.
        """
        wanted = self.facts.read_wish(self.house.defaults)
        if self.facts.joined and not self.facts.encrypted:
            return wanted
        possible = self.facts.joined and self.can_write_down
        return replace(
            wanted,
            captions=possible and self.facts.asks_for("captions"),
            transcript=possible and self.facts.asks_for("transcript"),
        )

    def conference(self, conference: str) -> Conference | None:
        """One of the room's conferences, None where it is too long ago."""
        return next((c for c in self.conferences if c.id == conference), None)

    async def recall(self, conference: str) -> Conference | None:
        """The same, however long ago: what happens to it now is kept as ever."""
        known = self.conference(conference)
        if known is not None:
            return known
        meeting = await self.stores.meetings.get(conference, self.conn)
        if meeting is None or meeting.room_id != self.room_id:
            return None
        recalled = from_json(meeting.snapshot)
        self.conferences.append(recalled)
        self._stored_conferences = (*self._stored_conferences, recalled)
        return recalled

    async def call_below(self, event_id: str | None) -> Conference | None:
        """The call whose thread hangs below this event; else the last one."""
        for c in self.conferences:
            root = await self.stores.outbox.event_id(timeline.root_txn(c), self.conn)
            if event_id is not None and root == event_id:
                return c
        meeting = await self.stores.meetings.of_root(self.room_id, event_id, self.conn)
        if meeting is not None:
            return await self.recall(meeting.conference)
        said = (c for c in self.conferences if c.said)
        return next(said, self.conferences[0] if self.conferences else None)

    async def recorded(self, c: Conference) -> documents.Record:
        """What the documents of a call say now."""
        name = self.facts.name
        return await record.load(
            self.house, self.stores, c, room_name=name, now_ms=self.now_ms, conn=self.conn
        )

    async def root_of(self, c: Conference) -> str:
        """The event that the call's thread hangs below, '' where it is not sent yet."""
        return await self.stores.outbox.event_id(timeline.root_txn(c), self.conn) or ""

    async def papers_waiting(self) -> int:
        """How many documents this room has asked for that are not in it yet."""
        errands = await self.stores.errands.of_room(self.room_id, self.conn)
        asked = sum(len(e.content["forms"]) for e in errands if e.kind == "export")
        return asked + await self.stores.outbox.files_waiting(self.room_id, self.conn)

    async def is_summing_up(self, c: Conference) -> bool:
        """Whether a model is at work on this call."""
        errands = await self.stores.errands.of_room(self.room_id, self.conn)
        return any(e.kind == "summary" and e.content["conference"] == c.id for e in errands)

    async def shown_at(self, segment: str) -> str:
        """The event that shows a segment's words, '' where there is none (yet)."""
        message = await self.stores.shown.message_of(self.conn, segment)
        if message is None:
            return ""
        return await self.stores.outbox.event_id(message.txn_id, self.conn) or ""

    async def errand(self, errand_id: str) -> Errand | None:
        """An errand that goes on."""
        return await self.stores.errands.get(self.conn, errand_id)

    async def rung_by(self, notification: str) -> str | None:
        """The ring of the running conference whose notification is this event."""
        for ring in self.running.rings if self.running else ():
            txn = calling.ring_txn(ring.id)
            if await self.stores.outbox.event_id(txn, self.conn) == notification:
                return ring.id
        return None

    # ---- changing

    async def start(self, by: str) -> None:
        """Begin a conference."""
        begun, effects = course.start(
            conference=self._new_id(),
            room_id=self.room_id,
            by=by,
            display_name=self.facts.display_name(by),
            wish=self.wish,
            now_ms=self.now_ms,
            encrypted=self.facts.encrypted,
        )
        await self._begin(begun, effects)
        defaults = self.house.defaults
        unasked = not (begun.captions or begun.transcript)
        if begun.encrypted and unasked and (defaults.captions or defaults.transcript):
            self.say("scribe.unasked" if self.can_write_down else "transcript.encrypted")

    async def follow(self, call: Call) -> Conference:
        """Take part in a call that another site began."""
        begun, effects = course.follow(
            conference=self._new_id(),
            room_id=self.room_id,
            call=call,
            site=self.house.server_name,
            wish=self.wish,
            encrypted=self.facts.encrypted,
        )
        await self._begin(begun, effects)
        return begun

    async def apply(self, conference: Conference, event: Event) -> None:
        """Let an event happen to one of the conferences."""
        after, effects = course.step(conference, event, now_ms=self.now_ms, rules=self.house.rules)
        self.conferences = [after if c.id == after.id else c for c in self.conferences]
        await self._carry_out(after, effects)
        over = conference.phase == "running" != after.phase
        # A call that only looks empty, since a site with people in it is silent, ends here alone.
        if over and (after.stopped_by or not conference.present):
            self._wish_for_no_call()
        if over and after.stopped_by:
            await self._hang_up(after)

    async def settings_changed(self) -> None:
        """Bring a running call to the wish's settings; only the wish's own event may end it."""
        if self.running:
            wanted = replace(self.wish, active=None)
            await self.apply(self.running, WishRead(wish=wanted, encrypted=self.facts.encrypted))

    async def hear(
        self, conference: Conference, utterance: Utterance, *, final: bool = False
    ) -> None:
        """Store something said, and post it. What is stored already is not posted again.

        `final`: the last pass over a shared microphone says it better. Where a person has corrected
        it, or had it deleted, no machine has a word to say.
        """
        history = await self.stores.utterances.history(self.conn, utterance.segment)
        if any(one.editor or not one.text for one in history):
            return
        if final and await self.touched(utterance.segment):
            return
        if final and history:
            utterance = replace(utterance, rev=history[-1].rev + 1)
        if not await self.stores.utterances.put(self.conn, utterance):
            return
        row, correction = await words.row(self.stores, self.conn, conference, utterance)
        self._heard[utterance.segment, utterance.rev] = row
        event = SegmentHeard(segment=utterance.segment, rev=utterance.rev, correction=correction)
        await self.apply(conference, event)

    async def touched(self, segment: str) -> bool:
        """Whether a person has corrected or deleted what it is of, be it another part of that.

        Then the last pass neither cuts it, nor joins it, nor takes it back: the words of one part
        may be in another by now.
        """
        first = whole(segment)
        for number in count():
            part = f"{first}.{number}" if number else first
            history = await self.stores.utterances.history(self.conn, part)
            # A machine empties later parts alone.
            if any(one.editor or not (one.text or number) for one in history):
                return True
            if number and not history:
                break
        return False

    async def revoke(self, user_id: str) -> None:
        """Take back what somebody was granted: the reconciler then removes them from the media."""
        await self.stores.grants.revoke(self.conn, self.room_id, user_id, now_ms=self.now_ms)

    async def revoke_all(self) -> None:
        """The same for everybody."""
        grants = await self.stores.grants.of_room(self.room_id, self.conn)
        for user_id in dict.fromkeys(g.user_id for g in grants if g.revoked_ms is None):
            await self.revoke(user_id)

    async def revise(
        self, conference: Conference, message: Message, changed: Sequence[Utterance]
    ) -> None:
        """Store new revisions of what a message shows, and show them."""
        for utterance in changed:
            await self.stores.utterances.put(self.conn, utterance)
        await self.show_again(conference, message)
        await self.apply(conference, RecordChanged())

    async def name_voice(
        self, conference: Conference, spoken: Utterance, name: str, by: str
    ) -> None:
        """Say in every message of a voice whose it is. At most VOICE_MESSAGES, the newest."""
        speaker, voice = spoken.speaker, spoken.voice
        await self.stores.voice_names.put(
            self.conn, conference.id, speaker, voice, name=name, by=by
        )
        messages: dict[str, Message] = {}
        for said in await self.stores.utterances.of_conference(conference.id, self.conn):
            if (said.speaker, said.voice) == (speaker, voice):
                message = await self.stores.shown.message_of(self.conn, said.segment)
                messages |= {message.txn_id: message} if message else {}
        for message in list(messages.values())[-VOICE_MESSAGES:]:
            await self.show_again(conference, message)
        await self.apply(conference, RecordChanged())

    async def show_again(self, conference: Conference, message: Message) -> None:
        """Edit a message of utterances: what they are, or whose, has changed."""
        txn = self._own_txn("utt")
        row = await words.edit(self.stores, self.conn, conference, message, txn)
        self._rows.append(row)

    async def show_anew(self, conference: Conference, utterances: Sequence[Utterance]) -> None:
        """A new message for utterances whose own is being taken back."""
        txn = self._own_txn("utt")
        row = await words.new(self.stores, self.conn, conference, utterances, txn)
        self._rows.append(row)

    def take_back(self, txn_id: str) -> None:
        """Have the message that the outbox calls `txn_id` redacted."""
        self._rows.append(
            Outgoing(
                room_id=self.room_id,
                txn_id=f"gone:{txn_id}",
                kind="redaction",
                content={"redacts": f"outbox:{txn_id}"},
            )
        )

    async def opt_out(self, user_id: str, room_id: str) -> None:
        """From now on nothing of theirs is written down in this room; '': in any room."""
        await self.stores.opted_out.put(self.conn, user_id, room_id, now_ms=self.now_ms)

    async def opt_in(self, user_id: str, *, everywhere: bool) -> None:
        """The contrary, in this room or in all of them."""
        if everywhere:
            await self.stores.opted_out.remove_all(self.conn, user_id)
        else:
            await self.stores.opted_out.remove(self.conn, user_id, self.room_id)

    async def opted_out(self) -> dict[str, int]:
        """Who is not written down here, and since when (Unix milliseconds)."""
        return await self.stores.opted_out.of_room(self.room_id, self.conn)

    def show_card(self) -> None:
        """The card of a call that began before the bot was in the room."""
        if self.running and self.running.leading:
            self._card(replace(self.running, card_rev=self.running.card_first))

    async def adopt_root(self, conference: Conference, event_id: str) -> None:
        """Let another site's card be the root of the thread."""
        txn = timeline.root_txn(conference)
        await self.stores.outbox.adopt(self.conn, self.room_id, txn, event_id)

    async def send_on_errand(self, errand: Errand) -> None:
        """Have something done outside, after this transaction."""
        await self.stores.errands.put(self.conn, errand)

    async def come_back(self, errand_id: str) -> Errand | None:
        """The errand that something became of, now out of the list; None where it was told."""
        errand = await self.stores.errands.get(self.conn, errand_id)
        await self.stores.errands.done(errand_id, self.conn)
        return errand

    # ---- what follows from it

    async def _begin(self, begun: Conference, effects: tuple[Effect, ...]) -> None:
        self.conferences = _kept([begun, *self.conferences])
        await self._carry_out(begun, effects)

    async def _carry_out(self, conference: Conference, effects: tuple[Effect, ...]) -> None:
        last_card = max((e.rev for e in effects if isinstance(e, PostCard)), default=0)
        if not conference.leading:
            effects = tuple(e for e in effects if not isinstance(e, PostCard | PostDocuments))
        for effect in effects:
            match effect:
                case PostCard(rev):
                    # Rendered from the snapshot after all of them: one edit says it.
                    if rev in {conference.card_first, last_card}:
                        self._card(conference)
                case RetireCard(first, redact):
                    self._retire_card(conference, first, redact=redact)
                case PostStatus():
                    self._status(conference)
                case PostUtterance(segment, rev):
                    self._rows.append(self._heard[segment, rev])
                case PostDocuments(rev):
                    await self._documents(conference, rev)
                case CallOut(ring):
                    content = {"conference": conference.id, "ring": ring}
                    await self._send("ring", calling.ring_txn(ring), content)
                case PostRing(ring, membership):
                    self._ring(conference, ring, membership)
                case CancelRing(ring):
                    self._cancel_ring(ring)
                case Say(key, values, in_thread):
                    root = f"outbox:{timeline.root_txn(conference)}" if in_thread else ""
                    about = {**self._speech(), **values}
                    self.answer(key, self.language, about, reply_to=root, thread_root=root)

    async def _documents(self, c: Conference, rev: int) -> None:
        forms = [form for form in self.house.documents if form not in c.withheld]
        self._rows += await record.rows(c, await self.recorded(c), rev, forms)
        # Once: after a correction or a deletion it is made again only when somebody asks.
        if rev == 1 and self.wish.summary and self.house.summary_model:
            asked_by_nobody = {"reply_to": "", "thread_root": "", "language": c.language}
            content = {"conference": c.id, **asked_by_nobody}
            await self._send("summary", f"summary:{c.id}", content)

    async def _keep_meetings(self) -> None:
        """What the snapshot will forget: the conferences that are over and have a record."""
        for c in self.conferences:
            recorded = c.phase != "running" and (c.spans or c.said)
            # What has expired is forgotten for good.
            gone = c.expired and await self.stores.meetings.get(c.id, self.conn) is None
            if recorded and not gone and c not in self._stored_conferences:
                root = await self.stores.outbox.event_id(timeline.root_txn(c), self.conn)
                meeting = record.meeting(c, room_name=self.facts.name, root=root)
                await self.stores.meetings.put(self.conn, meeting)

    def _wish_for_no_call(self) -> None:
        """After the end: nothing is wished for, and the next call is not locked."""
        wanted = before = self.facts.read_wish(self.house.defaults)
        if wanted.active:
            wanted = wanted.with_field("active", False)
        if wanted.locked:
            wanted = wanted.with_field("locked", False)
        if wanted != before:
            self.write_wish(wanted)

    async def _hang_up(self, conference: Conference) -> None:
        """Somebody ended the call for everybody: clients must not come back by themselves.

        Not with the tokens they have, at any site. The room's power levels are one site's, the one
        that answers to who asked: two would undo each other's.
        """
        await self.revoke_all()
        if self.facts.joined and self.facts.answers(conference.stopped_by, self.house.server_name):
            content = {"conference": conference.id}
            await self._send("hangup", f"hangup:{conference.id}", content)

    async def _send(self, kind: Kind, errand_id: str, content: dict[str, Any]) -> None:
        await self.send_on_errand(
            Errand(
                id=errand_id,
                room_id=self.room_id,
                kind=kind,
                content=content,
                created_ms=self.now_ms,
            )
        )


def _kept(conferences: list[Conference]) -> list[Conference]:
    """The newest, and what is older while its documents are being made again."""
    newest, older = conferences[: EARLIER + 1], conferences[EARLIER + 1 :]
    return [*newest, *(c for c in older if c.documents_due_ms is not None)]
