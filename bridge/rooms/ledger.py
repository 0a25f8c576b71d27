"""One room inside the transaction of one entry: what is stored, changed, and to be said.

Opened, changed and saved by the conductor. Nothing here waits for the network: the transaction
holds the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.domain import course, documents, wish
from bridge.domain.conference import Conference, from_json, to_json
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
    RetireCard,
    Say,
    SegmentHeard,
    WishRead,
)
from bridge.domain.membership import Membership
from bridge.domain.transcript import Spoken
from bridge.domain.wish import Wish
from bridge.matrix import calling, timeline, wire
from bridge.rooms import facts as room_facts
from bridge.rooms.house import House, Stores
from bridge.store.database import Connection
from bridge.store.errands import Errand
from bridge.store.inbox import Entry
from bridge.store.outbox import Outgoing
from bridge.store.peer_utterances import PeerUtterance
from bridge.store.utterances import Utterance
from bridge.text import Language, say

EARLIER = 8
"""Ended conferences of a room that late segments are still taken for."""

_DOCUMENTS = (
    ("md", "text/markdown", documents.markdown),
    ("vtt", "text/vtt", documents.webvtt),
    ("json", "application/json", documents.as_json),
)


class Ledger:
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
        self.house = house
        self.room_id = entry.room_id
        self.now_ms = now_ms
        self.facts = room_facts.Facts()
        self.conferences: list[Conference] = []
        self.memberships: tuple[Membership, ...] = ()
        self._stored_memberships: tuple[Membership, ...] = ()
        self._stores = stores
        self._conn = conn
        self._entry = entry
        self._new_id = new_id
        self._rows: list[Outgoing] = []
        self._heard: dict[tuple[str, int], timeline.Content] = {}

    async def load(self) -> None:
        """Read what is stored."""
        stored = await self._stores.rooms.get(self._conn, self.room_id)
        self.facts = room_facts.from_json(stored)
        snapshot = await self._stores.conferences.load(self._conn, self.room_id)
        self.conferences = read_conferences(snapshot)
        said = await self._stores.memberships.of_room(self._conn, self.room_id)
        self.memberships = self._stored_memberships = tuple(said)

    async def save(self) -> None:
        """Write everything back, and what is to be said behind what waits already."""
        await self._stores.rooms.put(self._conn, self.room_id, room_facts.to_json(self.facts))
        if self.conferences:
            await self._stores.conferences.save(
                self._conn,
                self.room_id,
                write_conferences(self.conferences),
                active=any(conference.open for conference in self.conferences),
            )
        await self._stores.memberships.save(
            self._conn, self.room_id, self._stored_memberships, self.memberships
        )
        if self.facts.joined:
            await self._stores.outbox.put(self._conn, *self._rows, now_ms=self.now_ms)
        await self._stores.inbox.done(self._conn, self._entry)

    # ---- reading

    @property
    def entry_key(self) -> str:
        """The key of the entry that is handled."""
        return self._entry.key

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

    @property
    def language(self) -> Language:
        """The language of the room's sentences."""
        return self.facts.read_wish(self.house.defaults).language

    def conference(self, conference: str) -> Conference | None:
        """One of the room's conferences, None where it is too long ago."""
        return next((c for c in self.conferences if c.id == conference), None)

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
        self.conferences = [begun, *self.conferences][: EARLIER + 1]
        await self._carry_out(begun, effects)
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
        self.conferences = [begun, *self.conferences][: EARLIER + 1]
        await self._carry_out(begun, effects)
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

    def _wish_for_no_call(self) -> None:
        """After the end: nothing is wished for, and the next call is not locked."""
        wanted = before = self.facts.read_wish(self.house.defaults)
        if wanted.active:
            wanted = wanted.with_field("active", False)
        if wanted.locked:
            wanted = wanted.with_field("locked", False)
        if wanted != before:
            self.write_wish(wanted)

    async def settings_changed(self) -> None:
        """Bring a running call to the wish's settings; only the wish's own event may end it."""
        if self.running:
            wanted = replace(self.wish, active=None)
            await self.apply(self.running, WishRead(wish=wanted, encrypted=self.facts.encrypted))

    async def hear(self, conference: Conference, utterance: Utterance) -> None:
        """Store something said, and post it. What is stored already is not posted again."""
        if not await self._stores.utterances.put(self._conn, utterance):
            return
        first = await self._first_txn(utterance)
        key = (utterance.segment, utterance.rev)
        self._heard[key] = timeline.utterance(
            in_call(utterance, conference), first_txn=first, root=timeline.root_txn(conference)
        )
        event = SegmentHeard(
            segment=utterance.segment, rev=utterance.rev, correction=first is not None
        )
        await self.apply(conference, event)

    async def revoke(self, user_id: str) -> None:
        """Take back what somebody was granted: the reconciler then removes them from the media."""
        await self._stores.grants.revoke(self._conn, self.room_id, user_id, now_ms=self.now_ms)

    async def revoke_all(self) -> None:
        """The same for everybody."""
        grants = await self._stores.grants.of_room(self.room_id, self._conn)
        for user_id in dict.fromkeys(g.user_id for g in grants if g.revoked_ms is None):
            await self.revoke(user_id)

    def add(self, row: Outgoing) -> None:
        """Something to be sent behind what is said already."""
        self._rows.append(row)

    # ---- saying

    def show_card(self) -> None:
        """The card of a call that began before the bot was in the room."""
        if self.running and self.running.leading:
            self._card(replace(self.running, card_rev=self.running.card_first))

    def say(
        self,
        key: str,
        asked: wire.IncomingMessage | None = None,
        *,
        language: Language | None = None,
        **values: str | int,
    ) -> None:
        """A sentence in the room, as an answer to what was asked. `language`: else the room's."""
        self.answer(
            key,
            language or self.language,
            values,
            reply_to=asked.event_id if asked else "",
            thread_root=(asked.thread_root or "") if asked else "",
        )

    def answer(
        self,
        key: str,
        language: Language,
        values: Mapping[str, str | int],
        *,
        reply_to: str = "",
        thread_root: str = "",
    ) -> None:
        """A sentence as an answer to the event `reply_to`."""
        sentence = say(key, language, **{**self.house.named, **values})
        content = timeline.notice(sentence, reply_to=reply_to, thread_root=thread_root)
        self._message(self._own_txn("say"), content)

    async def send_on_errand(self, errand: Errand) -> None:
        """Have something done outside, after this transaction."""
        await self._stores.errands.put(self._conn, errand)

    async def errand(self, errand_id: str) -> Errand | None:
        """An errand that goes on."""
        return await self._stores.errands.get(self._conn, errand_id)

    async def come_back(self, errand_id: str) -> Errand | None:
        """The errand that something became of, now out of the list; None where it was told."""
        errand = await self._stores.errands.get(self._conn, errand_id)
        await self._stores.errands.done(errand_id, self._conn)
        return errand

    def write_wish(self, wanted: Wish) -> None:
        """Change the room's wish: here at once, and in the room where it lets the bot."""
        content = wish.write(wanted)
        self.facts = replace(self.facts, wish=content)
        self._state(wire.CONFERENCE, "", content, self._own_txn("wish"))

    @staticmethod
    def sentence(room_id: str, txn_id: str, sentence: str) -> Outgoing:
        """A row for one plain sentence."""
        return Outgoing(
            room_id=room_id, txn_id=txn_id, kind="message", content=timeline.notice(sentence)
        )

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
                    txn = timeline.utterance_txn(segment, rev)
                    self._message(txn, self._heard[segment, rev])
                case PostDocuments(rev):
                    await self._documents(conference, rev)
                case CallOut(ring):
                    await self._call_out(conference, ring)
                case PostRing(ring, membership):
                    self._ring(conference, ring, membership)
                case CancelRing(ring):
                    self._rows.append(
                        Outgoing(
                            room_id=self.room_id,
                            txn_id=calling.cancel_txn(ring),
                            kind="redaction",
                            content=calling.cancellation(ring),
                        )
                    )
                case Say(key, values):
                    self.answer(key, self.language, values)

    def _card(self, conference: Conference) -> None:
        txn = timeline.card_txn(conference.id, conference.card_rev)
        self._message(txn, timeline.card(conference, self.house.place(self.room_id)))

    def _retire_card(self, conference: Conference, first: int, *, redact: bool) -> None:
        txn = timeline.card_txn(conference.id, conference.card_rev)
        if not redact:
            self._message(txn, timeline.moved_card(conference, first))
            return
        content = {"redacts": f"outbox:{timeline.card_txn(conference.id, first)}"}
        row = Outgoing(room_id=self.room_id, txn_id=txn, kind="redaction", content=content)
        self._rows.append(row)

    async def adopt_root(self, conference: Conference, event_id: str) -> None:
        """Let another site's card be the root of the thread."""
        txn = timeline.root_txn(conference)
        await self._stores.outbox.adopt(self._conn, self.room_id, txn, event_id)

    async def _hang_up(self, conference: Conference) -> None:
        """Somebody ended the call for everybody: clients must not come back by themselves.

        Not with the tokens they have, at any site. The room's power levels are one site's, the one
        that answers to who asked: two would undo each other's.
        """
        await self.revoke_all()
        if self.facts.joined and self.facts.answers(conference.stopped_by, self.house.server_name):
            await self.send_on_errand(
                Errand(
                    id=f"hangup:{conference.id}",
                    room_id=self.room_id,
                    kind="hangup",
                    content={"conference": conference.id},
                    created_ms=self.now_ms,
                )
            )

    async def _call_out(self, conference: Conference, ring_id: str) -> None:
        content = {"conference": conference.id, "ring": ring_id}
        await self.send_on_errand(
            Errand(
                id=calling.ring_txn(ring_id),
                room_id=self.room_id,
                kind="ring",
                content=content,
                created_ms=self.now_ms,
            )
        )

    def _ring(self, conference: Conference, ring_id: str, membership: str) -> None:
        ring = next(one for one in conference.rings if one.id == ring_id)
        # Without a membership it can only be a message that points at the card.
        card = f"outbox:{timeline.root_txn(conference)}"
        shown = ring if membership else replace(ring, mode="notification")
        self._rows.append(
            Outgoing(
                room_id=self.room_id,
                txn_id=calling.ring_txn(ring_id),
                kind="message",
                type=wire.RTC_NOTIFICATION,
                content=calling.notification(shown, membership or card, now_ms=self.now_ms),
                not_after_ms=self.now_ms + calling.WORTH_MS,
            )
        )

    async def rung_by(self, notification: str) -> str | None:
        """The ring of the running conference whose notification is this event."""
        for ring in self.running.rings if self.running else ():
            txn = calling.ring_txn(ring.id)
            if await self._stores.outbox.event_id(txn, self._conn) == notification:
                return ring.id
        return None

    def _status(self, conference: Conference) -> None:
        self._state(
            wire.CONFERENCE_STATUS,
            self.house.server_name,
            timeline.status(conference, self.house.link(self.room_id)),
            timeline.status_txn(conference.id, conference.card_rev),
        )

    async def _documents(self, c: Conference, rev: int) -> None:
        own = await self._stores.utterances.of_conference(c.id, self._conn)
        others = await self._stores.peer_utterances.of_conference(c.id, self._conn)
        spoken = merged([in_call(utterance, c) for utterance in own], others)
        record = documents.Record(
            title=say("document.title", c.language),
            room_name=self.facts.name or self.room_id,
            room_id=self.room_id,
            conference=c.call_id,
            started_ms=c.began_ms,
            ended_ms=c.ended_ms or self.now_ms,
            participants=_participants(c, spoken),
            utterances=tuple(spoken),
            missing=c.missing,
            zone=self.house.zone,
        )
        for form, media_type, write in _DOCUMENTS:
            file_name = f"transcript.{form}"
            self._rows.append(
                Outgoing(
                    room_id=self.room_id,
                    txn_id=timeline.document_txn(c.id, form, rev),
                    kind="file",
                    content=timeline.document(
                        c.call_id,
                        form=form,
                        rev=rev,
                        file_name=file_name,
                        root=timeline.root_txn(c),
                    ),
                    blob=write(record, c.language).encode(),
                    media_type=media_type,
                    file_name=file_name,
                )
            )

    def _message(self, txn_id: str, content: timeline.Content) -> None:
        self._rows.append(
            Outgoing(room_id=self.room_id, txn_id=txn_id, kind="message", content=content)
        )

    def _state(self, event_type: str, state_key: str, content: dict[str, Any], txn: str) -> None:
        power = self.facts.power
        level = power.needed_for_state(event_type)
        sentence = say(
            "power.missing", self.language, prefix=self.house.prefix, level=max(level, 1)
        )
        if power.may_send_state(self.house.bot, event_type):
            self.facts = replace(self.facts, power_said=False)
            self._rows.append(
                Outgoing(
                    room_id=self.room_id,
                    txn_id=txn,
                    kind="state",
                    type=event_type,
                    state_key=state_key,
                    content=content,
                    if_forbidden=timeline.notice(sentence),
                )
            )
        elif not self.facts.power_said:
            self.facts = replace(self.facts, power_said=True)
            self._message(self._own_txn("power"), timeline.notice(sentence))

    async def _first_txn(self, utterance: Utterance) -> str | None:
        revisions = range(max(0, utterance.rev - 20), utterance.rev)
        txns = [timeline.utterance_txn(utterance.segment, rev) for rev in revisions]
        posted = await self._stores.outbox.find(txns)
        return next((txn for txn in txns if txn in posted), None)

    def _own_txn(self, effect: str) -> str:
        # The same entry handled again says the same in the same order: the same ids.
        return f"{effect}:{self._entry.kind}:{self._entry.key}:{len(self._rows)}"


def in_call(utterance: Utterance, conference: Conference) -> Utterance:
    """As it is told of: times count from the call's start, which may be another site's."""
    offset = conference.started_ms - conference.began_ms
    return replace(
        utterance,
        conference=conference.call_id,
        start_ms=utterance.start_ms + offset,
        end_ms=utterance.end_ms + offset,
    )


def merged(own: Sequence[Spoken], others: Sequence[PeerUtterance]) -> list[Spoken]:
    """What was said at all sites. A segment is of the site that had its name first, ours before
    all: no site can put its words in place of another's."""
    homes = {utterance.segment: "" for utterance in own}
    for utterance in others:
        homes.setdefault(utterance.segment, utterance.site)
    return [*own, *(u for u in others if homes[u.segment] == u.site)]


def _participants(c: Conference, spoken: Sequence[Spoken]) -> tuple[documents.Participant, ...]:
    names = {stay.user_id: stay.display_name for stay in c.people}
    # A site that was away may have told what was said there, and not who was there.
    for utterance in spoken:
        names.setdefault(utterance.speaker, utterance.display_name)
    return tuple(documents.Participant(user_id, name) for user_id, name in names.items())


def read_conferences(snapshot: dict[str, Any] | None) -> list[Conference]:
    """The conferences in a room's stored snapshot, the newest first."""
    if snapshot is None:
        return []
    return [from_json(one) for one in (snapshot, *snapshot.get("earlier", ()))]


def write_conferences(conferences: list[Conference]) -> dict[str, Any]:
    """The snapshot to store: the newest, with the ones before it under `earlier`."""
    newest, *earlier = (to_json(conference) for conference in conferences)
    return {**newest, "earlier": earlier}
