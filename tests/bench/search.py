"""Times of indexing and searching: `python -m tests.bench.search [--utterances N] [--url URL]`.

Sentences of twelve random words (seeded), 500 a meeting, in up to 200 rooms. Prints how many
utterances a second are indexed, and the median and 95th percentile of queries of five kinds by
somebody who reads 20 of the rooms. `--url`: an empty database; else SQLite in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable

from bridge import config
from bridge.domain.search import read_query
from bridge.rooms.record import meeting as kept
from bridge.store.database import Database, open_database
from bridge.store.meetings import Meetings
from bridge.store.search import Scope, Search
from bridge.store.utterances import Utterances
from tests.support.library import held, utterance

ROOMS, EACH = 200, 500
_WORDS = "le la les de des et nous avons budget réunion projet décision ministère dossier"
COMMON = _WORDS.split()
RARE = [f"terme{n}" for n in range(5000)]
QUERIES: dict[str, Callable[[random.Random], str]] = {
    "one common word": lambda draw: "budget",
    "two words": lambda draw: "budget décision",
    "a phrase": lambda draw: '"le budget"',
    "one rare word": lambda draw: draw.choice(RARE),
    "a stop word, all there is": lambda draw: "le",
}


def sentence(draw: random.Random) -> str:
    """Twelve words as meetings have them: most common, one rare."""
    return " ".join([*(draw.choice(COMMON) for _ in range(11)), draw.choice(RARE)])


async def fill(db: Database, count: int, draw: random.Random) -> None:
    """Store meetings of 500 utterances."""
    for number in range(0, count, EACH):
        meeting = held(f"m{number}", f"!room{number // EACH % ROOMS}", ["@a:x"])
        async with db.acquire() as conn, conn.transaction():
            await Meetings(db).put(conn, kept(meeting, room_name="Room", root=None))
            for n in range(EACH):
                await Utterances(db).put(conn, utterance(meeting, n, "@a:x", sentence(draw)))


async def measure(url: str, count: int) -> None:
    """Fill, index, ask."""
    draw = random.Random(7)
    db = await open_database(config.Settings(database=config.Database(url=url)))
    try:
        await fill(db, count, draw)
        search, began, longest = Search(db), time.perf_counter(), 0.0
        while True:
            step = time.perf_counter()
            done = await search.refresh()
            longest = max(longest, time.perf_counter() - step)
            if not done:
                break
        rate = count / (time.perf_counter() - began)
        print(f"indexed: {rate:.0f} utterances/s, longest batch {longest * 1000:.0f} ms")
        scope = Scope(rooms=[f"!room{n}" for n in range(20)])
        for name, query in QUERIES.items():
            took = []
            for _ in range(20):
                terms = read_query(query(draw), ["fr", "en"])
                step = time.perf_counter()
                await search.find(terms, scope, limit=21)
                took.append((time.perf_counter() - step) * 1000)
            p95 = statistics.quantiles(took, n=20)[-1]
            print(f"| {name} | {statistics.median(took):.0f} ms | {p95:.0f} ms |")
    finally:
        await db.stop()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given.url or f"sqlite:{folder}/bench.db", given.utterances))


if __name__ == "__main__":
    main()
