"""The bot's client: answers, errors, and whether a failed request may have arrived."""

from __future__ import annotations

import pytest

from bridge.errors import Unavailable
from bridge.matrix.client import Homeserver, HomeserverError, Unreachable
from tests.support.homeserver import BOT, REGISTRATION, SERVER_NAME, FakeHomeserver

ROOM = "!room/with slash:fake.test"
BOB = "@bob:other.test"


async def test_registering_twice_is_registering_once(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    await client.ensure_registered()
    await client.ensure_registered()
    assert fake.registered == {"visio"}
    assert client.user_id == BOT


async def test_ping(fake: FakeHomeserver, client: Homeserver) -> None:
    await client.ping()
    assert fake.pings == 1


async def test_a_ping_outlives_the_connections_of_our_last_process(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    failed = {"errcode": "M_CONNECTION_FAILED", "error": "AlreadyCancelled"}
    fake.fault("/ping", status=502, body=failed, times=2)
    await client.ping()
    assert fake.pings == 1


async def test_a_ping_that_cannot_come_back_says_so(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("/ping", status=502, body={"errcode": "M_BAD_STATUS", "error": "403"})
    with pytest.raises(HomeserverError, match="M_BAD_STATUS"):
        await client.ping()


async def test_the_bots_name_is_set_once(fake: FakeHomeserver, client: Homeserver) -> None:
    await client.ensure_display_name("Visio")
    await client.ensure_display_name("Other")
    assert fake.profile == {"displayname": "Visio"}


async def test_reachable(fake: FakeHomeserver, client: Homeserver) -> None:
    assert await client.reachable()
    await fake.stop()
    assert not await client.reachable()


async def test_rooms_members_and_state(fake: FakeHomeserver, client: Homeserver) -> None:
    fake.room(ROOM, BOB)
    assert await client.join(ROOM, via=["other.test"]) == ROOM
    assert await client.members(ROOM) == {
        BOT: {"display_name": "Visio"},
        BOB: {"display_name": "Bob"},
    }
    assert await client.display_name(ROOM, BOB) == "Bob"
    assert await client.display_name(ROOM, "@nobody:x") == "@nobody:x"
    assert await client.state_event(ROOM, "eu.colloque.conference") is None
    first = await client.send_state(ROOM, "eu.colloque.conference", "", {"active": True})
    assert await client.send_state(ROOM, "eu.colloque.conference", "", {"active": True}) == first
    assert await client.state_event(ROOM, "eu.colloque.conference") == {"active": True}
    assert [event["event_id"] for event in await client.state(ROOM)] == [first]


async def test_messages_come_back_newest_first_and_only_our_own(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    one = await client.send_message(ROOM, "m.room.message", {"body": "one"}, "t/1")
    fake.add_event(ROOM, {"type": "m.room.message", "sender": BOB, "content": {"body": "no"}})
    assert await client.send_message(ROOM, "m.room.message", {"body": "one"}, "t/1") == one
    two = await client.send_message(ROOM, "m.room.message", {"body": "two"}, "t?2")
    assert [event["event_id"] for event in await client.recent(ROOM)] == [two, one]
    await client.redact(ROOM, one, "t3", "asked for")
    assert (await client.recent(ROOM, 1))[0]["content"] == {"redacts": one, "reason": "asked for"}


async def test_upload(fake: FakeHomeserver, client: Homeserver) -> None:
    mxc = await client.upload(b"\0data", "text/vtt", "compte rendu & co.vtt")
    assert fake.uploads[mxc] == (b"\0data", "text/vtt", "compte rendu & co.vtt")


async def test_openid_token(client: Homeserver) -> None:
    assert (await client.openid_token())["matrix_server_name"] == SERVER_NAME


@pytest.mark.parametrize("knows", [True, False])
async def test_is_joined_follows_the_room(
    fake: FakeHomeserver, client: Homeserver, knows: bool
) -> None:
    fake.knows_is_joined = knows
    room = fake.room(ROOM, BOB)
    assert await client.is_joined(ROOM, BOB)
    del room.members[BOB]
    assert not await client.is_joined(ROOM, BOB)


async def test_is_joined_is_asked_for_where_the_bot_is_not(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    del fake.room(ROOM, BOB).members[BOT]
    assert await client.is_joined(ROOM, BOB)
    fake.knows_is_joined = False
    assert not await client.is_joined(ROOM, BOB)  # nobody can tell: not let in


async def test_is_joined_does_not_take_an_outage_for_an_answer(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.room(ROOM, BOB)
    fake.fault("/is_joined", before="cut", times=2)  # aiohttp asks a second time by itself
    with pytest.raises(Unavailable):
        await client.is_joined(ROOM, BOB)


async def test_an_error_says_what_the_homeserver_said(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault(
        "/joined_members",
        status=429,
        body={"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", "retry_after_ms": 1500},
    )
    with pytest.raises(HomeserverError, match="429 M_LIMIT_EXCEEDED: Too many") as caught:
        await client.members(ROOM)
    assert caught.value.retry_after_ms == 1500


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ({"before": "cut"}, True),
        ({"status": 502, "body": "<html>Bad Gateway"}, True),
        ({"status": 200, "body": "<html>It works"}, True),
        ({"status": 200, "body": "[1"}, True),
        ({"status": 200, "body": "3"}, True),
        ({"status": 200, "body": "[]"}, True),
        ({"status": 200, "body": "[" * 100_000}, True),
        ({"status": 200, "body": {"event_id": 3}}, True),
    ],
)
async def test_what_is_no_answer_is_unavailable(
    fake: FakeHomeserver, client: Homeserver, fault: dict[str, object], sent: bool
) -> None:
    fake.fault("/send/", **fault)
    with pytest.raises(Unreachable) as caught:
        await client.send_message(ROOM, "m.room.message", {}, "t")
    assert caught.value.sent is sent
    assert caught.value.key == "homeserver_unavailable"


async def test_a_request_that_never_left_is_known_as_such(
    fake: FakeHomeserver, client: Homeserver
) -> None:
    await fake.stop()
    with pytest.raises(Unreachable) as caught:
        await client.ping()
    assert not caught.value.sent


async def test_a_homeserver_that_hangs_is_given_up(fake: FakeHomeserver) -> None:
    impatient = Homeserver(fake.address, SERVER_NAME, REGISTRATION, timeout_s=0.2)
    fake.fault("/send/", before="hang")
    with pytest.raises(Unreachable) as caught:
        await impatient.send_message(ROOM, "m.room.message", {}, "t")
    assert caught.value.sent
    await impatient.close()


async def test_no_error_shows_the_token(fake: FakeHomeserver, client: Homeserver) -> None:
    fake.fault("/ping", before="cut")
    with pytest.raises(Unreachable) as caught:
        await client.ping()
    assert REGISTRATION.as_token not in f"{caught.value} {caught.value!r} {client!r}"
