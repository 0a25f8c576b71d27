"""`python -m bridge doctor`, from its options to its exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from bridge import config
from bridge.doctor.checks import CHECKS, FROM_OUTSIDE, ROOM_CHECKS
from bridge.doctor.findings import Finding, exit_status
from bridge.doctor.report import Printer, as_json
from bridge.doctor.visit import Visit
from bridge.doctor.walk import walk, with_needs
from bridge.doctor.words import Words
from bridge.errors import ConfigError
from bridge.text import Language


def doctor(
    file: Path, *, room: str, json: bool, language: Language | None, outside: bool = False
) -> int:
    """Walk and report. Returns 0 where nothing failed, else 1."""
    logging.disable(logging.WARNING)  # what a probe meets, the report says
    words = Words(language or _language(file))
    printer = Printer(words, sys.stderr if json else sys.stdout)
    findings = asyncio.run(examine(file, room=room, printer=printer, outside=outside))
    printer.ends(findings)
    if json:
        print(as_json(findings, words))
    return exit_status(findings)


async def examine(
    file: Path,
    *,
    room: str = "",
    printer: Printer | None = None,
    only: Collection[str] = (),
    outside: bool = False,
    clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """All findings.

    `only`: these checks and what they build on. `outside`: what a machine elsewhere can look at.
    `clock`: Unix seconds.
    """
    checks = [*CHECKS, *(ROOM_CHECKS if room else ())]
    if outside:
        checks = [check for check in CHECKS if check.name in FROM_OUTSIDE]
    elif only:
        checks = with_needs(checks, only)
    visit, findings = Visit(file, room, clock), []
    try:
        before = printer.begins if printer else (lambda _: None)
        async for finding in walk(checks, visit, before=before):
            findings.append(finding)
            if printer:
                printer.found(finding)
    finally:
        await visit.leave()
    return findings


def _language(file: Path) -> Language:
    """The bridge's own; where its configuration cannot be read, the terminal's."""
    try:
        return config.load(file).conference.language
    except ConfigError:
        return "fr" if os.environ.get("LANG", "").startswith("fr") else "en"
