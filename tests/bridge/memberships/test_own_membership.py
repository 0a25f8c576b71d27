"""The bot's own membership against a homeserver that fails in every way a homeserver fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from bridge.matrix import own_membership, wire
from bridge.matrix.http import HomeserverError, Unreachable
from bridge.matrix.own_membership import EXPIRES_MS, OwnMembership, TooManyCalls

BOT, URL, KEY = "@visio:a", "https://visio.a", "_@visio:a_COLLOQUE_m.call"
NOW = 1_700_000_000_000


class StandInHomeserver:
    """State and scheduled leaves, with what was asked in `calls`."""

    user_id = BOT

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.state: dict[str, dict[str, Any]] = {}
        self.delayed: dict[str, str] = {}
        self.sent: list[dict[str, Any]] = []
        self.fails: dict[str, Exception] = {}
        self.no_key_listed = False
        self.asked = asyncio.Event()
        self.count = 0

    async def send_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str:
        self._note("send", room_id)
        assert (event_type, state_key) == (wire.CALL_MEMBER, KEY)
        self.state[room_id] = content
        self.sent.append(content)
        return f"$event{len(self.sent)}"

    async def delay_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any], delay_ms: int
    ) -> str:
        self._note("schedule", room_id)
        assert (event_type, state_key, content, delay_ms) == (wire.CALL_MEMBER, KEY, {}, 18_000)
        self.count += 1
        self.delayed[f"syd_{self.count}"] = room_id
        return f"syd_{self.count}"

    async def manage_delayed(
        self, delay_id: str, action: Literal["restart", "send", "cancel"]
    ) -> None:
        await asyncio.sleep(0)
        self._note(action, delay_id)
        if delay_id not in self.delayed:
            raise HomeserverError(404, "M_NOT_FOUND")
        if action == "send":
            self.state[self.delayed[delay_id]] = {}
        if action != "restart":
            del self.delayed[delay_id]

    async def delayed_events(self) -> list[dict[str, Any]]:
        self._note("list")
        other = {"room_id": "!other", "type": wire.CALL_MEMBER, "delay_id": "syd_other"}
        return [
            other,
            *(
                {"room_id": room_id, "type": wire.CALL_MEMBER, "delay_id": delay_id}
                for delay_id, room_id in self.delayed.items()
            ),
        ]

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        self.asked.set()
        if call[0] in self.fails:
            raise self.fails[call[0]]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.asked.clear()
                await self.asked.wait()


class Clock:
    now_ms = NOW


@pytest.fixture
def homeserver() -> StandInHomeserver:
    return StandInHomeserver()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(homeserver: StandInHomeserver, clock: Clock) -> OwnMembership:
    return OwnMembership(homeserver, f"{URL}/", put_off_every_s=0.01, clock_ms=lambda: clock.now_ms)


@asynccontextmanager
async def running(own: OwnMembership) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(own.run())
        yield
        task.cancel()


async def test_who_appears_anew_says_nothing_of_before(
    homeserver: StandInHomeserver, own: OwnMembership, clock: Clock
) -> None:
    await own.renew("!nobody")
    await own.publish("!r", intent="video", holder="ring")
    clock.now_ms += 1000
    await own.publish("!r", holder="scribe")  # as it is
    await own.renew("!r")
    created = [content.pop("created_ts") for content in homeserver.sent]
    assert created == [NOW, NOW + 1000]
    assert homeserver.sent[0] == homeserver.sent[1]
    assert [call[0] for call in homeserver.calls].count("schedule") == 1


async def test_the_leave_is_scheduled_before_the_membership_is_published(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    assert not own.published("!r")
    event_id = await own.publish("!r", intent="audio")
    assert homeserver.calls == [("list",), ("schedule", "!r"), ("send", "!r")]
    assert (event_id, own.published("!r"), own.state_key) == ("$event1", True, KEY)
    assert own.identity == "@visio:a:COLLOQUE"
    assert homeserver.state["!r"] == {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": "COLLOQUE",
        "membershipID": "@visio:a:COLLOQUE",
        "expires": EXPIRES_MS,
        "created_ts": NOW,
        "m.call.intent": "audio",
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [{"type": "livekit", "livekit_alias": "!r", "livekit_service_url": URL}],
    }
    await own.withdraw("!r")
    assert homeserver.calls[-1] == ("send", "syd_1")
    assert (homeserver.state["!r"], own.published("!r")) == ({}, False)
    await own.withdraw("!r")
    assert homeserver.calls[-1] == ("send", "syd_1")


async def test_a_leave_of_the_last_process_is_called_off(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    homeserver.delayed = {"syd_old": "!r"}
    await own.publish("!r", intent="audio")
    assert homeserver.delayed == {"syd_1": "!r"}


async def test_who_knows_no_list_of_scheduled_events_is_published_all_the_same(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    homeserver.fails["list"] = HomeserverError(404, "M_UNRECOGNIZED")
    await own.publish("!r", intent="audio")
    assert own.published("!r")


async def test_it_lasts_until_the_last_holder_withdraws(
    homeserver: StandInHomeserver, own: OwnMembership, clock: Clock
) -> None:
    first = await own.publish("!r", intent="audio", holder="ring")
    assert await own.publish("!r", intent="audio", holder="scribe") == first
    clock.now_ms += 1000
    changed = await own.publish("!r", intent="video", holder="scribe")
    assert changed != first
    assert homeserver.state["!r"]["created_ts"] == NOW
    assert homeserver.state["!r"]["expires"] == EXPIRES_MS + 1000
    await own.withdraw("!r", holder="ring")
    assert homeserver.state["!r"]["m.call.intent"] == "video"
    await own.withdraw("!r", holder="scribe")
    assert homeserver.state["!r"] == {}


async def test_the_leave_is_put_off_as_long_as_it_runs(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    await own.publish("!r", intent="audio")
    async with running(own):
        await homeserver.until(lambda: homeserver.calls.count(("restart", "syd_1")) >= 2)
    assert len(homeserver.sent) == 1


async def test_it_is_renewed_an_hour_before_it_expires(
    homeserver: StandInHomeserver, own: OwnMembership, clock: Clock
) -> None:
    await own.publish("!r", intent="audio")
    clock.now_ms += EXPIRES_MS - 3_600_000
    async with running(own):
        await homeserver.until(lambda: len(homeserver.sent) == 2)
    assert homeserver.sent[1]["created_ts"] == NOW
    assert homeserver.sent[1]["expires"] == 2 * EXPIRES_MS - 3_600_000


async def test_it_returns_when_the_leave_was_sent(
    homeserver: StandInHomeserver, own: OwnMembership, clock: Clock
) -> None:
    await own.publish("!r", intent="audio")
    clock.now_ms += 1000
    homeserver.delayed.clear()
    homeserver.state["!r"] = {}
    homeserver.fails["schedule"] = Unreachable("down", sent=True)
    async with running(own):
        await homeserver.until(lambda: homeserver.calls.count(("schedule", "!r")) >= 3)
        assert not own.published("!r")
        homeserver.fails.clear()
        await homeserver.until(lambda: len(homeserver.sent) == 2)
        await homeserver.until(lambda: ("restart", "syd_2") in homeserver.calls)
    assert own.published("!r")
    assert homeserver.state["!r"]["created_ts"] == NOW + 1000  # as somebody who came again


async def test_an_outage_of_the_homeserver_is_waited_for(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    await own.publish("!r", intent="audio")
    for error in (Unreachable("down", sent=False), HomeserverError(500)):
        homeserver.fails["restart"] = error
        homeserver.calls.clear()
        async with running(own):
            await homeserver.until(lambda: len(homeserver.calls) >= 3)
    homeserver.fails.clear()
    homeserver.calls.clear()
    async with running(own):
        await homeserver.until(lambda: len(homeserver.calls) >= 2)
    assert set(homeserver.calls) == {("restart", "syd_1")}


async def test_where_the_room_no_longer_allows_it_the_bot_gives_up(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    await own.publish("!r", intent="audio")
    homeserver.delayed.clear()
    homeserver.fails["send"] = HomeserverError(403, "M_FORBIDDEN")
    async with running(own):
        await homeserver.until(lambda: ("send", "!r") in homeserver.calls[3:])
        assert not own._stays


async def test_without_scheduled_events_the_membership_is_short(
    homeserver: StandInHomeserver, own: OwnMembership, clock: Clock
) -> None:
    homeserver.fails["schedule"] = HomeserverError(403, "M_FORBIDDEN")
    await own.publish("!r", intent="audio")
    assert homeserver.sent[0]["expires"] == 900_000
    clock.now_ms += 300_000
    async with running(own):
        await homeserver.until(lambda: len(homeserver.sent) == 2)
    assert homeserver.sent[1]["expires"] == 1_200_000
    await own.withdraw("!r")
    assert homeserver.state["!r"] == {}


async def test_a_publication_that_fails_leaves_nothing(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    homeserver.fails["send"] = HomeserverError(403, "M_FORBIDDEN")
    with pytest.raises(HomeserverError):
        await own.publish("!r", intent="audio")
    assert not own.published("!r")
    homeserver.fails.clear()
    await own.publish("!r", intent="audio", holder="ring")
    homeserver.fails["send"] = Unreachable("down", sent=True)
    with pytest.raises(Unreachable):
        await own.publish("!r", intent="video", holder="scribe")
    homeserver.fails.clear()
    await own.withdraw("!r", holder="ring")
    assert homeserver.state["!r"] == {}


@pytest.mark.parametrize("error", [HomeserverError(404), Unreachable("down", sent=True)])
async def test_a_withdrawal_never_raises(
    homeserver: StandInHomeserver, own: OwnMembership, error: Exception
) -> None:
    await own.publish("!r", intent="audio")
    homeserver.fails["send"] = error
    await own.withdraw("!r")
    assert not own.published("!r")


async def test_who_publishes_during_a_withdrawal_is_published(
    homeserver: StandInHomeserver, own: OwnMembership
) -> None:
    await own.publish("!r", intent="audio")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(own.withdraw("!r"))
        published = tasks.create_task(own.publish("!r", intent="audio"))
    assert published.result() == "$event2"
    assert homeserver.state["!r"]["device_id"] == "COLLOQUE"


async def test_the_number_of_calls_is_bounded(
    own: OwnMembership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_membership, "MOST_ROOMS", 1)
    await own.publish("!r", intent="audio")
    with pytest.raises(TooManyCalls):
        await own.publish("!another", intent="audio")
    assert own.published("!r")
