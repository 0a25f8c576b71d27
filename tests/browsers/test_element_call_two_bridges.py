"""Four users of two homeservers, each with its bridge and sfu, in one call of Element Call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev.instance import plan_sites
from bridge.dev.ports import free_block
from bridge.dev.site import Site
from bridge.dev.speech import RATE, spoken
from bridge.dev.timeline import Timeline
from tests.browsers.element_call import PATIENCE_S, ElementCall
from tests.browsers.media_side import tracks
from tests.browsers.stage import Stage, stage
from tests.e2e.scene import eventually

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.browsers,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

GONE_S = 25.0
PEOPLE = ("alice", "bob", "carol", "dave")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """alice and bob here, carol and dave there."""
    var: Path = tmp_path_factory.mktemp("instance")
    async with stage(var, plan_sites(var, free_block(20), 2)) as running:
        yield running


async def everybody_sees_everybody(calls: list[ElementCall]) -> None:
    names = [call.name for call in calls]
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call.sees(*names))
            group.create_task(call.hears())


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A sentence for the people of either site, each followed by silence."""
    folder = tmp_path_factory.mktemp("voices")
    sentences = {
        "here.wav": "The first question today is the budget",
        "there.wav": "Can you send me the new version of the document",
    }
    for name, text in sentences.items():
        pcm = spoken(text, "rms", folder)
        with wave.open(str(folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(pcm.tobytes() + bytes(2 * RATE * 4))
    return [folder / name for name in sentences]


@pytest.mark.parametrize("mode", ["compatibility", "matrix_2_0"])
async def test_four_users_at_two_media_servers(two_sites: Stage, mode: str) -> None:
    room_id = await two_sites.room(*PEOPLE)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(two_sites.browser()) for _ in range(2)]
        calls = await stack.enter_async_context(
            two_sites.call(room_id, *PEOPLE, mode=mode, browsers=[one, one, one, other])
        )
        await everybody_sees_everybody(calls)
        for site in two_sites.sites:
            assert len(await tracks(site, room_id)) == 4, "each at their own media server"
        other.kill()
        died = time.monotonic()
        for call in calls[:3]:
            await call.sees_exactly("alice", "bob", "carol")
        print(f"{mode}: a killed browser is gone after {time.monotonic() - died:.1f} s")
        assert time.monotonic() - died < GONE_S


async def test_one_card_and_one_thread_whichever_bridge_is_gone(
    two_sites: Stage, voices: list[Path]
) -> None:
    room_id = await two_sites.room(*PEOPLE)
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(two_sites.browser(one)) for one in voices]
        calls = await stack.enter_async_context(
            two_sites.call(room_id, *PEOPLE, browsers=[here, here, there, there])
        )
        await everybody_sees_everybody(calls)
        first = await one_card(two_sites, room_id, PEOPLE)
        await eventually(lambda: both_write_below(two_sites, room_id, first), 120)

        alice, bob, carol, dave = calls
        for number, (leaver, left) in enumerate(
            ((dave, [alice, bob, carol]), (bob, [alice, carol]))
        ):
            # The bridge of the site that is left; the card is the other's, then this one's.
            dead = two_sites.sites[1 - number]
            assert dead.bridge is not None
            os.kill(dead.bridge.pid or 0, signal.SIGKILL)
            await leaver.leave()
            async with asyncio.TaskGroup() as group:
                for call in left:
                    group.create_task(call.sees(*(one.name for one in left)))
            names = tuple(call.name for call in left)
            assert await one_card(two_sites, room_id, names, gone=leaver.name) == first


async def test_a_bridge_that_stays_away(two_sites: Stage) -> None:
    room_id = await two_sites.room(*PEOPLE)
    async with two_sites.call(room_id, *PEOPLE) as calls:
        alice, bob, carol, dave = calls
        await everybody_sees_everybody(calls)
        first = await one_card(two_sites, room_id, PEOPLE)
        with frozen(two_sites.sites[0]):
            await everybody_sees_everybody(calls)
            second = await next_card(two_sites, room_id, first)
            await dave.leave()
            await eventually(lambda: shows(two_sites, room_id, second, ("carol",), "dave"), 60)
            await everybody_sees_everybody([alice, bob, carol])
        left = ("alice", "bob", "carol")
        assert await one_card(two_sites, room_id, left, gone="dave") == second
        await everybody_sees_everybody([alice, bob, carol])


@contextlib.contextmanager
def frozen(site: Site) -> Iterator[None]:
    """Its bridge does nothing, as if its machine were off; its media server goes on."""
    assert site.bridge is not None
    pid = site.bridge.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def one_card(
    stage: Stage, room_id: str, names: tuple[str, ...], *, gone: str | None = None
) -> str:
    """The event id of the room's only card, once it shows these people."""

    async def holds() -> bool:
        cards = await stage.cards(room_id)
        return len(cards) == 1 and await shows(stage, room_id, next(iter(cards)), names, gone)

    try:
        await eventually(holds, PATIENCE_S)
    except TimeoutError:
        raise AssertionError(f"not one card of {names}: {await stage.cards(room_id)}") from None
    return next(iter(await stage.cards(room_id)))


async def next_card(stage: Stage, room_id: str, before: str) -> str:
    """The event id of the card that takes the place of another."""
    await eventually(lambda: others(stage, room_id, before), PATIENCE_S)
    return next(iter(await others(stage, room_id, before)))


async def others(stage: Stage, room_id: str, before: str) -> set[str]:
    return set(await stage.cards(room_id)) - {before}


async def shows(
    stage: Stage, room_id: str, card: str, names: tuple[str, ...], gone: str | None
) -> bool:
    body = (await stage.cards(room_id))[card]
    return all(name in body for name in names) and (gone is None or gone not in body)


async def both_write_below(stage: Stage, room_id: str, card: str) -> bool:
    """Whether there are utterances of either site, all in one thread."""
    threads = {}
    for site in stage.sites:
        read = Timeline.read(await stage.person("alice").messages(room_id), site.bot)
        threads[site.bot] = {said.thread for said in read.utterances}
    assert set().union(*threads.values()) <= {card}
    return all(threads.values())
