"""What a subscriber sees of a call over a lossy and over a narrow link, in real browsers.

    python -m tests.bench.shaped [--only NAME...] [--runs 10] [--dual] [--verbose] [--port-base N]

A Chromium publishes (640x360 at 15 pictures/s in two layers of 1200 and 350 kbit/s, a tone as
sound), another subscribes, both through `python -m sfu` and a UDP relay each (20 ms each way),
whose rate, queue (0.3 s) and random loss change while the call runs. Figures are those of
getStats; the estimate is the server's own (/metrics). `qualityLimitationReason` tells whether the
publisher had processor enough for its pictures.

    loss-down, loss-up   5 % of all packets lost on one side for 30 s, after 10 s without
    bottleneck           700 kbit/s down for 40 s after 10 s without; then none for 35 s
    open                 25 s without limits, as often as `--runs` says
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

from tests.bench.shaped_call import DELAY_S, Call, Picture, Sample, Stage, stage

LOSS = 0.05
NARROW = 700_000.0
QUEUE_S = 0.3
Row = tuple[str, str, str]


def grown(samples: Sequence[Sample], kind: str, name: str) -> float:
    """By how much a counter of the subscriber grew."""
    return samples[-1].value(kind, name) - samples[0].value(kind, name)


def rendered(samples: Sequence[Sample]) -> float:
    """Share of the pictures that the publisher sent of the seen layer and the subscriber showed."""
    sent = shown = 0.0
    for before, after in pairwise(samples):
        if before.value("video", "frameWidth") == after.value("video", "frameWidth"):
            pair = (before, after)
            sent += after.sent("framesSent") - before.sent("framesSent")
            shown += grown(pair, "video", "framesDecoded") - grown(pair, "video", "framesDropped")
    return shown / sent if sent else 0.0


def concealed(samples: Sequence[Sample]) -> float:
    """Share of the sound that was made up."""
    total = grown(samples, "audio", "totalSamplesReceived")
    return grown(samples, "audio", "concealedSamples") / total if total else 1.0


def worst_gap(samples: Sequence[Sample]) -> float:
    """The longest time between two shown pictures, ms."""
    return max(float(sample.subscriber["gap"]) for sample in samples[1:])


def share_at(samples: Sequence[Sample], width: int) -> float:
    """Share of the samples in which a picture of this width was seen."""
    return sum(s.value("video", "frameWidth") == width for s in samples) / len(samples)


def short_of_processor(samples: Sequence[Sample]) -> str:
    """How often the publisher's own encoder was the limit."""
    reasons = [
        {out.get("qualityLimitationReason") for out in sample.publisher["out"].values()}
        for sample in samples
    ]
    cpu, band = (sum(why in found for found in reasons) for why in ("cpu", "bandwidth"))
    return f"cpu {cpu}, bandwidth {band} of {len(samples)} samples"


async def lossy(stage: Stage, picture: Picture, single: bool, side: str) -> list[Row]:
    """5 % random loss on the subscriber's way down, or on the publisher's way up."""
    async with stage.call(picture, single=single) as call:
        await call.run(10)
        link, way = (call.down, "down") if side == "down" else (call.up, "up")
        await link.shape(way, loss=LOSS)
        seen = await call.run(30)
        _tell(call)
    return [
        ("pictures shown", f"{rendered(seen):.1%}", ">= 97 %"),
        ("longest time without a picture", f"{worst_gap(seen):.0f} ms", "<= 500 ms"),
        ("sound made up", f"{concealed(seen):.1%}", "< 2 %"),
        ("at the top layer", f"{share_at(seen, picture.width):.0%}", ""),
        ("publisher short of", short_of_processor(seen), ""),
    ]


async def bottleneck(stage: Stage, picture: Picture, single: bool) -> list[Row]:
    """A narrow link down, and its end."""
    async with stage.call(picture, single=single) as call:
        await call.run(10)
        await call.down.shape("down", rate=NARROW, queue=QUEUE_S)
        narrow = await call.run(40)
        await call.down.shape("down", rate=None)
        opened = await call.run(35)
        _tell(call)
    settled = [sample for sample in narrow if sample.at >= narrow[0].at + 20]
    limits = [sample.limit / 1000 for sample in settled]
    near = sum(abs(limit * 1000 - NARROW) <= 0.3 * NARROW for limit in limits)
    back = next((s.at for s in opened if s.value("video", "frameWidth") == picture.width), None)
    least = "-" if back is None else f"{back - opened[0].at:.1f} s"
    dropped = settled[-1].links["down"]["dropped"] - settled[0].links["down"]["dropped"]
    rate = grown(settled, "video", "bytesReceived") * 8 / (settled[-1].at - settled[0].at)
    return [
        ("video after 20 s", f"{rate / 1000:.0f} kbit/s", "fits"),
        ("pictures shown after 20 s", f"{rendered(settled):.1%}", ""),
        ("longest time without a picture after 20 s", f"{worst_gap(settled):.0f} ms", ""),
        ("dropped by the queue after 20 s", f"{dropped}", ""),
        ("audio lost after 20 s", f"{grown(settled, 'audio', 'packetsLost'):.0f}", "0"),
        ("sound made up after 20 s", f"{concealed(settled):.1%}", ""),
        ("estimate after 20 s", f"{min(limits):.0f} to {max(limits):.0f} kbit/s", "490 to 910"),
        ("samples with the estimate in that range", f"{near} of {len(limits)}", "all"),
        ("freeze when the link became narrow", f"{worst_gap(narrow):.0f} ms", ""),
        ("top layer back after its end", least, "<= 30 s"),
        ("publisher short of", short_of_processor(narrow + opened), ""),
    ]


async def unlimited(stage: Stage, picture: Picture, single: bool, runs: int) -> list[Row]:
    """Calls without limits."""
    kept, lows, limited, reasons = 0, [], 0, []
    for _ in range(runs):
        async with stage.call(picture, single=single) as call:
            seen = await call.run(25)
            _tell(call)
        later = [sample for sample in seen if sample.at >= seen[0].at + 10]
        share = share_at(later, picture.width)
        kept += share == 1.0
        lows.append(share)
        limited += any(sample.limit != float("inf") for sample in seen)
        reasons.append(short_of_processor(later))
    return [
        ("runs never below the top layer after 10 s", f"{kept} of {runs}", "all"),
        ("lowest share of samples at the top layer", f"{min(lows):.0%}", ""),
        ("runs in which the server saw a limit", f"{limited} of {runs}", "0"),
        ("publisher short of, worst", max(reasons), ""),
    ]


VERBOSE = False


def _tell(call: Call) -> None:
    for pair in pairwise(call.samples) if VERBOSE else ():
        before, after = pair
        seconds = max(0.001, after.at - before.at)
        values = {
            "at": after.at - call.samples[0].at,
            "width": after.value("video", "frameWidth"),
            "pictures/s": grown(pair, "video", "framesDecoded") / seconds,
            "kbit/s": grown(pair, "video", "bytesReceived") * 8 / seconds / 1000,
            "limit": after.limit / 1000,
            "gap": after.subscriber["gap"],
            "audio lost": after.value("audio", "packetsLost"),
            "made up %": concealed(pair) * 100,
            "NACK": after.value("video", "nackCount"),
            "PLI": after.value("video", "pliCount"),
            "queue dropped": after.links["down"]["dropped"],
            "publisher's estimate": after.publisher.get("available", 0) / 1000,
        }
        print("  ".join(f"{name} {value:.0f}" for name, value in values.items()), flush=True)


async def measure(only: Sequence[str], runs: int, single: bool, base: int) -> None:
    """Print a table for each scenario."""
    picture = Picture()
    scenarios: dict[str, Callable[[Stage], Awaitable[list[Row]]]] = {
        "loss-down": lambda stage: lossy(stage, picture, single, "down"),
        "loss-up": lambda stage: lossy(stage, picture, single, "up"),
        "bottleneck": lambda stage: bottleneck(stage, picture, single),
        "open": lambda stage: unlimited(stage, picture, single, runs),
    }
    print(f"{'one connection' if single else 'two connections'}, {DELAY_S * 1000:.0f} ms each way")
    async with stage(base, picture) as running:
        for name in only or scenarios:
            rows = await scenarios[name](running)
            print(f"\n| {name} | measured | wanted |\n|---|---|---|")
            for row in rows:
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of scenarios")
    parser.add_argument("--runs", type=int, default=10, help="calls of `open`")
    parser.add_argument("--dual", action="store_true", help="two peer connections (v0)")
    parser.add_argument("--verbose", action="store_true", help="every sample")
    parser.add_argument("--port-base", type=int, default=21800)
    given = parser.parse_args()
    VERBOSE = given.verbose
    asyncio.run(measure(given.only, given.runs, not given.dual, given.port_base))
