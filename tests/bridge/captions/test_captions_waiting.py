"""What waits for one who watches captions, and what those get who come back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bridge.domain.captions import LONGEST, RESUME_MOST, RESUME_MS, Caption, Latest, Waiting, read

FRAME: dict[str, Any] = {
    "type": "caption",
    "conference": "c1",
    "segment": "s-0",
    "identity": "@anne:a:D",
    "text": "bonjour",
    "final": False,
    "language": "fr",
    "start_ms": 1200,
    "voice": "",
}


def caption(segment: str, text: str = "bonjour", *, final: bool = True) -> Caption:
    return Caption(
        segment=segment,
        user_id="@anne:a",
        name="Anne",
        text=text,
        final=final,
        language="fr",
        start_ms=0,
    )


class Watched(Waiting[Caption]):
    def show(self, one: Caption) -> None:
        self.put(one.segment, one, final=one.final)

    def texts(self) -> list[str]:
        return [one.text for one in self.take()[1]]


def test_a_frame_is_read() -> None:
    spoken = read({**FRAME, "final": True, "voice": "V1", "later": "?"})
    assert spoken is not None
    assert (spoken.conference, spoken.identity) == ("c1", "@anne:a:D")
    shown = spoken.caption("@anne:a", "Anne")
    assert shown == dataclasses.replace(caption("s-0"), start_ms=1200, voice="V1")
    long = read({**FRAME, "text": "a" * (LONGEST + 1)})
    assert long is not None
    assert len(long.text) == LONGEST


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": None},
        {"conference": 3},
        {"segment": ""},
        {"start_ms": "0"},
        {"start_ms": True},
        {"voice": None},
    ],
)
def test_what_is_no_caption_is_left_aside(wrong: dict[str, Any]) -> None:
    assert read({**FRAME, **wrong}) is None


def test_the_newest_of_a_segment_waits_alone() -> None:
    waiting = Watched()
    waiting.show(caption("a", "bon", final=False))
    waiting.show(caption("b", "oui", final=False))
    waiting.show(caption("a", "bonjour", final=False))
    assert len(waiting) == 2
    assert waiting.texts() == ["bonjour", "oui"]
    assert waiting.texts() == []


def test_a_final_takes_its_interims_place_and_keeps_it() -> None:
    waiting = Watched()
    waiting.show(caption("a", "bon", final=False))
    waiting.show(caption("b", "Oui."))
    waiting.show(caption("a", "Bonjour."))
    waiting.show(caption("a", "bonj", final=False))
    assert waiting.texts() == ["Oui.", "Bonjour."]


def test_who_does_not_read_loses_interims_first_and_then_is_told_of_finals() -> None:
    waiting = Watched(most=3)
    for number in range(3):
        waiting.show(caption(f"f{number}", f"F{number}"))
    waiting.show(caption("i", "i", final=False))
    assert waiting.take() == (0, [caption(f"f{n}", f"F{n}") for n in range(3)])
    for number in range(5):
        waiting.show(caption(f"f{number}", f"F{number}"))
    left_out, kept = waiting.take()
    assert left_out == 2
    assert [one.text for one in kept] == ["F2", "F3", "F4"]
    assert waiting.take() == (0, [])


def test_what_is_not_to_be_shown_any_more_does_not_wait() -> None:
    waiting = Watched(most=1)
    waiting.show(caption("a"))
    waiting.show(caption("b"))
    waiting.clear()
    assert waiting.take() == (0, [])


def test_who_comes_back_gets_what_came_after() -> None:
    latest = Latest()
    first, second, third = (latest.add(caption(name), 1000 * n) for n, name in enumerate("abc"))
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert latest.after(1, 3000) == [second, third]
    assert latest.missed(1, 3000) == 0
    assert latest.after(0, 3000) == latest.after(4, 3000) == []
    assert latest.missed(4, 3000) == 0


def test_a_minute_and_no_more_is_kept() -> None:
    latest = Latest()
    latest.add(caption("a"), 0)
    latest.add(caption("b"), 1000)
    latest.add(caption("c"), 2000)
    assert [one.segment for one in latest.after(1, RESUME_MS + 1001)] == ["c"]
    assert latest.missed(1, RESUME_MS + 1001) == 1
    latest.add(caption("d"), 3 * RESUME_MS)
    assert [one.segment for one in latest.after(1, 3 * RESUME_MS)] == ["d"]


def test_the_minute_is_bounded_too() -> None:
    latest = Latest()
    for number in range(RESUME_MOST + 10):
        latest.add(caption(str(number)), 0)
    assert len(latest.after(1, 0)) == RESUME_MOST
    assert latest.missed(1, 0) == 9
