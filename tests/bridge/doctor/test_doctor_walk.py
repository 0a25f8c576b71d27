"""The walk: order, what depends on what, patience, and that nothing ends it; the report."""

from __future__ import annotations

import asyncio
import io
import json
from itertools import pairwise

import pytest

from bridge.doctor.checks import CHECKS, ROOM_CHECKS
from bridge.doctor.findings import Finding, Remark, exit_status, failed, ok, unchecked, warning
from bridge.doctor.report import Printer, as_json, lines
from bridge.doctor.walk import Answer, Check, walk, with_needs
from bridge.doctor.words import Words


async def fine(seen: list[str]) -> Answer:
    seen.append("fine")
    return ok()


async def doubtful(seen: list[str]) -> Answer:
    seen.append("doubtful")
    return [ok(), warning("tcp.none")]


async def broken(seen: list[str]) -> Answer:
    raise ValueError("out of order")


async def endless(seen: list[str]) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


async def nothing(seen: list[str]) -> Answer:
    return unchecked("turn.none")


async def walked(*checks: Check[list[str]]) -> tuple[dict[str, Finding], list[str]]:
    seen: list[str] = []
    begun: list[str] = []
    found = {one.check: one async for one in walk(checks, seen, before=begun.append)}
    assert begun == [check.name for check in checks]
    return found, seen


async def test_a_failure_stops_what_builds_on_it_and_nothing_else() -> None:
    found, seen = await walked(
        Check("a", broken),
        Check("b", fine, ("a",)),
        Check("c", fine, ("b",)),
        Check("d", doubtful),
        Check("e", fine, ("d",)),
    )
    assert [one.outcome for one in found.values()] == [
        "failed",
        "not_checked",
        "not_checked",
        "warning",
        "ok",
    ]
    assert found["a"].remarks == (failed("broken", error="ValueError: out of order"),)
    assert found["b"].remarks == (unchecked("because", check="a"),)
    assert seen == ["doubtful", "fine"]


async def test_what_was_not_checked_stops_what_builds_on_it() -> None:
    found, _ = await walked(Check("a", nothing), Check("b", fine, ("a",)))
    assert found["b"].outcome == "not_checked"


async def test_each_check_has_its_own_patience() -> None:
    found, _ = await walked(Check("a", endless, patience_s=0.05), Check("b", fine))
    assert found["a"].remarks == (failed("patience", seconds=0),)
    assert found["b"].outcome == "ok"


async def test_cancelling_ends_the_walk() -> None:
    task = asyncio.create_task(walked(Check("a", endless)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_part_of_the_walk_takes_what_it_builds_on() -> None:
    names = [check.name for check in with_needs(CHECKS, ["homeserver.delays"])]
    assert names[0] == "config.readable"
    assert names[-1] == "homeserver.delays"
    assert "homeserver.room" in names
    assert "media.udp" not in names
    with pytest.raises(KeyError):
        with_needs(CHECKS, ["no.such"])


def test_every_check_comes_after_what_it_needs() -> None:
    known: set[str] = set()
    for check in (*CHECKS, *ROOM_CHECKS):
        assert set(check.needs) <= known, check.name
        known.add(check.name)
    sections = [check.name.partition(".")[0] for check in CHECKS]
    begun = [one for before, one in pairwise(["", *sections]) if one != before]
    assert len(begun) == len(set(sections))  # each section is one block of the report


def test_exit_status() -> None:
    fine, bad = Finding("a", (ok(),)), Finding("b", (ok(), failed("slot.closed")))
    assert exit_status([fine, Finding("c", (warning("tcp.none"),))]) == 0
    assert exit_status([fine, bad]) == 1


def finding(*remarks: Remark) -> Finding:
    return Finding("media.tcp", remarks, 0.25)


def test_lines() -> None:
    words = Words("en")
    assert lines(finding(ok("way.fine", addresses="192.0.2.1:7881")), words) == [
        "  ✓ Media over TCP: 192.0.2.1:7881"
    ]
    assert lines(finding(ok()), words) == ["  ✓ Media over TCP"]
    shown = lines(finding(ok(), failed("tcp.silent", addresses="192.0.2.1:7881", port=7881)), words)
    assert shown[0] == "  ✗ Media over TCP"
    assert "192.0.2.1:7881" in shown[1]
    assert shown[2].startswith("      → Open TCP port 7881")
    assert max(map(len, shown)) <= 100


def test_the_report_as_json() -> None:
    bad = finding(failed("tcp.silent", addresses="192.0.2.1:7881", port=7881))
    report = json.loads(as_json([finding(ok()), bad], Words("fr")))
    assert (report["version"], report["status"]) == (1, "failed")
    good, shown = report["checks"]
    assert good["remarks"] == [{"key": "fine", "outcome": "ok", "said": ""}]
    assert (shown["check"], shown["outcome"], shown["seconds"]) == ("media.tcp", "failed", 0.25)
    assert "7881" in shown["remarks"][0]["remedy"]
    assert json.loads(as_json([finding(ok())], Words("en")))["status"] == "ok"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only() -> None:
    for out, live in ((Terminal(), True), (io.StringIO(), False)):
        printer = Printer(Words("en"), out)
        printer.begins("media.tcp")
        assert ("…" in out.getvalue()) is live
        printer.found(finding(ok()))
        printer.begins("media.udp")
        printer.found(Finding("media.udp", (unchecked("way.no_offer"),)))
        printer.ends([finding(ok())])
        text = out.getvalue()
        assert text.count("Media, as clients reach it") == 1
        assert text.rstrip().endswith("1 ok, 0 with a warning, 0 failed, 0 not checked")
        assert ("\x1b" in text) is live
