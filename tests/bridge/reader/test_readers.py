"""Who may read: the table of policies, what is remembered, and the answers of a real homeserver."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.matrix.client import Homeserver, HomeserverError
from bridge.matrix.readers import REMEMBER_S, Policy, Readers
from bridge.matrix.registration import Registration
from tests.support.synapse import Synapse

ALICE, ROOM, ROOT = "@alice:example.org", "!r:example.org", "$card"


class Rooms:
    """A homeserver of one answer each."""

    def __init__(self, *, inside: bool = False, then: bool = False, history: str = "") -> None:
        self.inside, self.then, self.history = inside, then, history
        self.error: Exception | None = None
        self.asked = 0

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        self.asked += 1
        if self.error:
            raise self.error
        return self.inside

    async def was_joined(self, room_id: str, user_id: str, event_id: str) -> bool:
        self.asked += 1
        return self.then

    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None:
        self.asked += 1
        return {"history_visibility": self.history} if self.history else None


@pytest.mark.parametrize(
    ("policy", "inside", "then", "history", "took_part", "may"),
    [
        # Strangers, and who has left: never by default, whatever they knew.
        ("members", False, False, "shared", False, False),
        ("members", False, True, "world_readable", True, False),
        # Members read; newcomers only what the room shows newcomers.
        ("members", True, False, "", False, True),
        ("members", True, False, "shared", False, True),
        ("members", True, False, "world_readable", False, True),
        ("members", True, False, "joined", False, False),
        ("members", True, False, "invited", False, False),
        ("members", True, True, "joined", False, True),
        ("members", True, False, "joined", True, True),
        # Who was there then, where the policy says so.
        ("members_then", False, True, "shared", False, True),
        ("members_then", False, False, "shared", True, True),
        ("members_then", False, False, "shared", False, False),
        ("members_then", True, False, "joined", False, False),
    ],
)
async def test_who_may_read_a_call(
    policy: Policy, inside: bool, then: bool, history: str, took_part: bool, may: bool
) -> None:
    readers = Readers(Rooms(inside=inside, then=then, history=history), policy)
    assert await readers.may_read_call(ALICE, ROOM, root=ROOT, took_part=took_part) is may


async def test_a_call_whose_first_message_is_unknown_is_read_by_who_took_part() -> None:
    readers = Readers(Rooms(then=True), "members_then")
    assert not await readers.may_read_call(ALICE, ROOM, root=None, took_part=False)
    assert await readers.may_read_call(ALICE, ROOM, root=None, took_part=True)


async def test_an_answer_is_remembered_for_seconds_only() -> None:
    now = 0.0
    rooms = Rooms(inside=True)
    readers = Readers(rooms, clock=lambda: now)
    assert await readers.may_read(ALICE, ROOM)
    rooms.inside = False
    assert await readers.may_read(ALICE, ROOM)
    assert rooms.asked == 1
    now = REMEMBER_S
    assert not await readers.may_read(ALICE, ROOM)
    assert REMEMBER_S <= 30


async def test_a_homeserver_that_does_not_answer_is_no_permission_and_not_remembered() -> None:
    rooms = Rooms(inside=True)
    readers = Readers(rooms)
    rooms.error = HomeserverError(502)
    with pytest.raises(Unavailable):
        await readers.may_read(ALICE, ROOM)
    rooms.error = HomeserverError(403)
    assert not await readers.may_read("@bob:example.org", ROOM)
    rooms.error = None
    assert await readers.may_read(ALICE, ROOM)


async def test_the_rooms_one_may_read() -> None:
    rooms = Rooms(inside=True)
    assert await Readers(rooms).rooms(ALICE, [ROOM, "!s:x", ROOM]) == [ROOM, "!s:x"]
    assert rooms.asked == 2


@pytest.mark.homeserver
async def test_a_real_homeserver_says_who_was_there(
    registered: tuple[Synapse, Registration],
) -> None:
    synapse, registration = registered
    bot = Homeserver(synapse.client_url, synapse.server_name, registration)
    alice, bob, eve = [await synapse.register(name) for name in ("r_alice", "r_bob", "r_eve")]
    room = await alice.create_room("Lecture", invite=[bot.user_id, bob.user_id])
    try:
        await bot.join(room)
        await bob.join(room)
        card = await bot.send_message(room, "m.room.message", _notice("card"), "t1")
        await bob.leave(room)
        later = await bot.send_message(room, "m.room.message", _notice("later"), "t2")
        assert await bot.was_joined(room, alice.user_id, card)
        assert await bot.was_joined(room, bob.user_id, card)
        assert not await bot.was_joined(room, bob.user_id, later)
        assert not await bot.was_joined(room, eve.user_id, card)
        assert not await bot.was_joined(room, bob.user_id, "$nothing")
        members, then = Readers(bot), Readers(bot, "members_then")
        assert await members.may_read(alice.user_id, room)
        assert not await members.may_read_call(bob.user_id, room, root=card, took_part=False)
        assert await then.may_read_call(bob.user_id, room, root=card, took_part=False)
        assert not await then.may_read_call(bob.user_id, room, root=later, took_part=False)
        assert not await then.may_read_call(eve.user_id, room, root=card, took_part=False)
    finally:
        await bot.close()


def _notice(body: str) -> dict[str, Any]:
    return {"msgtype": "m.notice", "body": body}
