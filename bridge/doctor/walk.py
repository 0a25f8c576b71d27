"""One check after the other, in the order of a call's path; none of them ends the walk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.doctor.findings import Finding, Remark, failed, unchecked

log = logging.getLogger(__name__)

V = TypeVar("V")
Answer = Remark | Sequence[Remark]


@dataclass(frozen=True, slots=True)
class Check(Generic[V]):
    """A probe with its name, the checks it builds on, and how long it may take (seconds)."""

    name: str
    probe: Callable[[V], Awaitable[Answer]]
    needs: tuple[str, ...] = ()
    patience_s: float = 15.0


def with_needs(checks: Sequence[Check[V]], names: Collection[str]) -> list[Check[V]]:
    """The named checks and everything they build on, in their order. KeyError: no such check."""
    by_name = {check.name: check for check in checks}
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += by_name[name].needs
    return [check for check in checks if check.name in wanted]


async def walk(
    checks: Sequence[Check[V]], visit: V, *, before: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Finding]:
    """Findings as they come. `before` is told the name of the check that begins."""
    found: dict[str, Finding] = {}
    for check in checks:
        before(check.name)
        missing = [name for name in check.needs if name in found and not found[name].stands]
        if missing:
            finding = Finding(check.name, (unchecked("because", check=missing[0]),))
        else:
            finding = await _look(check, visit)
        found[check.name] = finding
        yield finding


async def _look(check: Check[V], visit: V) -> Finding:
    begin = time.monotonic()
    try:
        async with asyncio.timeout(check.patience_s):
            answer = await check.probe(visit)
        remarks = (answer,) if isinstance(answer, Remark) else tuple(answer)
    except TimeoutError:
        remarks = (failed("patience", seconds=round(check.patience_s)),)
    except Exception as error:  # the top of this check: the walk goes on
        log.debug("the check %s failed", check.name, exc_info=True)
        remarks = (failed("broken", error=f"{type(error).__name__}: {error}"),)
    return Finding(check.name, remarks, time.monotonic() - begin)
