"""The demo's checks see what they are for: each of them fails on the record it must not accept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.dev.checks import Checks, Line, check_record
from bridge.dev.person import MatrixError, Person
from bridge.dev.timeline import Timeline, show

ALICE, BOB, BOT = "@alice:a", "@bob:b", "@visio:a"
LINES = [
    Line(ALICE, "The first question today is the budget"),
    Line(BOB, "The minister would like an answer before Friday"),
]
FILES = {
    "mxc://a/md": b"# Budget\n",
    "mxc://a/vtt": b"WEBVTT\n\n00:00.000 --> 00:01.000\n<v Alice>Hello",
    "mxc://a/json": json.dumps({"speakers": [ALICE, BOB]}).encode(),
}


def message(event_id: str, content: dict[str, Any], sender: str = BOT) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "origin_server_ts": 1_790_000_000_000,
        "content": content,
    }


def in_thread(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "m.relates_to": {"rel_type": "m.thread", "event_id": "$card"}}


def utterance(speaker: str, text: str, start_ms: int, segment: str) -> dict[str, Any]:
    said = {
        "speaker": speaker,
        "text": text,
        "start_ms": start_ms,
        "end_ms": start_ms + 900,
        "segment": segment,
        "rev": 1,
    }
    return message(f"${segment}", in_thread({"body": text, "eu.colloque.utterance": said}))


def card(phase: str) -> dict[str, Any]:
    return {"body": f"Call\n{phase}", "eu.colloque.card": {"phase": phase}}


def ended(phase: str = "ended") -> dict[str, Any]:
    relation = {"rel_type": "m.replace", "event_id": "$card"}
    content = {**card(phase), "m.new_content": card(phase), "m.relates_to": relation}
    return message("$edit", content)


def file(form: str) -> dict[str, Any]:
    content = {"body": f"transcript.{form}", "file": {"url": f"mxc://a/{form}"}}
    return message(f"${form}", in_thread({**content, "eu.colloque.transcript": {"format": form}}))


def record() -> list[dict[str, Any]]:
    return [
        message("$start", {"body": "!visio start"}, ALICE),
        message("$card", card("running")),
        utterance(ALICE, "the first question today is the budget", 1000, "s1"),
        utterance(BOB, "the minister who would like an answer before friday", 4000, "s2"),
        ended(),
        *(file(form) for form in ("md", "vtt", "json")),
    ]


class Reader(Person):
    """Bob, whose server has the files above."""

    async def attachment(self, file: dict[str, Any]) -> bytes:
        mxc = file["url"]
        if mxc not in FILES:
            raise MatrixError(404, "M_NOT_FOUND", mxc)
        return FILES[mxc]


READER = Reader(homeserver="", user_id=BOB, password="", access_token="", device_id="")


async def failed(events: list[dict[str, Any]], lines: list[Line] | None = None) -> set[str]:
    checks = Checks()
    await check_record(checks, Timeline.read(events, BOT), lines or LINES, READER)
    assert checks.passed == ("FAIL" not in checks.table())
    return {check.name for check in checks.done if not check.passed}


async def test_a_good_record_passes() -> None:
    assert await failed(record()) == set()
    assert await failed(record(), [replace(line, text=None) for line in LINES]) == set()


def without(event_id: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda events: [event for event in events if event["event_id"] != event_id]


SPOILT: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "lost": (without("$s2"), "everything that was said is in bob's timeline"),
    "another's words": (
        lambda events: [*events, utterance(ALICE, "an answer before friday", 9000, "s3")],
        "each utterance carries the right speaker",
    ),
    "a speaker who said nothing": (
        lambda events: [*events, utterance("@eve:a", "hm", 9000, "s3")],
        "each utterance carries the right speaker",
    ),
    "twice": (
        lambda events: [*events, utterance(BOB, "an answer before friday", 9000, "s2")],
        "no utterance is there twice",
    ),
    "out of order": (
        lambda events: [*events, utterance(BOB, "an answer before friday", 10, "s3")],
        "utterances stand in the order they were spoken",
    ),
    "outside the thread": (
        lambda events: [
            *events,
            {**file("extra"), "content": {**file("extra")["content"], "m.relates_to": {}}},
        ],
        "they hang below the call card",
    ),
    "still running": (without("$edit"), "the card says that the call is over"),
    "no file": (without("$vtt"), "transcript.vtt is readable from bob's homeserver"),
    "a file twice": (
        lambda events: [*events, file("md")],
        "transcript.md is readable from bob's homeserver",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_a_spoilt_record_does_not(name: str) -> None:
    spoil, check = SPOILT[name]
    assert check in await failed(spoil(record()))


@pytest.mark.parametrize("content", [b"", b"\xff", b"{"])
async def test_spoilt_files_do_not(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for mxc in list(FILES):
        monkeypatch.setitem(FILES, mxc, content)
    assert len(await failed(record())) == 3


async def test_a_file_that_cannot_be_loaded_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "mxc://a/md")
    assert await failed(record()) == {"transcript.md is readable from bob's homeserver"}


def test_messages_of_others_are_no_record() -> None:
    events = [{**event, "sender": "@eve:b"} for event in record()]
    timeline = Timeline.read(events, BOT)
    assert (timeline.card, timeline.utterances, timeline.files) == (None, [], [])


def test_the_timeline_is_shown_as_it_is_read() -> None:
    lines = show(Timeline.read(record(), BOT)).splitlines()
    assert lines[0].endswith("@alice:a  !visio start")
    assert lines[1].endswith("@visio:a  Call")
    assert lines[2].strip() == "| ended"  # as it was edited last
    said = "> @alice:a [ 1.0 - 1.9 s] the first question today is the budget"
    assert " ".join(lines[3].split()) == said
    assert [line.strip() for line in lines[-3:]] == [
        "+ transcript.md",
        "+ transcript.vtt",
        "+ transcript.json",
    ]


def test_nothing_checked_is_nothing_proved() -> None:
    assert not Checks().passed
