"""One entry of the inbox: read it, ask the rules, and commit all of its effects at once.

    entry -> news -> what must be asked of the homeserver -> one transaction { ledger } -> done

Everything before the transaction can be repeated without harm (joining a room is idempotent), and
everything inside it happens once or not at all.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from bridge import text
from bridge.crypto import Crypto
from bridge.domain import happenings, wish
from bridge.domain.conference import Conference
from bridge.ids import ROOM_CALL
from bridge.matrix import wire
from bridge.rooms import (
    agreement,
    entrance,
    forgetting,
    mapping,
    memberships,
    moderating,
    news,
    outcomes,
    requests,
)
from bridge.rooms import facts as room_facts
from bridge.rooms.gather import Asked, Gathered, Gatherer, Homeserver, News, named
from bridge.rooms.house import House, Stores
from bridge.rooms.ledger import Ledger
from bridge.rooms.requests import TOO_OLD_MS
from bridge.rooms.saying import sentence_row
from bridge.rooms.sealed import Unsealing
from bridge.store.grants import Grant
from bridge.store.inbox import Entry
from bridge.store.utterances import Utterance

log = logging.getLogger(__name__)

THIRD = 3
"""With so many members, the bot among them, a room was a chat of two people before it came."""


class Conductor:
    """Handles entries. Raises what may be tried again; an entry nobody can read is done."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        homeserver: Homeserver,
        *,
        crypto: Crypto | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self._house = house
        self._stores = stores
        self._gatherer = Gatherer(house, stores, homeserver, clock_ms)
        self._unsealing = Unsealing(house, stores, crypto, clock_ms) if crypto else None
        self._clock_ms = clock_ms
        self._new_id = new_id

    async def handle(self, entry: Entry) -> None:
        """Carry out one entry and mark it done, in one transaction.

        An encrypted one whose key has not come is put by instead.
        """
        opened = await self._unsealing.open(entry) if self._unsealing else entry
        if opened is None:
            return
        entry = opened
        told = self._gatherer.read(entry)
        gathered = Gathered() if told is None else await self._gatherer.gather(entry, told)
        db = self._stores.db
        async with db.acquire() as conn, conn.transaction():
            ledger = Ledger(self._house, self._stores, conn, entry, self._clock_ms(), self._new_id)
            await ledger.load()
            known = ledger.facts.known
            ledger.facts = gathered.learned(ledger.facts)
            if gathered.seen is not None:
                memberships.read_whole(ledger, gathered.seen)
            if told is not None:
                await self._act(ledger, told, gathered, knew=known)
            await memberships.look(ledger)
            await ledger.save()

    async def give_up(self, entry: Entry, reference: str) -> None:
        """Say in the room that an entry could not be handled, with a reference for the log."""
        told = self._gatherer.read(entry)
        async with self._stores.db.acquire() as conn, conn.transaction():
            facts = room_facts.from_json(await self._stores.rooms.get(conn, entry.room_id))
            language = facts.read_wish(self._house.defaults).language
            if isinstance(told, Asked):
                language = told.command.language or language
                typed = f"{self._house.prefix} {told.command.words}".strip()
                sentence = text.say("failed.command", language, command=typed, reference=reference)
            else:
                sentence = text.say("failed.event", language, reference=reference)
            row = sentence_row(entry.room_id, f"failed:{reference}", sentence)
            await self._stores.outbox.put(conn, row, now_ms=self._clock_ms())

    # ---- acting, inside the transaction

    async def _act(self, ledger: Ledger, told: News, gathered: Gathered, *, knew: bool) -> None:
        match told:
            case Asked():
                await requests.carry_out(ledger, told, gathered)
            case wire.MemberChange():
                await self._member(ledger, told, gathered)
            case wire.WishChanged():
                before = ledger.facts.read_wish(self._house.defaults).active if knew else None
                ledger.facts = replace(ledger.facts, wish=told.content)
                await self._wish(ledger, by=told.sender, age_ms=ledger.now_ms - told.ts, was=before)
            case wire.StateChange():
                await self._state(ledger, told)
            case wire.CallMembership():
                memberships.hear(ledger, told)
            case wire.Redacted():
                memberships.redacted(ledger, told)
                await forgetting.redacted(ledger, told)
            case news.Expired(conference=conference):
                await forgetting.expire(ledger, conference)
            case news.Erase(user_id=user_id):
                await forgetting.erase(ledger, user_id)
            case news.Ghost(event_id=event_id):
                memberships.clear(ledger, event_id)
            case news.Heard():
                await self._heard(ledger, told, gathered.grant)
            case news.Interrupted(conference=interrupted, start_ms=start_ms, end_ms=end_ms):
                deaf = ledger.conference(interrupted)
                if deaf:
                    lost = happenings.Interrupted(start_ms=start_ms, end_ms=end_ms)
                    await ledger.apply(deaf, lost)
            case wire.Declined():
                await self._declined(ledger, told)
            case news.CameBack():
                await outcomes.tell(ledger, told)
            case news.SessionChanged():
                await self._session(ledger, told)
            case news.Peers():
                await agreement.peers_heard(ledger, told)
            case news.ShareTaken():
                await agreement.share_taken(ledger, told)
            case news.Forgotten():
                await forgetting.peer_forgot(ledger, told)
            case news.PutOut():
                await moderating.put_out(ledger, told)
            case _:
                await self._media(ledger, told, gathered.grant)

    async def _wish(self, ledger: Ledger, *, by: str, age_ms: int, was: bool | None) -> None:
        wanted, problems = wish.read(ledger.facts.wish, self._house.defaults)
        for problem in problems:
            detail = text.say(problem.key, ledger.language, **problem.values)
            ledger.say("wish.problem", problem=detail)
        asked = ledger.facts.asks_for("transcript") or ledger.facts.asks_for("captions")
        if asked and not ledger.can_write_down:
            ledger.say("transcript.encrypted")
        if ledger.running:
            wanted = replace(ledger.wish, active=wanted.active)
            encrypted = ledger.facts.encrypted
            read = happenings.WishRead(wish=wanted, by=by, encrypted=encrypted)
            await ledger.apply(ledger.running, read)
        elif wanted.active and not was and age_ms <= TOO_OLD_MS and self._may_start(ledger, by):
            await ledger.start(by)

    def _may_start(self, ledger: Ledger, by: str) -> bool:
        return self._house.admits(by) and ledger.facts.answers(by, self._house.server_name)

    async def _state(self, ledger: Ledger, change: wire.StateChange) -> None:
        if (change.type, change.state_key) == (wire.RTC_SLOT, ROOM_CALL):
            ledger.facts = ledger.facts.with_slot(change.content)
        if change.state_key:
            return
        ledger.facts = ledger.facts.with_state(change.type, change.content, change.sender)
        if change.type == wire.POWER_LEVELS:
            mapping.bring(ledger)
        if change.type == wire.ENCRYPTION:
            mapping.close_in(ledger)
            await ledger.settings_changed()
        elif change.type == wire.TOMBSTONE and ledger.facts.closed:
            await self._closed(ledger, by=change.sender)

    async def _closed(self, ledger: Ledger, *, by: str) -> None:
        """The room has been replaced: its call is over, and no token opens it any more."""
        await ledger.revoke_all()
        if ledger.running:
            await ledger.apply(ledger.running, happenings.StopAsked(by=by))

    async def _member(self, ledger: Ledger, change: wire.MemberChange, gathered: Gathered) -> None:
        if change.user_id == self._house.bot:
            await self._own_membership(ledger, change, gathered)
            return
        if gathered.stale:
            return
        ledger.facts = ledger.facts.with_member(change.user_id, change.membership, self._house.bot)
        if change.membership == "join":
            mapping.welcome(ledger, change.user_id)
        elif change.membership == "knock":
            mapping.answer_knock(ledger, change.user_id)
        if change.membership != "join":
            await ledger.revoke(change.user_id)
            memberships.gone(ledger, change.user_id)
        elif change.user_id in ledger.facts.names:
            ledger.facts = ledger.facts.named(named(change.user_id, change.display_name))

    async def _own_membership(
        self, ledger: Ledger, change: wire.MemberChange, gathered: Gathered
    ) -> None:
        if gathered.joined:
            deaf = ledger.facts.encrypted and not self._house.encryption
            ledger.say("hello.encrypted" if deaf else "hello")
            if gathered.seen and len(gathered.seen.joined) == THIRD:
                ledger.say("hello.direct")
            ledger.show_card()
            # What the room has wished for before we came is wished for now.
            await self._wish(ledger, by=change.sender, age_ms=0, was=None)
            mapping.bring(ledger)
        elif change.membership in {"leave", "ban"}:
            # Nobody tells us any more who is a member: nobody stays.
            await ledger.revoke_all()
            ledger.memberships = ()
            ledger.facts = replace(ledger.facts, known=False, joined=False)
            if ledger.running:
                await ledger.apply(ledger.running, happenings.StopAsked())

    async def _declined(self, ledger: Ledger, told: wire.Declined) -> None:
        ring = await ledger.rung_by(told.notification)
        if ring is not None and ledger.running is not None:
            name = ledger.facts.display_name(told.sender)
            declined = happenings.RingDeclined(ring=ring, user_id=told.sender, name=name)
            await ledger.apply(ledger.running, declined)

    async def _media(self, ledger: Ledger, told: News, grant: Grant | None) -> None:
        match told:
            case news.Joined():
                if grant is not None and grant.revoked_ms is None:
                    await self._joined(ledger, told, grant)
            case news.Left(identity=identity, sid=sid):
                left = happenings.ParticipantLeft(identity=identity, sid=sid)
                await _each(ledger, left)
            case news.Finished(media_sid=media_sid):
                await _each(ledger, happenings.MediaRoomFinished(media_sid=media_sid))
            case news.Closed(conference=conference):
                closed = ledger.conference(conference)
                if closed:
                    await ledger.apply(closed, happenings.MediaClosed())
            case news.Gone(user_id=user_id):
                await ledger.revoke(user_id)
            case news.Knocked(conference=conference, user_id=user_id):
                waited_for = ledger.conference(conference)
                if waited_for:
                    name = ledger.facts.display_name(user_id)
                    knock = happenings.Knocked(user_id=user_id, display_name=name)
                    await ledger.apply(waited_for, knock)
            case news.Due(at_ms=at_ms):
                # The clock may have been put back since: what was due stays due.
                ledger.now_ms = max(ledger.now_ms, at_ms)
                await _each(ledger, happenings.Tick())

    async def _joined(self, ledger: Ledger, told: news.Joined, grant: Grant) -> None:
        if not told.seen and ledger.now_ms - told.at_ms > TOO_OLD_MS:
            return  # announced while we were down: if they are still there, they will be seen
        if entrance.refusal(self._house, ledger.facts, ledger.running, grant) is not None:
            return  # with a token of another time: the reconciler removes them
        newest = ledger.conferences[0] if ledger.conferences else None
        if ledger.running is None:
            # Who came before the last end is being removed; who came after it, or is there after
            # everybody was removed (another machine's clock may be behind), wants a new call.
            there = told.seen and newest is not None and newest.media_closed
            if newest and not there and told.at_ms <= (newest.ended_ms or 0):
                return
            await ledger.start(grant.user_id)
        if ledger.running:
            joined = happenings.ParticipantJoined(
                identity=told.identity,
                sid=told.sid,
                user_id=grant.user_id,
                device_id=grant.device_id,
                display_name=ledger.facts.display_name(grant.user_id),
                media_sid=told.media_sid,
            )
            await ledger.apply(ledger.running, joined)

    async def _heard(self, ledger: Ledger, heard: news.Heard, grant: Grant | None) -> None:
        conference = await ledger.recall(heard.conference)
        if conference is None or grant is None:
            log.warning("a segment of %s has no conference or no speaker", heard.conference)
            return
        if heard.final and not heard.text:
            # The last pass says that these words are in another part, of another voice.
            if not await ledger.touched(heard.segment):
                await forgetting.forget(ledger, [heard.segment], by="", why="replaced")
            return
        if not heard.text or not conference.takes(heard.start_ms, heard.end_ms):
            return
        # The scribe does not hear them; this is for what was on its way when it learnt of it.
        since_ms = (await ledger.opted_out()).get(grant.user_id)
        if since_ms is not None and conference.started_ms + heard.end_ms > since_ms:
            return
        said = _utterance(heard, grant, ledger, conference)
        await ledger.hear(conference, said, final=heard.final)

    async def _session(self, ledger: Ledger, changed: news.SessionChanged) -> None:
        conference = ledger.conference(changed.conference)
        if conference is None:
            return
        if changed.state == "stopped":
            await ledger.apply(conference, happenings.ScribeStopped())
        elif changed.state == "failed" or changed.lacks:
            await ledger.apply(conference, happenings.ScribeFailed(reason=changed.lacks))
        elif changed.state == "listening":
            await ledger.apply(conference, happenings.ScribeWell())


async def _each(ledger: Ledger, event: happenings.Event) -> None:
    for conference in list(ledger.conferences):
        await ledger.apply(conference, event)


def _utterance(
    heard: news.Heard, grant: Grant, ledger: Ledger, conference: Conference
) -> Utterance:
    # The person is the one the token was given to, whatever name the media server was told.
    named = {stay.user_id: stay.display_name for stay in conference.people}
    name = named.get(grant.user_id) or ledger.facts.display_name(grant.user_id)
    return Utterance(
        conference=heard.conference,
        segment=heard.segment,
        rev=heard.rev,
        room_id=ledger.room_id,
        speaker=grant.user_id,
        device=grant.device_id,
        display_name=name,
        text=heard.text,
        language=heard.language,
        start_ms=heard.start_ms,
        end_ms=heard.end_ms,
        engine=heard.engine,
        voice=heard.voice,
        words=heard.words,
        said_ms=conference.started_ms + heard.start_ms,
    )
