"""The scribe's own key on its way to everybody in an encrypted call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.crypto import NoSession
from bridge.domain.conference import Conference
from bridge.domain.stays import Stay
from bridge.upkeep import own_key
from bridge.upkeep.own_key import OwnKey


class StandInCrypto:
    device_id = "BOTDEV"

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.asked = 0
        self.done = asyncio.Event()

    async def send_to_device(
        self, user_id: str, device_id: str, event_type: str, content: dict[str, Any]
    ) -> None:
        self.asked += 1
        self.done.set()
        if self.failure is not None:
            raise self.failure
        self.sent.append((user_id, device_id, event_type, content))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.asked < count:
                self.done.clear()
                await self.done.wait()


def call(*stays: Stay, conference: str = "c") -> Conference:
    return Conference(id=conference, room_id="!r", started_ms=0, started_by="@a:a", stays=stays)


def stay(user: str, sid: str, left_ms: int | None = None) -> Stay:
    return Stay(identity=f"{user}:D", sid=sid, user_id=user, device_id="D", left_ms=left_ms)


@asynccontextmanager
async def sending(crypto: StandInCrypto) -> AsyncIterator[OwnKey]:
    key = OwnKey(crypto, "@visio:a:BOTDEV", lambda: 7)  # type: ignore[arg-type]
    running = asyncio.create_task(key.run())
    try:
        yield key
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_everybody_present_gets_it_once_and_again_when_they_come_again() -> None:
    crypto = StandInCrypto()
    async with sending(crypto) as own:
        key = own.give(call(stay("@a:a", "P1"), stay("@b:b", "P2", left_ms=1)))
        assert own.give(call(stay("@a:a", "P1"))) == key
        await crypto.until(1)
        own.give(call(stay("@a:a", "P1", left_ms=2), stay("@a:a", "P3")))
        await crypto.until(2)
    assert [(user, device) for user, device, _, _ in crypto.sent] == [("@a:a", "D")] * 2
    _, _, kind, content = crypto.sent[0]
    assert kind == "io.element.call.encryption_keys"
    assert content["member"] == {"id": "@visio:a:BOTDEV", "claimed_device_id": "BOTDEV"}
    assert (content["room_id"], content["sent_ts"], content["keys"]["index"]) == ("!r", 7, 0)
    assert "=" not in content["keys"]["key"]


async def test_who_cannot_be_reached_keeps_nobody_else_waiting() -> None:
    crypto = StandInCrypto()
    crypto.failure = NoSession("no keys")
    async with sending(crypto) as own:
        own.give(call(stay("@a:a", "P1")))
        await crypto.until(1)
        crypto.failure = None
        own.give(call(stay("@a:a", "P1"), stay("@b:b", "P2")))
        await crypto.until(2)
    assert [user for user, *_ in crypto.sent] == ["@b:b"]


async def test_every_conference_has_its_own_and_old_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_key, "CONFERENCES", 2)
    monkeypatch.setattr(own_key, "WAITING", 1)
    own = OwnKey(StandInCrypto(), "@visio:a:BOTDEV", lambda: 7)  # type: ignore[arg-type]
    first = own.give(call(stay("@a:a", "P1"), stay("@b:b", "P2"), conference="1"))
    assert own.give(call(conference="2")) != first
    assert own.give(call(conference="1")) == first
    own.give(call(conference="3"))
    assert own.give(call(conference="1")) == first
    own.give(call(conference="2"))
    own.give(call(conference="4"))
    assert own.give(call(conference="1")) != first
