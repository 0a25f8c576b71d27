"""Challenges: who proves one, with what, how often, and how many there are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from bridge import config
from bridge.errors import ConfigError, Refused
from bridge.matrix.admission import BadAsk, TooOften
from bridge.matrix.limits import Rate
from bridge.web import challenges as module
from bridge.web.challenges import LIFE_S, Challenge, Challenges, NoChallenge, NotProved
from tests.support.library import challenges

ALICE, EVE = "@alice:example.org", "@eve:evil.example"
SITE = "https://visio.example.org"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def answer(asked: Challenge, **other: Any) -> dict[str, Any]:
    return {"sender": ALICE, "content": {"challenge": asked.challenge, "site": SITE}} | other


async def opened(known: Challenges, asked: Challenge) -> str:
    return await known.user_of(asked.challenge, asked.secret)


async def test_who_was_asked_proves_it_once() -> None:
    known = challenges()
    asked = known.ask(ALICE, "a")
    assert (asked.bot, asked.device, asked.site, asked.expires_in) == (
        "@visio:example.org",
        "COLLOQUE",
        SITE,
        60,
    )
    assert asked.secret not in repr(asked)
    known.take(answer(asked))
    known.take(answer(asked))  # sent twice: the page tries again
    assert await opened(known, asked) == ALICE
    known.take(answer(asked))
    with pytest.raises(NoChallenge):
        await opened(known, asked)


@pytest.mark.parametrize(
    "other",
    [
        {"sender": EVE},
        {"sender": ALICE.upper()},
        {"sender": None},
        {"content": None},
        {"content": {}},
        {"content": {"site": SITE, "challenge": 3}},
        {"content": {"site": SITE, "challenge": ["x"]}},
        {"content": {"site": SITE, "challenge": "unknown"}},
    ],
)
async def test_what_proves_nothing(other: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known = challenges(wait_s=0.0)
    asked = known.ask(ALICE, "a")
    known.take(answer(asked, **other))
    with pytest.raises(NotProved):
        await opened(known, asked)
    assert not [record for record in caplog.records if record.name.startswith("bridge")]


@pytest.mark.parametrize("site", [None, "", "https://visio.evil.example", SITE + "/", 3])
async def test_a_challenge_that_another_site_showed_proves_nothing(site: Any) -> None:
    """Evil's bridge asks here for a challenge, and hands it to a client that came to evil."""
    known = challenges(wait_s=0.0)
    asked = known.ask(ALICE, "a")
    known.take(answer(asked, content={"challenge": asked.challenge, "site": site}))
    with pytest.raises(NotProved):
        await opened(known, asked)


async def test_who_saw_the_message_pass_cannot_use_it() -> None:
    known = challenges()
    asked, own = known.ask(ALICE, "a"), known.ask(EVE, "e")
    known.take(answer(asked))
    for secret in ("", own.secret, asked.challenge, "é"):
        with pytest.raises(NoChallenge):
            await known.user_of(asked.challenge, secret)
    assert await opened(known, asked) == ALICE


async def test_it_expires() -> None:
    clock = Clock()
    known = challenges(clock=clock, wait_s=0.0)
    early, late = known.ask(ALICE, "a"), known.ask(ALICE, "a")
    clock.now += LIFE_S - 0.1
    known.take(answer(early))
    assert await opened(known, early) == ALICE
    clock.now += 0.2
    known.take(answer(late))
    with pytest.raises(NoChallenge):
        await opened(known, late)


async def test_the_exchange_waits_for_the_message_and_one_waits_at_a_time() -> None:
    known = challenges(wait_s=30.0)
    asked = known.ask(ALICE, "a")
    waiting = asyncio.create_task(opened(known, asked))
    await asyncio.sleep(0)
    with pytest.raises(TooOften):
        await opened(known, asked)
    assert not waiting.done()
    known.take(answer(asked))
    assert await waiting == ALICE


async def test_an_address_gets_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    known = challenges(clock=clock, address_rate=Rate(per_second=1, burst=3))
    for _ in range(3):
        known.ask(ALICE, "a")
    with pytest.raises(TooOften):
        known.ask(ALICE, "a")
    known.ask(ALICE, "b")
    clock.now += 1
    known.ask(ALICE, "a")


async def test_in_all_there_are_so_many_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    known = challenges()
    first, *others = [known.ask(ALICE, str(number)) for number in range(3)]
    for asked in (first, *others):
        known.take(answer(asked))
    with pytest.raises(NoChallenge):
        await opened(known, first)
    assert [await opened(known, asked) for asked in others] == [ALICE, ALICE]


def test_none_alike_and_none_guessed() -> None:
    known = challenges()
    asked = [known.ask(ALICE, str(number)) for number in range(50)]
    assert len({one.challenge for one in asked} | {one.secret for one in asked}) == 100
    assert min(len(one.challenge) for one in asked) >= 22  # 128 bits


def test_people_of_servers_that_are_not_admitted_get_none() -> None:
    settings = replace(
        config.Settings(),
        homeserver=config.Homeserver(server_name="example.org"),
        federation=config.Federation(allow_servers=["ally.example"]),
        web=config.Web(public_url="https://Visio.Example.org:443/"),
    )
    known = Challenges.of(settings, "@visio:example.org", "D")
    assert known.ask(ALICE, "a").site == SITE
    known.ask("@x:ally.example", "a")
    with pytest.raises(Refused):
        known.ask(EVE, "a")
    for nobody in ("", "alice", "@alice", "@" + "a" * 300 + ":example.org"):
        with pytest.raises(BadAsk):
            known.ask(nobody, "a")
    odd = replace(settings, web=config.Web(public_url="visio"))
    with pytest.raises(ConfigError):
        Challenges.of(odd, "@visio:example.org", "D")
