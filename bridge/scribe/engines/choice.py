"""Which engine writes: the first of the administrator's list that knows the language and answers.

An engine that is down is left for the next one. After a rest one track tries it again with what it
says next; when that is answered, the others follow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bridge.scribe.engines import Capability, Recognizer
from bridge.scribe.engines.relay import Relay

log = logging.getLogger(__name__)

REST_S, LONGEST_REST_S = 15.0, 120.0
"""How long an engine that fell is left alone; doubled each time it falls again."""
WARM_S = 15.0
"""A scribe that is not there sooner is taken for dead (bridge.media.supervisor)."""

Standing = Literal["", "engine_simple", "engine_down", "language"]
"""How well languages are served: by the best engine that knows them; by another one; by none of
those that know them; or nobody knows one of them."""


@dataclass(eq=False)
class Option:
    """One engine of the list. `languages`: what it is wanted for; empty: all that it knows."""

    recognizer: Recognizer
    languages: frozenset[str] = frozenset()
    fallen: bool = False
    rested_at: float = 0.0
    rest_s: float = REST_S
    tried_by: Relay | None = None
    unknown: set[str] = field(default_factory=set)

    def knows(self, language: str) -> bool:
        """Whether it may be asked for what is said in this language."""
        if language in self.unknown or not self.recognizer.capability.understands(language):
            return False
        return not self.languages or any(meant(tag, language) for tag in self.languages)


class Choice:
    """A `Recognizer` over several, in the order of preference."""

    def __init__(
        self, options: Sequence[Option], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = list(options)
        self._clock = clock
        self._tasks: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()

    @classmethod
    def of(cls, *recognizers: Recognizer) -> Choice:
        """With these engines, each for every language it knows."""
        return cls([Option(one) for one in recognizers])

    @property
    def capability(self) -> Capability:
        """What the engines can together; the name is the first one's."""
        each = [option.recognizer.capability for option in self._options]
        narrow = [_languages(option) for option in self._options]
        return Capability(
            each[0].name,
            frozenset().union(*narrow) if all(narrow) else frozenset(),
            interim=any(one.interim for one in each),
            streaming=any(one.streaming for one in each),
            words=all(one.words for one in each),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._running.set()
            for option in self._options:
                tasks.create_task(self._keep(option))

    async def ready(self) -> None:
        """Return once one engine is warm, or none was in time: then it is waited for in calls."""
        warm = [asyncio.ensure_future(o.recognizer.ready()) for o in self._options]
        try:
            await asyncio.wait(warm, timeout=WARM_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in warm:
                task.cancel()
            await asyncio.gather(*warm, return_exceptions=True)

    async def open(self, language: str) -> Relay:
        """A stream for one track; what is said in a language nobody knows is left out."""
        await self._running.wait()
        relay = Relay(self, language)
        self.spawn(relay.run())
        return relay

    def understands(self, language: str) -> bool:
        """Whether an engine of the list, be it down now, knows this language."""
        return any(option.knows(language) for option in self._options)

    def standing(self, languages: Iterable[str]) -> Standing:
        """How well these languages are served now: the worst of them."""
        found = {self._standing(language) for language in languages}
        worst: tuple[Standing, ...] = ("engine_down", "engine_simple", "language")
        return next((one for one in worst if one in found), "")

    def _standing(self, language: str) -> Standing:
        knowing = [option for option in self._options if option.knows(language)]
        if not knowing:
            return "language"
        if all(option.fallen for option in knowing):
            return "engine_down"
        return "engine_simple" if knowing[0].fallen else ""

    # ---- what a relay asks and tells

    def pick(self, language: str, current: Option | None = None) -> Option | None:
        """The best engine there is; `current` writes at this moment, and may go on."""
        knowing = (option for option in self._options if option.knows(language))
        return next((o for o in knowing if o is current or self._free(o)), None)

    def _free(self, option: Option) -> bool:
        if not option.fallen:
            return True
        return option.tried_by is None and self._clock() >= option.rested_at

    def began(self, option: Option, relay: Relay) -> None:
        """A relay asks this engine; where it fell before, this one tries for all."""
        if option.fallen:
            option.tried_by = relay

    def left(self, option: Option, relay: Relay) -> None:
        """A relay asks it no more."""
        if option.tried_by is relay:
            option.tried_by = None

    def fell(self, option: Option, reason: str) -> None:
        """It does not answer."""
        if option.fallen and option.tried_by is None and self._clock() < option.rested_at:
            return  # another track has said so
        name = option.recognizer.capability.name
        log.warning(
            "the engine %s is down (%s), asked again in %.0f s", name, reason, option.rest_s
        )
        option.fallen, option.tried_by = True, None
        option.rested_at = self._clock() + option.rest_s
        option.rest_s = min(option.rest_s * 2, LONGEST_REST_S)

    def well(self, option: Option) -> None:
        """It has answered."""
        if option.fallen:
            log.info("the engine %s answers again", option.recognizer.capability.name)
        option.fallen, option.tried_by, option.rest_s = False, None, REST_S

    def cannot(self, option: Option, language: str) -> None:
        """It turns out not to know a language."""
        option.unknown.add(language)

    def rest_s(self, language: str) -> float:
        """Seconds until it is worth asking again who writes this language."""
        rested = [o.rested_at for o in self._options if o.knows(language) and o.tried_by is None]
        return max(0.05, min(rested, default=self._clock() + 1.0) - self._clock())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work of a relay be done by this choice's tasks."""
        if self._tasks is None:
            raise RuntimeError("an engine was chosen outside of run()")
        self._tasks.create_task(work)

    async def _keep(self, option: Option) -> None:
        """Keep one engine going: what breaks it must not end the others."""
        while True:
            try:
                await option.recognizer.run()
            except Exception:  # a task's top level: the engine is started again
                log.exception("the engine %s broke", option.recognizer.capability.name)
            self.fell(option, "lost")
            await asyncio.sleep(option.rest_s)


def meant(tag: str, language: str) -> bool:
    """Whether the setting `tag` (`en`, `en-GB`) names this language (`en-GB`, `en_gb`)."""
    wanted, said = tag.lower(), language.lower().replace("_", "-")
    return said == wanted or said.startswith(f"{wanted}-")


def _languages(option: Option) -> frozenset[str]:
    """Primary codes an option serves; empty: every language."""
    named = frozenset(tag.lower().partition("-")[0] for tag in option.languages)
    known = option.recognizer.capability.languages
    return named & known if named and known else named or known
