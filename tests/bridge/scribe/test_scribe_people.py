"""What the bridge says of single people: the language they speak, and who is not listened to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.scribe.frames import FrameError
from bridge.scribe.order import Order
from tests.bridge.scribe.call_stage import BOB, Person, Stage, spoken
from tests.support.sound import Speak

START: dict[str, Any] = {
    "type": "start",
    "conference": "c",
    "room_id": "!r",
    "url": "ws://x",
    "token": "t",
    "language": "fr",
    "captions": True,
    "transcript": False,
    "epoch_ms": 1,
}


def test_an_order_names_languages_and_who_is_left_out() -> None:
    order = Order.parse({**START, "languages": {"bob": "en-GB"}, "opted_out": ["eve"]})
    assert (order.language_of("bob"), order.language_of("alice")) == ("en-GB", "fr")
    assert order.spoken() == {"fr", "en-GB"}
    assert order.opted_out == {"eve"}
    later = order.updated({"type": "update", "opted_out": []})
    assert (later.opted_out, later.languages) == (frozenset(), {"bob": "en-GB"})
    assert Order.parse(START).opted_out == frozenset()


@pytest.mark.parametrize(
    "wrong",
    [
        {"languages": ["fr"]},
        {"languages": {"bob": 1}},
        {"opted_out": "eve"},
        {"opted_out": [1]},
    ],
)
def test_an_order_of_the_wrong_kind_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match=f"`{next(iter(wrong))}`"):
        Order.parse({**START, **wrong})


@pytest.mark.livekit
async def test_who_opted_out_is_not_heard_and_each_speaks_their_language(
    stage: Stage, speak: Speak
) -> None:
    bridge, said = stage.bridge, spoken(speak(BOB, "rms"))
    async with bridge.linked() as link:
        await link.start(stage.order(languages={"bob": "en-GB"}, opted_out=["eve"]))
        await bridge.until("listening")
        async with (
            Person.in_call("eve", stage.server) as eve,
            Person.in_call("bob", stage.server) as bob,
        ):
            await asyncio.gather(eve.say(said), bob.say(said))
            await bridge.heard("bob", 6)
            assert {s["language"] for s in bridge.segments} == {"en-GB"}
            await link.update("c", languages={}, opted_out=["bob"])
            before = len(bridge.text("bob"))
            await asyncio.gather(eve.say(said), bob.say(said))
            await bridge.heard("eve", 6)
            assert len(bridge.text("bob")) == before
            assert {s["language"] for s in bridge.segments if s["identity"] == "eve"} == {"en"}
            shown = {a["eu.colloque.speaker"] for a, _ in bob.captions}
            assert shown == {"bob", "eve"}
            await link.stop("c")
            await bridge.until("stopped")
