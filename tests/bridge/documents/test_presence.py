"""Attendance and talk time: what overlaps counts once, and nothing is lost."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.documents import Participant, Presence, Record, attendance, rttm
from bridge.domain.documents.presence import joined, length, people
from bridge.domain.transcript import Utterance

STARTED = 1_795_424_400_000  # 2026-11-23T09:00:00Z
ANNE, ROOM = "@anne:interieur.example", "@salle:justice.example"


@pytest.mark.parametrize(
    ("intervals", "apart", "ms"),
    [
        ([], (), 0),
        ([(0, 10)], ((0, 10),), 10),
        ([(5, 5)], ((5, 5),), 0),
        ([(10, 20), (0, 5)], ((0, 5), (10, 20)), 15),
        ([(0, 10), (10, 20)], ((0, 20),), 20),
        ([(0, 10), (5, 20)], ((0, 20),), 20),
        ([(0, 30), (5, 10)], ((0, 30),), 30),
        ([(0, 30), (5, 10), (29, 31), (40, 41)], ((0, 31), (40, 41)), 32),
        ([(20, 10), (0, 1)], ((0, 1),), 1),  # a clock put back: no time at all, and none negative
    ],
)
def test_moments_count_once(
    intervals: list[tuple[int, int]], apart: tuple[tuple[int, int], ...], ms: int
) -> None:
    assert joined(intervals) == apart
    assert length(intervals) == ms


_SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


@given(intervals=_SPANS)
def test_the_length_is_the_number_of_moments(intervals: list[tuple[int, int]]) -> None:
    assert length(intervals) == len({ms for a, b in intervals for ms in range(a, b)})


def said(speaker: str, start_ms: int, end_ms: int, voice: str = "", **more: object) -> Utterance:
    values: dict[str, object] = {"segment": f"{speaker}{voice}{start_ms}", "text": "x", **more}
    return Utterance(
        speaker=speaker,
        start_ms=start_ms,
        end_ms=end_ms,
        voice=voice,
        **values,  # type: ignore[arg-type]
    )


def record(*utterances: Utterance, names: tuple[str, str] = ("Anne", "Salle 214")) -> Record:
    return Record(
        title="Budget",
        room_name="Budget",
        room_id="!r:a",
        conference="c1",
        started_ms=STARTED,
        ended_ms=STARTED + 60_000,
        participants=(
            Participant(
                ANNE,
                names[0],
                (  # two devices at once, and back after five seconds
                    Presence(STARTED, STARTED + 10_000),
                    Presence(STARTED + 8_000, STARTED + 20_000),
                    Presence(STARTED + 25_000, STARTED + 60_000),
                ),
            ),
            Participant(ROOM, names[1]),
        ),
        utterances=utterances,
        voices={(ROOM, "V1"): "Chloé"},
    )


def test_talk_time_of_people_and_voices() -> None:
    whole = record(
        said(ANNE, 0, 1500),
        said(ANNE, 1000, 2000, segment="b"),
        said(ROOM, 1000, 3000, "V1"),
        said(ROOM, 2000, 4000, "V2"),
        said(ROOM, 9000, 9500, segment="gone"),
        said(ROOM, 9000, 9500, segment="gone", rev=1, text=""),
    )
    anne, room = people(whole)
    assert (anne.spoken_ms, anne.voices) == (2000, ())
    assert (room.spoken_ms, room.voices) == (3000, (("V1", 2000), ("V2", 2000)))


def test_stays_of_several_devices_are_one_presence() -> None:
    anne, room = people(record())
    assert anne.present_ms == 55_000
    assert [(a - STARTED, b - STARTED) for a, b in anne.stays] == [(0, 20_000), (25_000, 60_000)]
    assert (room.present_ms, room.stays, room.spoken_ms) == (0, (), 0)


def test_attendance_as_a_spreadsheet() -> None:
    text = attendance(record(said(ANNE, 0, 1234), said(ROOM, 0, 500, "V1")), "fr")
    assert text.startswith("\ufeffname,account,")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows[0] == {
        "name": "Anne",
        "account": "matrix:u/anne:interieur.example",
        "server": "interieur.example",
        "voice": "",
        "first_in": "2026-11-23T09:00:00+00:00",
        "last_out": "2026-11-23T09:01:00+00:00",
        "stays": (
            "2026-11-23T09:00:00+00:00/2026-11-23T09:00:20+00:00 "
            "2026-11-23T09:00:25+00:00/2026-11-23T09:01:00+00:00"
        ),
        "present_s": "55.000",
        "spoken_s": "1.234",
    }
    assert (rows[1]["name"], rows[1]["first_in"], rows[1]["spoken_s"]) == ("Salle 214", "", "0.500")
    assert (rows[2]["name"], rows[2]["voice"], rows[2]["spoken_s"]) == ("Chloé", "V1", "0.500")
    assert len(rows) == 3


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1"])
def test_no_name_is_a_formula(name: str) -> None:
    text = attendance(record(names=(name, 'x,"y"')), "en")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows[0]["name"].startswith("'")
    assert rows[1]["name"] == 'x,"y"'


def test_rttm_has_a_line_an_utterance() -> None:
    text = rttm(record(said(ANNE, 500, 2250), said(ROOM, 3000, 3000, "V1")), "fr")
    assert text.splitlines() == [
        f"SPEAKER c1 1 0.500 1.750 <NA> <NA> {ANNE} <NA> <NA>",
        f"SPEAKER c1 1 3.000 0.001 <NA> <NA> {ROOM}/V1 <NA> <NA>",
    ]
    assert all(len(line.split()) == 10 for line in text.splitlines())
