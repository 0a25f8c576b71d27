"""`python -m bridge demo`: the whole product without hands, and what it must show, checked.

Two federated homeservers, the bridge at the first. alice@A starts a call from chat in a room that
bob@B joined through federation; both speak; the timeline printed is the one bob's server shows.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.dev.caller import Caller, media_token
from bridge.dev.checks import FORMS, Checks, Line, check_record
from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.person import MatrixError, Person
from bridge.dev.speech import Pcm, read_wav, spoken
from bridge.dev.timeline import Timeline, show

_CARD_S = 15.0
_UTTERANCE_S = 45.0
_RECORD_S = 45.0
_VOICES = {"alice": "slt", "bob": "rms"}
# Sentences the embedded recognizer understands well in these voices.
_SCRIPT = (
    ("alice", "The first question today is the budget"),
    ("bob", "The minister would like an answer before Friday"),
    ("alice", "Can you send me the new version of the document"),
    ("bob", "Yes I will send it to you this afternoon"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """Something to say; `text` is None where a person's own recording says it."""

    name: str
    text: str | None
    pcm: Pcm


def plan_demo(var: Path, port_base: int) -> list[SitePlan]:
    """Homeservers A and B, a bridge at A alone."""
    return [
        SitePlan(name="a", folder=var / "site-a", first_port=port_base, people=("alice",)),
        SitePlan(
            name="b",
            folder=var / "site-b",
            first_port=port_base + 10,
            people=("bob",),
            bridge=False,
        ),
    ]


def turns(recordings: Mapping[str, Path]) -> list[Turn]:
    """What is said: recordings where they are given, else flite. Raises ColloqueError."""
    recorded = {name: read_wav(file) for name, file in recordings.items()}
    said = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _SCRIPT:
            if name not in recorded:
                said.append(Turn(name, text, spoken(text, _VOICES[name], Path(folder))))
            elif not any(turn.name == name for turn in said):
                said.append(Turn(name, None, recorded[name]))
    return said


class Demo:
    """One run. `checks` holds what was seen."""

    def __init__(
        self, instance: Instance, script: Sequence[Turn], say: Callable[[str], None]
    ) -> None:
        self.checks = Checks()
        self._script = script
        self._say = say
        self._room = instance.room_id
        self._alice, self._bob = instance.people
        first, self._second = instance.sites
        self._service, self._bot = first.plan.page, first.bot

    async def run(self) -> None:
        """Call, record, checks. Raises ColloqueError or TimeoutError where it cannot go on."""
        await self._federated()
        await self._start()
        await self._refused()
        await self._talk()
        self._say("waiting for the record of the call")
        timeline = await self._timeline(lambda seen: set(seen.forms) >= FORMS)
        print(f"\nThe room as {self._bob.homeserver} shows it to bob:\n")
        print(show(timeline))
        lines = [Line(self._person(turn.name).user_id, turn.text) for turn in self._script]
        await check_record(self.checks, timeline, lines, self._bob)

    def _person(self, name: str) -> Person:
        return {"alice": self._alice, "bob": self._bob}[name]

    async def _federated(self) -> None:
        members = await self._bob.members(self._room)
        both = {self._alice.user_id, self._bob.user_id, self._bot} <= set(members)
        self.checks.note("alice, bob and the bridge are in one room on two homeservers", both)

    async def _start(self) -> None:
        self._say("alice types: !visio start")
        begin = time.monotonic()
        await self._alice.say(self._room, "!visio start")
        timeline = await self._timeline(lambda seen: seen.card is not None, _CARD_S)
        took = f"{time.monotonic() - begin:.1f} s"
        self.checks.note("the call card reaches bob's homeserver", timeline.card is not None, took)

    async def _refused(self) -> None:
        eve = await self._second.homeserver.register("eve")
        try:
            await media_token(self._service, eve, self._room)
        except MatrixError as error:
            self.checks.note(
                "eve, who is not in the room, gets no token", error.status == 403, str(error)
            )
        else:
            self.checks.note("eve, who is not in the room, gets no token", False, "she got one")

    async def _talk(self) -> None:
        async with AsyncExitStack() as stack:
            callers = {
                name: await stack.enter_async_context(
                    Caller.in_call(self._person(name), self._service, self._room)
                )
                for name in ("alice", "bob")
            }
            self._say("alice and bob have joined the call")
            with suppress(TimeoutError):  # without a scribe the checks say what is missing
                await callers["alice"].listened_to()
            for turn in self._script:
                self._say(f"{turn.name} says: {turn.text or 'a recording'}")
                await callers[turn.name].speak(turn.pcm)
            wanted = len(self._script)
            await self._timeline(lambda seen: len(seen.utterances) >= wanted, _UTTERANCE_S)
            self._heard(callers["alice"], callers["bob"])
            self._heard(callers["bob"], callers["alice"])
            self._captioned(callers)
            self._say("alice types: !visio stop")
            await self._alice.say(self._room, "!visio stop")
            await self._all_out(callers)

    def _heard(self, listener: Caller, speaker: Caller) -> None:
        loudness = listener.heard.get(speaker.identity, 0.0)
        self.checks.note(
            f"{_name(listener)} hears {_name(speaker)}", loudness > 300, f"loudness {loudness:.0f}"
        )

    def _captioned(self, callers: dict[str, Caller]) -> None:
        expected = {callers[turn.name].identity for turn in self._script}
        for name, caller in callers.items():
            seen = {caption.identity for caption in caller.captions if caption.text.strip()}
            self.checks.note(
                f"{name} gets captions that name their speaker",
                seen == expected,
                f"{len(caller.captions)} captions",
            )
            for failure in caller.failures:
                self.checks.note(f"{name}'s client has no trouble", False, repr(failure))

    async def _all_out(self, callers: dict[str, Caller]) -> None:
        for name, caller in callers.items():
            try:
                async with asyncio.timeout(10):
                    await caller.disconnected.wait()
            except TimeoutError:
                self.checks.note(f"`!visio stop` ends the call for {name}", False, "still in it")
            else:
                self.checks.note(f"`!visio stop` ends the call for {name}", True)

    async def _timeline(
        self, enough: Callable[[Timeline], bool], timeout: float = _RECORD_S
    ) -> Timeline:
        """Bob's room through /sync, as soon as it shows enough, or after the time is over."""
        end = time.monotonic() + timeout
        since: str | None = None
        events: list[dict[str, Any]] = []
        while True:
            answer = await self._bob.sync(since, 1000 if since else 0)
            since = answer["next_batch"]
            room = answer.get("rooms", {}).get("join", {}).get(self._room, {})
            events += room.get("timeline", {}).get("events", [])
            timeline = Timeline.read(events, self._bot)
            if enough(timeline) or time.monotonic() > end:
                return timeline


def _name(caller: Caller) -> str:
    return caller.person.user_id.partition(":")[0].lstrip("@")
