"""What Prometheus finds: everything counted, counters that only grow, a loop that is watched."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
import pytest
from livekit import api, rtc
from prometheus_client.parser import text_string_to_metric_families

from sfu.pulse import STALL_S, WINDOW_S, Lag, Rate, pulse
from tests.sfu.server.server_process import Sfu, connected, running, sine


async def figures(sfu: Sfu) -> dict[str, float]:
    """Every sample, by name and its first label's value."""
    async with aiohttp.ClientSession() as http, http.get(f"{sfu.http}/metrics") as answer:
        text = await answer.text()
    return {
        "/".join((sample.name, *list(sample.labels.values())[:1])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.livekit
async def test_a_call_is_counted_and_its_end_takes_nothing_back(room: str) -> None:
    with running("--log-level", "WARNING") as sfu:
        anne, bob = await connected(sfu, "anne", room), await connected(sfu, "bob", room)
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("mic", source)
        await anne.local_participant.publish_track(track)
        talking = asyncio.create_task(_talk(source))
        async with asyncio.timeout(30):
            found = await figures(sfu)
            while found["sfu_rtp_packets_total/out"] < 75 or not found["sfu_bitrate/out"]:
                await asyncio.sleep(0.1)
                found = await figures(sfu)
        talking.cancel()
        assert (found["sfu_rooms"], found["sfu_participants"]) == (1, 2)
        assert (found["sfu_tracks/audio"], found["sfu_tracks/video"]) == (1, 0)
        assert found["sfu_subscriptions"] == 1
        assert found["sfu_rtp_bytes_total/in"] > 12 * found["sfu_rtp_packets_total/in"] > 0
        assert found["sfu_rtp_bytes_total/out"] > 12 * found["sfu_rtp_packets_total/out"] > 0
        assert found["sfu_rtcp_packets_total/out"] > 0
        assert found["sfu_bitrate/in"] > 0
        for name in ("sfu_nacks_total/in", "sfu_nacks_total/out", "sfu_rtp_resent_total"):
            assert found[name] >= 0
        assert {"sfu_plis_total/in", "sfu_plis_total/out", "sfu_draining"} <= found.keys()
        assert found["sfu_loop_stall_seconds_count"] > 0
        assert found["sfu_loop_lag_longest_seconds"] >= found["sfu_loop_lag_seconds"] >= 0
        assert found["process_resident_memory_bytes"] > 1e6
        await anne.disconnect()
        await bob.disconnect()
        client = sfu.api()
        await client.room.delete_room(api.DeleteRoomRequest(room=room))
        await client.aclose()  # type: ignore[no-untyped-call]
        after = await figures(sfu)
        assert after["sfu_rooms"] == 0
        grown = [name for name in found if "_total" in name and after.get(name, 0) < found[name]]
        assert grown == []


async def _talk(source: rtc.AudioSource) -> None:
    start = 0
    while True:
        await source.capture_frame(sine(440, start))
        start += 480


async def test_a_blocked_loop_is_seen() -> None:
    seen: asyncio.Queue[float] = asyncio.Queue()
    lag = Lag(seen.put_nowait)
    watching = asyncio.create_task(pulse(lag))
    async with asyncio.timeout(20):
        await seen.get()
        time.sleep(0.3)  # noqa: ASYNC251 -- this is the fault
        while await seen.get() < 0.2:
            pass
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert lag.stalls >= 1
    assert lag.longest >= 0.2


def test_the_longest_lag_is_forgotten_after_a_while() -> None:
    lag = Lag()
    for now, late in ((0.0, 0.5), (WINDOW_S - 1, 0.1), (WINDOW_S, -0.001)):
        lag.note(late, now)
        assert lag.longest == 0.5
    lag.note(STALL_S, 2 * WINDOW_S)
    assert (lag.longest, lag.last, lag.stalls) == (STALL_S, STALL_S, 2)


def test_a_rate_is_of_a_second_or_more() -> None:
    rate = Rate()
    for octets, now, expected in ((0, 5.0, 0), (500, 5.5, 0), (1000, 6.0, 8000), (1000, 8.0, 0)):
        rate.note(octets, now)
        assert rate.bitrate == expected
