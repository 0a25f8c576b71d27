"""How late words are on screen and in another homeserver: `python -m tests.bench.latency`.

Two homeservers, our media server and scribe, people with the SDK who say flite's sentences in turn,
and a server that speaks moshi-server's protocol and tells each word 0.48 s (6 frames) after it has
ended, to the next frame of 80 ms. Measured, on one clock:

- screen: from the end of a word at the microphone to the caption that shows it at another
  participant's client;
- timeline: from the end of a turn's last word at the microphone to the message with it in /sync of
  a member on the other homeserver.

Where the time goes: `engine` is when the server told the word.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from ruamel.yaml import YAML

from bridge.dev.caller import Caller
from bridge.dev.instance import Instance, plan_sites
from bridge.dev.layout import SitePlan, write_config
from bridge.dev.person import Person
from bridge.dev.speech import RATE
from bridge.matrix.wire import UTTERANCE
from bridge.scribe.participant import ASKS
from tests.support.moshi_server import KEY, MoshiServer
from tests.support.spoken_words import Script, Turn, turn

SCREEN_P95_S, TIMELINE_P95_S = 1.0, 2.5
FRAME = RATE // 50
REST_S = 2.5
VOICES = ("rms", "slt")
SENTENCES = (
    "The first question today is the budget of the new building.",
    "The minister would like an answer before Friday.",
    "Can you send me the new version of the document?",
    "Yes, I will send it to you this afternoon.",
    "We agreed on the budget last week and nothing has changed since then.",
    "Who will present the results of the survey to the committee?",
    "I can present them if somebody helps me with the figures.",
    "The next meeting is on Monday morning in the small room.",
    "There is one open point about the security audit.",
    "It will be finished by the end of the month.",
    "Thank you very much for this clear answer.",
    "Good morning everyone and welcome to the last part of the meeting.",
)


@dataclass
class Figures:
    """Seconds, one a word or a turn."""

    engine: list[float] = field(default_factory=list)
    screen: list[float] = field(default_factory=list)
    timeline: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Viewer(Caller):
    """Somebody in the call who notes when each caption came."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self.seen: list[tuple[float, str, str]] = []

    async def _read_caption(self, reader: rtc.TextStreamReader) -> None:
        attributes = dict(reader.info.attributes or {})
        text = await reader.read_all()
        self.seen.append((time.monotonic(), attributes.get("lk.segment_id", ""), text))


class Microphone:
    """Plays turns at a known time: a frame every 20 ms, silence in between."""

    def __init__(self, caller: Caller) -> None:
        self._source = caller._source
        self._waiting = np.zeros(0, np.int16)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            frame = self._waiting[:FRAME]
            self._waiting = self._waiting[FRAME:]
            samples = np.pad(frame, (0, FRAME - len(frame))).tobytes()
            await self._source.capture_frame(rtc.AudioFrame(samples, RATE, 1, FRAME))
            number += 1
            await asyncio.sleep(began + number * FRAME / RATE - loop.time())

    async def say(self, one: Turn) -> float:
        """When it began (monotonic)."""
        self._waiting = one.pcm
        began = time.monotonic()
        while len(self._waiting):  # noqa: ASYNC110 - it is played by another task, frame by frame
            await asyncio.sleep(0.02)
        return began


def configure(plan: SitePlan, url: str, key: Path) -> None:
    """The site's scribe hears with the server at `url`."""
    write_config(plan)
    yaml = YAML(typ="rt")
    document = yaml.load(plan.config_path.read_text(encoding="utf-8"))
    engine = {"engine": "kyutai", "use": "live", "url": url, "api_key_file": str(key)}
    document["scribe"]["engines"] = [engine]
    with plan.config_path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


async def read_timeline(person: Person, room: str, said: list[tuple[float, str]]) -> None:
    """Note when each utterance reached this person's homeserver."""
    since: str | None = None
    while True:
        answer = await person.sync(since, 30_000 if since else 0)
        now, since = time.monotonic(), answer["next_batch"]
        events: list[dict[str, Any]] = (
            answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {})
        ).get("events", [])
        for event in events:
            utterance = event["content"].get(UTTERANCE)
            if utterance is not None:
                said.append((now, str(event["content"]["body"])))


async def measure(var: Path, port_base: int, sentences: Sequence[str]) -> Figures:
    """Everything started, one meeting held, everything ended."""
    turns = [turn(text, VOICES[i % 2], var) for i, text in enumerate(sentences)]
    key = var / "engine.key"
    key.write_text(KEY, encoding="utf-8")
    key.chmod(0o600)
    script = Script(turns)
    async with MoshiServer(script.hearing, step_s=0.02, port=port_base + 99) as server:
        plans = plan_sites(var, port_base, 2)
        for plan in plans:
            configure(plan, server.url, key)
        instance = Instance(var, plans, lambda line: print(line, file=sys.stderr))
        try:
            await instance.start()
            return await _meeting(instance, turns, server)
        finally:
            await instance.stop()


async def _meeting(instance: Instance, turns: list[Turn], server: MoshiServer) -> Figures:
    alice, bob, carol, _ = instance.people
    service, room = instance.sites[0].plan.page, instance.room_id
    said: list[tuple[float, str]] = []
    tasks: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lambda: [task.cancel() for task in tasks])
        tasks.append(asyncio.create_task(read_timeline(carol, room, said)))
        await alice.say(room, "!visio start")
        one = await stack.enter_async_context(Caller.in_call(alice, service, room))
        two = await stack.enter_async_context(Caller.in_call(bob, service, room))
        screen = await stack.enter_async_context(Viewer.in_call(carol, service, room))
        assert isinstance(screen, Viewer)
        await screen.room.local_participant.set_attributes({ASKS: "interim"})
        microphones = [Microphone(one), Microphone(two)]
        tasks += [asyncio.create_task(microphone.run()) for microphone in microphones]
        await one.listened_to()
        await asyncio.sleep(3.0)
        began = []
        for number, spoken in enumerate(turns):
            began.append(await microphones[number % 2].say(spoken))
            await asyncio.sleep(REST_S)
        await asyncio.sleep(3.0)
        return figures(turns, began, server.told, screen.seen, said)


def figures(
    turns: list[Turn],
    began: list[float],
    told: list[tuple[float, str]],
    seen: list[tuple[float, str, str]],
    said: list[tuple[float, str]],
) -> Figures:
    """Words are counted, not looked up: every one must have come, in order."""
    made = Figures()
    ends = [
        (word, at + end) for one, at in zip(turns, began, strict=True) for word, _, end in one.words
    ]
    shown = _shown(seen)
    for number, (word, end) in enumerate(ends):
        if number < len(told) and told[number][1] == word:
            made.engine.append(told[number][0] - end)
        if number < len(shown) and shown[number][1] == word:
            made.screen.append(shown[number][0] - end)
        else:
            made.missing.append(word)
    for one, at in zip(turns, began, strict=True):
        last = " ".join(one.text.split()[-3:])
        times = [when for when, body in said if when > at and last in body]
        if times:
            made.timeline.append(times[0] - at - one.words[-1][2])
        else:
            made.missing.append(f"(timeline) {one.text}")
    return made


def _shown(seen: list[tuple[float, str, str]]) -> list[tuple[float, str]]:
    """When each word was first on screen: segments one after the other, each of them growing."""
    order = list(dict.fromkeys(segment for _, segment, _ in seen))
    shown: list[tuple[float, str]] = []
    for segment in order:
        mine = [(when, text.split()) for when, own, text in seen if own == segment]
        for number, word in enumerate(mine[-1][1]):
            when = next(when for when, words in mine if len(words) > number)
            shown.append((when, word))
    return shown


def table(made: Figures) -> str:
    """As it stands in docs/measurements.md."""
    lines = ["| | count | median | p95 | greatest | asked |", "|---|---|---|---|---|---|"]
    rows = (
        ("engine tells the word", made.engine, ""),
        ("word on a participant's screen", made.screen, f"{SCREEN_P95_S} s"),
        ("turn in the other homeserver's timeline", made.timeline, f"{TIMELINE_P95_S} s"),
    )
    for name, values, asked in rows:
        median, p95 = np.percentile(values, (50, 95)) if values else (np.nan, np.nan)
        most = max(values, default=np.nan)
        lines.append(
            f"| {name} | {len(values)} | {median:.2f} s | {p95:.2f} s | {most:.2f} s | {asked} |"
        )
    return "\n".join([*lines, "", f"missing: {', '.join(made.missing) or 'nothing'}"])


def main() -> int:
    """Prints the table; 1 where it is slower than asked, or something is missing."""
    parser = argparse.ArgumentParser(prog="tests.bench.latency", description=__doc__)
    parser.add_argument("--port-base", type=int, default=21000)
    parser.add_argument("--turns", type=int, default=24)
    options = parser.parse_args()
    sentences = [SENTENCES[i % len(SENTENCES)] for i in range(options.turns)]
    with tempfile.TemporaryDirectory(prefix="colloque-latency-") as folder:
        made = asyncio.run(measure(Path(folder), options.port_base, sentences))
    print(table(made))
    late = not made.screen or np.percentile(made.screen, 95) > SCREEN_P95_S
    late = late or not made.timeline or np.percentile(made.timeline, 95) > TIMELINE_P95_S
    return int(bool(late or made.missing))


if __name__ == "__main__":
    sys.exit(main())
