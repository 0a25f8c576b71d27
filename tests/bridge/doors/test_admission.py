"""Who is let in, and what happens between the question and the answer."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bridge.config import Database, Federation, Homeserver, Settings
from bridge.domain.leaves import Leave
from bridge.errors import Refused, Unavailable
from bridge.ids import hashed_identity, media_room
from bridge.matrix.admission import (
    Admission,
    Admitted,
    Ask,
    BadAsk,
    Delay,
    TooOften,
    shown_name,
)
from bridge.matrix.client import HomeserverError
from bridge.media.keys import ApiKey
from bridge.store.database import open_database
from bridge.store.grants import Grants

KEY = ApiKey("k", "a secret that is long enough for HS256")
ROOM = "!room:example.org"
ALICE = "@alice:example.org"


@dataclass
class Members:
    """A homeserver whose answer can change at the nth question."""

    joined: set[str] = field(default_factory=lambda: {ALICE})
    names: dict[str, str] = field(default_factory=lambda: {ALICE: "Alice"})
    asked: int = 0
    named: int = 0
    then: Callable[[int], None] = lambda _n: None
    error: Exception | None = None

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        self.asked += 1
        self.then(self.asked)
        if self.error is not None:
            raise self.error
        return room_id == ROOM and user_id in self.joined

    async def display_name(self, room_id: str, user_id: str) -> str:
        self.named += 1
        return self.names.get(user_id, user_id)


@dataclass
class Media:
    made: list[tuple[str, int]] = field(default_factory=list)
    error: Exception | None = None

    async def create_room(self, name: str, *, empty_timeout_s: int) -> None:
        if self.error is not None:
            raise self.error
        self.made.append((name, empty_timeout_s))


@dataclass
class Room:
    """What the room wants: a reason not to come in, and who may publish."""

    reason: str = ""
    may_publish: bool = True
    asked: int = 0

    async def allow(self, room_id: str, user_id: str) -> bool:
        self.asked += 1
        if self.reason:
            raise Refused(self.reason)
        return self.may_publish


@dataclass
class Handed:
    """The leaves that were taken over."""

    leaves: list[Leave] = field(default_factory=list)

    async def take(self, leave: Leave) -> None:
        if leave.delay_id == "too many":
            raise BadAsk("too many delegated leaves")
        self.leaves.append(leave)


@dataclass
class World:
    admission: Admission
    members: Members
    media: Media
    grants: Grants
    handed: Handed
    room: Room
    registry: CollectorRegistry
    now: list[float]

    async def ask(self, **changes: Any) -> Admitted:
        values = {"room_id": ROOM, "user_id": ALICE, "device_id": "DEV", **changes}
        return await self.admission.admit(Ask(**values))

    async def delegate(self, **changes: Any) -> None:
        values = {"room_id": ROOM, "user_id": ALICE, "device_id": "DEV", **changes}
        await self.admission.delegate(Ask(**values))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await _world(tmp_path, Settings(base=tmp_path))
    yield made
    await made.grants._db.stop()


async def _world(folder: Path, settings: Settings) -> World:
    settings = dataclasses.replace(
        settings,
        homeserver=Homeserver(server_name="example.org"),
        database=Database(url=f"sqlite:{folder}/test.db"),
    )
    members, media, handed, now = Members(), Media(), Handed(), [1_764_000_000.0]
    registry, room = CollectorRegistry(), Room()
    grants = Grants(await open_database(settings))
    admission = Admission(
        settings,
        KEY,
        homeserver=members,
        grants=grants,
        media=media,
        entrance=room,
        leaves=handed,
        registry=registry,
        clock=lambda: now[0],
    )
    return World(admission, members, media, grants, handed, room, registry, now)


def claims(admitted: Admitted) -> dict[str, Any]:
    payload = admitted.jwt.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


async def test_a_member_is_admitted_and_the_grant_is_stored_first(world: World) -> None:
    admitted = await world.ask()
    token = claims(admitted)
    assert admitted.url == "ws://127.0.0.1:7880"
    assert (token["sub"], token["name"]) == (f"{ALICE}:DEV", "Alice")
    assert token["video"]["room"] == media_room(ROOM)
    assert token["exp"] == 1_764_003_600
    grant = await world.grants.of_identity(media_room(ROOM), f"{ALICE}:DEV")
    assert grant is not None
    assert (grant.user_id, grant.device_id, grant.member_id) == (ALICE, "DEV", None)
    assert (grant.granted_ms, grant.revoked_ms) == (1_764_000_000_000, None)
    assert admitted.jwt not in repr(admitted)


async def test_the_room_is_looked_at_before_a_token_is_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(world.admission, "_on_grant", told.append)
    await world.ask()
    world.members.joined.clear()
    with pytest.raises(Refused):
        await world.ask()
    assert told == [ROOM], "and not for whoever gets none"


async def test_a_sticky_member_gets_the_hashed_identity(world: World) -> None:
    admitted = await world.ask(member_id="m1")
    assert claims(admitted)["sub"] == hashed_identity(ALICE, "DEV", "m1")
    (grant,) = await world.grants.of_user(ROOM, ALICE)
    assert grant.member_id == "m1"


async def test_asking_again_is_cheap_and_changes_nothing(world: World) -> None:
    first = await world.ask()
    assert (world.members.asked, world.members.named, len(world.media.made)) == (2, 1, 1)
    assert await world.ask() == first
    # Membership is the one thing never remembered.
    assert (world.members.asked, world.members.named, len(world.media.made)) == (3, 1, 1)
    assert len(await world.grants.of_room(ROOM)) == 1


async def test_who_is_not_a_member_leaves_no_trace(world: World) -> None:
    with pytest.raises(Refused):
        await world.ask(user_id="@eve:example.org")
    assert await world.grants.of_room(ROOM) == []
    assert world.media.made == []


async def test_whoever_was_kicked_and_came_back_is_let_in_again(world: World) -> None:
    await world.ask()
    db = world.grants._db
    async with db.acquire() as conn, conn.transaction():
        await world.grants.revoke(conn, ROOM, ALICE, now_ms=1)
    world.members.joined.clear()
    with pytest.raises(Refused):
        await world.ask()
    assert len(await world.grants.revoked_in(ROOM)) == 1
    world.members.joined.add(ALICE)
    await world.ask()
    assert await world.grants.revoked_in(ROOM) == []


async def test_kicked_while_the_grant_is_being_stored(world: World) -> None:
    # The kick's entry in the inbox may be handled before the grant exists: nothing to revoke then.
    world.members.then = lambda n: world.members.joined.clear() if n == 2 else None
    with pytest.raises(Refused):
        await world.ask()
    assert [grant.identity for grant in await world.grants.revoked_in(ROOM)] == [f"{ALICE}:DEV"]


async def test_the_homeserver_failing_at_the_second_look_admits_nobody(world: World) -> None:
    def fail(n: int) -> None:
        world.members.error = Unavailable("homeserver_unavailable") if n == 2 else None

    world.members.then = fail
    with pytest.raises(Unavailable):
        await world.ask()
    assert len(await world.grants.revoked_in(ROOM)) == 1


@pytest.mark.parametrize(
    "error", [Unavailable("homeserver_unavailable"), HomeserverError(500, "M_UNKNOWN", "x")]
)
async def test_a_failing_homeserver_admits_nobody(world: World, error: Exception) -> None:
    world.members.error = error
    with pytest.raises(Unavailable):
        await world.ask()


async def test_without_a_media_server_there_is_no_token(world: World) -> None:
    world.media.error = Unavailable("media_unavailable")
    with pytest.raises(Unavailable):
        await world.ask()
    assert await world.grants.of_room(ROOM) == []


async def test_a_device_cannot_be_made_to_look_like_another_person(world: World) -> None:
    world.members.joined.add("@a:host")
    # `@a:host` + `8448:X` spells the identity of `@a:host:8448` + `X`.
    with pytest.raises(BadAsk):
        await world.ask(user_id="@a:host", device_id="8448:X")


@pytest.mark.parametrize(
    "changes",
    [
        {"room_id": "room"},
        {"room_id": ""},
        {"room_id": "!" + "x" * 255},
        {"room_id": "!a\0:example.org"},
        {"device_id": ""},
        {"device_id": "x" * 256},
        {"device_id": "a\ud800"},
        {"device_id": "a\nb"},
        {"user_id": "alice"},
        {"user_id": "@a\u202eb:c"},
        {"member_id": ""},
        {"member_id": "x" * 256},
        {"member_id": "m", "device_id": "a\0"},
        {"slot_id": "m.call#other"},
        {"delay": Delay("x" * 256, 1000)},
        {"delay": Delay("a\nb", 1000)},
    ],
)
async def test_nonsense_is_refused_before_anybody_is_asked(
    world: World, changes: dict[str, str]
) -> None:
    with pytest.raises(BadAsk):
        await world.ask(**changes)
    assert world.members.asked == 0


async def test_one_person_asking_without_end_is_slowed_down(world: World) -> None:
    world.members.joined.add("@bob:example.org")
    for _ in range(30):
        await world.ask()
    asked = world.members.asked
    with pytest.raises(TooOften) as refused:
        await world.ask()
    assert 0 < refused.value.retry_after_s <= 1
    assert world.members.asked == asked
    await world.ask(user_id="@bob:example.org")
    world.now[0] += refused.value.retry_after_s
    await world.ask()


async def test_only_listed_servers_are_admitted(world: World, tmp_path: Path) -> None:
    (tmp_path / "listed").mkdir()
    listed = await _world(
        tmp_path / "listed",
        Settings(base=tmp_path, federation=Federation(allow_servers=["*.b.org", "b.org"])),
    )
    listed.members.joined |= {"@b:b.org", "@b:chat.b.org", "@c:c.org"}
    await listed.ask()  # our own are always admitted
    await listed.ask(user_id="@b:b.org")
    await listed.ask(user_id="@b:chat.b.org")
    with pytest.raises(Refused) as refused:
        await listed.ask(user_id="@c:c.org")
    assert refused.value.key == "server_not_admitted"
    await listed.grants._db.stop()


async def test_whom_the_room_does_not_want_leaves_no_trace(world: World) -> None:
    world.room.reason = "locked"
    for ask in (world.ask, world.delegate):
        with pytest.raises(Refused) as refused:
            await ask(delay=DELAY)
        assert refused.value.key == "locked"
    assert await world.grants.of_room(ROOM) == []
    assert (world.media.made, world.handed.leaves) == ([], [])


async def test_a_room_is_not_asked_about_who_is_no_member(world: World) -> None:
    with pytest.raises(Refused):
        await world.ask(user_id="@eve:example.org")
    assert world.room.asked == 0


async def test_who_only_listens_gets_a_token_that_says_so(world: World) -> None:
    assert claims(await world.ask())["video"]["canPublish"] is True
    world.room.may_publish = False
    video = claims(await world.ask())["video"]
    assert (video["canPublish"], video["canSubscribe"], video["canPublishData"]) == (
        False,
        True,
        True,
    )


async def test_a_grant_given_again_is_a_grant_of_now(world: World) -> None:
    await world.ask()
    world.now[0] += 100
    await world.ask()
    (grant,) = await world.grants.of_room(ROOM)
    assert grant.granted_ms == 1_764_000_100_000


DELAY = Delay("syd_1", 3_600_000)


async def test_a_leave_is_taken_over_with_the_token(world: World) -> None:
    await world.ask(delay=DELAY)
    (leave,) = world.handed.leaves
    assert leave == Leave(
        media_room=media_room(ROOM),
        identity=f"{ALICE}:DEV",
        alias="",
        room_id=ROOM,
        user_id=ALICE,
        delay_id="syd_1",
        timeout_ms=3_600_000,
        asked_ms=1_764_000_000_000,
    )


@pytest.mark.parametrize(("device", "alias"), [("DEV", f"{ALICE}:DEV"), ("", ""), ("8448:X", "")])
async def test_a_leave_without_a_token(world: World, device: str, alias: str) -> None:
    ask = Ask(room_id=ROOM, user_id=ALICE, device_id=device, member_id="m1", delay=DELAY)
    await world.admission.delegate(ask)
    (leave,) = world.handed.leaves
    assert (leave.identity, leave.alias) == (hashed_identity(ALICE, device, "m1"), alias)
    assert await world.grants.of_room(ROOM) == []
    assert world.media.made == []


async def test_who_may_have_no_token_hands_no_leave_over(world: World) -> None:
    for ask in (world.ask, world.delegate):
        with pytest.raises(Refused):
            await ask(user_id="@eve:example.org", delay=DELAY)
        with pytest.raises(BadAsk):
            await ask(delay=Delay("too many", 1))
    assert world.handed.leaves == []
    assert await world.grants.of_room(ROOM) == []


async def test_outcomes_are_counted(world: World) -> None:
    await world.ask()
    with pytest.raises(Refused):
        await world.ask(user_id="@eve:example.org")

    def count(outcome: str) -> float | None:
        return world.registry.get_sample_value(
            "colloque_token_requests_total", {"outcome": outcome}
        )

    assert (count("admitted"), count("Refused")) == (1, 1)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Alice", "Alice"),
        ("  Zoë \n\t Martin ", "Zoë Martin"),
        ("\u202eecilA", "ecilA"),
        ("a\u2028b\0c", "a b c"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\ud800x", "x"),
        ("\u2066\u2069", ""),
        ("x" * 500, "x" * 100),
    ],
)
def test_names_as_they_are_shown(name: str, shown: str) -> None:
    assert shown_name(name) == shown


async def test_a_homeserver_that_fails_to_say_the_name_is_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(room_id: str, user_id: str) -> str:
        raise HomeserverError(500, "M_UNKNOWN", "x")

    monkeypatch.setattr(world.members, "display_name", fail)
    with pytest.raises(Unavailable):
        await world.ask()


async def test_who_has_no_name_is_shown_by_id(world: World) -> None:
    world.members.names = {ALICE: "\u202e"}
    assert claims(await world.ask())["name"] == ALICE
