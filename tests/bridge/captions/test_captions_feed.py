"""Captions at the public port: who gets which, for how long, and what is left out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from bridge.domain.captions import WAITING, Caption
from bridge.matrix import wire
from bridge.matrix.admission import TooOften
from bridge.web import feed as feeds
from bridge.web.feed import BLIND_S, LINGER_S, PER_PERSON
from bridge.web.sessions import LIFETIME_S
from bridge.web.watcher import State, Watcher
from tests.bridge.captions.conftest import ON, Screening
from tests.support.captions import until
from tests.support.rooms_world import ALICE, BOB, EVE, ROOM


async def test_a_member_sees_what_is_said_as_it_is_said(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        assert seen.headers["Content-Type"].startswith("text/event-stream")
        assert seen.headers["Cache-Control"] == "no-store"
        assert seen.of("state") == [
            {
                "captions": "on",
                "call": "conf-0",
                "language": "en",
                "scribe": "listening",
                "sites": [],
            }
        ]
        screening.said("a-0", "good", final=False)
        await until(lambda: seen.texts == ["good"])
        screening.said("a-0", "Good morning.")
        await until(lambda: seen.texts == ["good", "Good morning."])
        assert seen.of("caption")[-1] == {
            "segment": "a-0",
            "user_id": ALICE,
            "name": "Alice",
            "text": "Good morning.",
            "final": True,
            "language": "en",
            "start_ms": 100,
            "voice": "",
        }
        assert [number for _, _, number in seen.events[:-1]] == ["", ""]
        assert seen.events[-1][2].endswith("-1")


async def test_the_scribe_is_asked_while_somebody_watches_and_no_longer(
    screening: Screening,
) -> None:
    await screening.call()
    (conference,) = await screening.world.conferences()
    assert not screening.feed.watched(conference)
    async with screening.watching():
        assert screening.feed.watched(conference)
        assert ROOM in screening.woken
    await until(lambda: not screening.feed._channels[ROOM].watchers)
    assert screening.feed.watched(conference)  # for a moment: connections break
    screening.woken.clear()
    screening.now += LINGER_S + 1
    await until(lambda: not screening.feed.watched(conference))
    assert screening.woken == [ROOM]


async def test_strangers_and_who_has_no_session_get_nothing(screening: Screening) -> None:
    await screening.call()
    async with screening.watching(EVE) as refused:
        assert refused.status == 403
        assert refused.of("error")[0]["eu.colloque.reason"] == "not_member"
    async with screening.watching(token="wrong") as nobody:
        assert nobody.status == 401
    async with screening.watching(room="") as unclear:
        assert unclear.status == 400
    for room in ("", "!other:a", ROOM.lower() + "x"):
        bound = screening.sessions.open_room(BOB, room)
        async with screening.watching(token=bound) as other:
            assert other.status == 401
    (conference,) = await screening.world.conferences()
    assert not screening.feed.watched(conference)


async def test_who_is_put_out_is_cut_off_at_once(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen, screening.watching(ALICE) as stays:
        await screening.world.give(screening.world.member(BOB, "leave"))
        screening.feed.wake([ROOM])
        await until(lambda: seen.over)
        assert seen.of("end") == [{"reason": "not_member"}]
        screening.said("a-0", "Now that Bob is gone")
        await until(lambda: stays.texts)
        assert seen.texts == []
        assert not stays.over


async def test_a_session_that_ends_ends_the_stream(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        screening.now += LIFETIME_S + 1
        await until(lambda: seen.over)
        assert seen.of("end") == [{"reason": "session"}]


async def test_captions_that_are_switched_off_flow_no_more(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        off = {**ON, "captions": False, "transcript": True}
        await screening.world.give(screening.world.wish(off))
        screening.feed.wake([ROOM])
        await until(lambda: seen.state == "off")
        screening.said("a-0", "nobody sees this")
        await screening.world.give(screening.world.wish(ON))
        screening.feed.wake([ROOM])
        await until(lambda: seen.state == "on")
        screening.said("a-1", "this they do")
        await until(lambda: seen.texts)
        assert seen.texts == ["this they do"]


async def test_without_a_call_the_page_waits_for_one(screening: Screening) -> None:
    async with screening.watching() as seen:
        assert seen.state == "no_call"
        await screening.call()
        await until(lambda: seen.state == "on")
        await until(lambda: screening.feed._channels[ROOM].speakers)
        screening.said("a-0", "hello")
        await until(lambda: seen.texts == ["hello"])


async def test_an_encrypted_call_is_shown_only_where_the_bridge_may(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        (conference,) = await screening.world.conferences()
        stored = await screening.world.stores.conferences.load(None, ROOM)
        async with screening.world.stores.db.acquire() as conn:
            changed = {**(stored or {}), "encrypted": True}
            await screening.world.stores.conferences.save(conn, ROOM, changed, active=True)
        screening.feed.wake([ROOM])
        await until(lambda: seen.state == "forbidden")
        (conference,) = await screening.world.conferences()
        assert not screening.feed.watched(conference)
        screening.said("a-0", "secret")
        await until(lambda: seen.comments)
        assert seen.texts == []


async def test_who_comes_back_gets_the_finals_they_missed(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        screening.said("a-0", "One.")
        await until(lambda: seen.texts)
        last = seen.events[-1][2]
    screening.said("a-1", "Two.")
    screening.said("a-2", "thr", final=False)
    screening.now += 5
    screening.said("a-3", "Four.")
    async with screening.watching(**{"Last-Event-ID": last}) as again:
        await until(lambda: len(again.texts) == 2)
        assert again.texts == ["Two.", "Four."]
    for unknown in ("00000000-1", "nonsense", last.split("-", maxsplit=1)[0] + "-999"):
        async with screening.watching(**{"Last-Event-ID": unknown}) as anew:
            screening.said(f"b-{unknown}", "Now.")
            await until(lambda seen=anew: seen.texts)
            assert anew.texts == ["Now."]


async def test_what_is_older_than_a_minute_is_gone_and_said_to_be(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as stays, screening.watching(ALICE) as seen:
        screening.said("a-0", "One.")
        await until(lambda: seen.texts)
        last = seen.events[-1][2]
        screening.said("a-1", "Two.")
        screening.now += 61
        screening.said("a-2", "Three.")
        async with screening.watching(ALICE, **{"Last-Event-ID": last}) as again:
            await until(lambda: again.texts)
            assert again.of("left_out") == [{"count": 1}]
            assert again.texts == ["Three."]
        await until(lambda: len(stays.texts) == 3)


async def test_the_calls_other_sites_are_named(screening: Screening) -> None:
    await screening.call()
    content = {
        "application": "m.call",
        "call_id": "",
        "device_id": "D",
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
    }
    for user, url in ((ALICE, "https://visio.a/"), (BOB, "https://visio.b")):
        said = {**content, "foci_preferred": [{"type": "livekit", "livekit_service_url": url}]}
        member = screening.world.event(wire.CALL_MEMBER, user, said, f"_{user}_D_m.call")
        await screening.world.give(member)
    async with screening.watching() as seen:
        assert seen.of("state")[-1]["sites"] == ["https://visio.b"]
        screening.world.now_ms += 5 * 3_600_000  # they have expired
        screening.feed.wake([ROOM])
        await until(lambda: seen.of("state")[-1]["sites"] == [])


async def test_a_silent_stream_shows_that_it_lives(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        await until(lambda: seen.comments >= 2)


async def test_a_stop_of_the_bridge_is_said(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        await screening.feed.ended()
        await until(lambda: seen.over)
        assert seen.of("end") == [{"reason": "restart"}]


async def test_one_person_has_so_many_streams_and_the_newest_win(screening: Screening) -> None:
    await screening.call()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(screening.watching())
        others = [await stack.enter_async_context(screening.watching()) for _ in range(PER_PERSON)]
        await until(lambda: first.over)
        assert first.of("end") == [{"reason": "elsewhere"}]
        assert not any(other.over for other in others)


async def test_a_room_has_so_many_watchers(
    screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    await screening.call()
    monkeypatch.setattr(feeds, "PER_ROOM", 1)
    async with screening.watching(), screening.watching(ALICE) as refused:
        assert refused.status == 429
    monkeypatch.setattr(feeds, "IN_ALL", 0)
    with pytest.raises(TooOften):
        screening.feed.enter("!other", ALICE)


async def test_a_homeserver_that_is_away_ends_it_after_half_a_minute(
    screening: Screening,
) -> None:
    await screening.call()
    async with screening.watching() as seen:
        screening.door.down = True
        asked = screening.door.asked
        await until(lambda: screening.door.asked > asked + 1)
        assert not seen.over
        screening.now += BLIND_S + 1
        await until(lambda: seen.over)
        assert seen.of("end") == [{"reason": "unavailable"}]
    async with screening.watching() as refused:
        assert refused.status == 503


async def test_words_of_nobody_known_wait_for_a_name(screening: Screening) -> None:
    await screening.call()
    async with screening.watching() as seen:
        screening.said("b-0", "who", final=False, identity="@bob:b:D")
        screening.said("b-0", "Who am I?", identity="@bob:b:D")
        await until(lambda: seen.texts)
        assert seen.texts == ["Who am I?"]
        assert seen.of("caption")[0]["name"] == ""


async def test_a_watcher_that_does_not_keep_up_is_told_so() -> None:
    watcher = Watcher(ROOM, BOB)
    watcher.tell(State(captions="on"))
    for number in range(WAITING + 3):
        shown = Caption(
            segment=str(number),
            user_id=ALICE,
            name="Alice",
            text="x",
            final=True,
            language="en",
            start_ms=0,
        )
        watcher.put(shown)
    left_out, captions = watcher.captions()
    assert (left_out, len(captions)) == (3, WAITING)
    watcher.cut("not_member")
    watcher.put(captions[0])
    watcher.tell(State())
    assert watcher.captions() == (0, [])
    assert watcher.state == State(captions="on")
    await asyncio.wait_for(watcher.something(1), 2)
