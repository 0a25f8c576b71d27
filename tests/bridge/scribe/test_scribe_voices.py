"""Whose words they are: labels over windows and blocks, utterances cut where the voice changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from bridge.scribe import shared
from bridge.scribe.diarizer import Diarized, NotDiarized, VoiceTurn
from bridge.scribe.engines import RATE
from bridge.scribe.merge import Piece
from bridge.scribe.reel import PAUSE, Reel
from bridge.scribe.shared import SharedMicrophones
from bridge.scribe.voices import Roster, cosine, cut, likely

ANNE, BOB, CLEO = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def turn(start: float, end: float, voice: str) -> VoiceTurn:
    return VoiceTurn(int(start * RATE), int(end * RATE), voice)


def labels(turns: tuple[VoiceTurn, ...]) -> list[str]:
    return [one.voice for one in turns]


def piece(*words: tuple[str, int, int], segment: str = "s-0") -> Piece:
    text = " ".join(word for word, _, _ in words)
    return Piece(
        segment=segment,
        text=text,
        start_ms=words[0][1],
        end_ms=words[-1][2],
        final=True,
        words=words,
    )


# ---- the reel


def test_audio_is_joined_with_short_pauses_and_keeps_its_place_in_time() -> None:
    reel = Reel(100 * RATE)
    reel.add(bytes(2 * RATE), 0)
    reel.add(bytes(RATE), RATE)  # goes on without a gap
    reel.add(bytes(2 * RATE), 60 * RATE)
    audio = reel.joined()
    assert len(audio.pcm) // 2 == 2.5 * RATE + PAUSE
    assert audio.spoken(0, RATE) == [(0, RATE)]
    across = audio.spoken(RATE, 2 * RATE + PAUSE)
    assert across[0] == (RATE, RATE * 3 // 2)
    assert across[1] == (60 * RATE, 60 * RATE + RATE // 2)
    assert audio.spoken(RATE * 3 // 2, RATE * 3 // 2 + PAUSE) == []


def test_a_reel_is_bounded_and_gives_its_end() -> None:
    reel = Reel(3 * RATE)
    for second in range(0, 20, 2):
        reel.add(bytes(2 * RATE), second * RATE)
    assert reel.samples == 3 * RATE
    assert reel.joined().splices[0].start == 14 * RATE
    assert reel.joined(last=RATE).splices[0].start == 18 * RATE
    assert Reel(1).joined().pcm == b""


def test_audio_that_goes_on_is_one_stretch() -> None:
    reel = Reel(10 * RATE)
    reel.add(b"ab" * 800, 5)
    reel.add(b"cd" * 800, 805)
    assert reel.joined().pcm == b"ab" * 800 + b"cd" * 800


# ---- the roster


def test_voices_are_numbered_by_their_first_words() -> None:
    roster = Roster(8)
    turns = [turn(0, 3, "x"), turn(3, 6, "a"), turn(6, 9, "x")]
    assert labels(roster.learn(turns, {"x": ANNE, "a": BOB})) == ["V1", "V2", "V1"]
    assert roster.voices == ("V1", "V2")


def test_windows_that_overlap_agree_by_time_whatever_the_answers_names() -> None:
    roster = Roster(8)
    roster.learn([turn(0, 3, "a"), turn(3, 6, "b")], {})
    turns = [turn(3, 6, "a"), turn(6, 9, "b"), turn(1, 3, "b")]
    assert labels(roster.learn(turns, {})) == ["V2", "V1", "V1"]


def test_a_voice_not_heard_for_long_is_known_again_by_its_sound() -> None:
    roster = Roster(8)
    roster.learn([turn(0, 3, "a"), turn(3, 6, "b")], {"a": ANNE, "b": BOB})
    roster.learn([turn(100, 103, "a")], {"a": BOB})
    found = roster.learn([turn(200, 203, "a"), turn(203, 206, "b")], {"a": CLEO, "b": ANNE})
    assert labels(found) == ["V3", "V1"]


def test_a_short_voice_is_nobody_new() -> None:
    roster = Roster(8)
    assert labels(roster.learn([turn(0, 1, "a")], {"a": ANNE})) == ["V1"]
    found = roster.learn([turn(0, 1, "a"), turn(1, 2, "b")], {"a": ANNE, "b": (0.5, 0.5, 0.0)})
    assert labels(found) == ["V1", "V1"]
    assert labels(Roster(8).learn([], {})) == []


def test_no_more_voices_than_people() -> None:
    roster = Roster(1)
    turns = [turn(0, 9, "a"), turn(9, 18, "b")]
    assert labels(roster.learn(turns, {"a": ANNE, "b": (0.1, 1.0, 0.0)})) == ["V1", "V1"]
    settled = roster.settle(turns, {"a": ANNE, "b": BOB}, [])
    assert labels(settled) == ["V1", "V1"]


def test_settling_keeps_the_numbers_that_were_shown() -> None:
    roster = Roster(8)
    live = [turn(0, 3, "V1"), turn(3, 6, "V2"), turn(6, 9, "V3"), turn(9, 10, "")]
    roster.learn(
        [turn(0, 3, "a"), turn(3, 6, "b"), turn(6, 9, "c")], {"a": ANNE, "b": BOB, "c": CLEO}
    )
    # V2 was V1 all the time; the first words are of somebody who was not told apart from her.
    turns = [turn(0, 6, "x"), turn(6, 10, "y"), turn(10, 12, "z"), turn(12, 13, "w")]
    prints = {"x": ANNE, "y": CLEO, "z": BOB, "w": (0.0, 0.5, -0.8)}
    assert labels(roster.settle(turns, prints, live)) == ["V1", "V3", "V2", "V4"]


def test_likeness_of_nothing() -> None:
    assert cosine((), ANNE) == cosine((0.0, 0.0, 0.0), ANNE) == 0.0
    assert cosine(ANNE, (2.0, 0.0, 0.0)) == pytest.approx(1.0)


# ---- cutting


LATER = (("thank", 1100, 1500), ("you", 1500, 2100))


def test_an_utterance_is_cut_where_the_voice_changes() -> None:
    said = piece(
        ("good", 0, 500), ("morning", 500, 1000), ("thank", 1100, 1500), ("you", 1500, 2100)
    )
    parts = cut(said, (turn(0, 1.05, "V1"), turn(1.05, 3, "V2")))
    assert [(p.text, p.voice, p.start_ms, p.end_ms) for p in parts] == [
        ("good morning", "V1", 0, 1000),
        ("thank you", "V2", 1100, 2100),
    ]
    assert parts[1].words == LATER


def test_an_utterance_of_one_voice_keeps_its_text_as_it_is() -> None:
    said = piece(("good", 0, 500), ("morning", 500, 1000))
    (part,) = cut(said, (turn(0, 1, "V1"),))
    assert (part.text, part.voice) == (said.text, "V1")
    (unknown,) = cut(said, ())
    assert unknown.voice == ""


def test_a_word_at_the_edge_is_not_another_person() -> None:
    said = piece(("good", 0, 500), ("old", 500, 800), ("morning", 800, 1600))
    turns = (turn(0, 0.5, "V1"), turn(0.5, 0.8, "V2"), turn(0.8, 2, "V1"))
    assert [part.voice for part in cut(said, turns)] == ["V1"]


def test_words_that_no_turn_is_near_go_with_their_neighbours() -> None:
    said = piece(("good", 0, 500), ("morning", 500, 1000), ("all", 4000, 5000))
    assert [part.voice for part in cut(said, (turn(0, 1, "V1"),))] == ["V1"]


def test_without_words_the_utterance_is_whose_it_is_mostly() -> None:
    said = Piece(segment="s", text="[…]", start_ms=0, end_ms=3000, final=True)
    assert cut(said, (turn(0, 1, "V1"), turn(1, 3, "V2")))[0].voice == "V2"
    assert cut(said, (turn(9, 10, "V1"),))[0].voice == ""


@pytest.mark.parametrize(
    ("turns", "voice"),
    [
        ((), ""),
        ((turn(0, 0.8, "V1"), turn(0.8, 3, "V2")), "V2"),
        ((turn(0, 0.4, "V1"),), ""),  # too little of it has been looked at
        ((turn(5, 9, "V1"),), ""),
        ((turn(0, 2, ""),), ""),
    ],
)
def test_a_caption_has_the_label_of_what_has_been_looked_at(
    turns: tuple[VoiceTurn, ...], voice: str
) -> None:
    assert likely(piece(("good", 0, 1000), ("morning", 1000, 2100)), turns) == voice


# ---- microphones, with a diarizer whose answers are written down


class Script:
    """A diarizer that answers from a list; it is real in test_diarizer_real.py."""

    most = 8

    def __init__(self, *answers: Diarized | Exception) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[int, bool]] = []
        self.warmed = 0

    def warm(self) -> None:
        self.warmed += 1

    async def diarize(self, pcm: bytes, max_speakers: int, *, patient: bool = False) -> Diarized:
        self.asked.append((len(pcm) // 2, patient))
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Told:
    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def keep(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.frames) < count:
                self._changed.clear()
                await self._changed.wait()

    @property
    def shown(self) -> list[tuple[str, int, str, str]]:
        return [(f["segment"], f["rev"], f["text"], f.get("voice", "-")) for f in self.frames]


class NoStream:
    """What a tapped stream passes on."""

    def __init__(self) -> None:
        self.pushed: list[tuple[bytes, int]] = []

    def push(self, pcm: bytes, start: int) -> None:
        self.pushed.append((pcm, start))


def frame(said: Piece) -> dict[str, Any]:
    return {"segment": said.segment, "rev": 0, "text": said.text, "key": f"{said.segment}:0"}


def answer(*turns: VoiceTurn) -> Diarized:
    return Diarized(turns, {"a": ANNE, "b": BOB})


async def microphones(
    diarizer: Script | None, act: Callable[[SharedMicrophones, Told], Any]
) -> Told:
    told = Told()
    owned = SharedMicrophones(diarizer, told.keep)
    owned.flag({"room"})
    running = asyncio.create_task(owned.run())
    await act(owned, told)
    owned.finish()
    await asyncio.wait_for(running, 20)
    return told


TWO = piece(("good", 0, 900), ("morning", 900, 1800), ("thank", 2200, 3000), ("you", 3000, 3900))


async def test_live_labels_are_provisional_and_the_end_corrects_them_under_the_same_ids() -> None:
    live = answer(turn(0, 4, "a"))
    final = answer(turn(0, 2.1, "a"), turn(2.1, 4, "b"))

    async def act(owned: SharedMicrophones, told: Told) -> None:
        stream: Any = NoStream()
        owned.tapped(stream, "room").push(bytes(8 * RATE), 0)
        assert stream.pushed == [(bytes(8 * RATE), 0)]
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)

    script = Script(live, final)
    told = await microphones(script, act)
    assert told.shown == [
        ("s-0", 0, "good morning thank you", "V1"),
        ("s-0", 1, "good morning", "V1"),
        ("s-0.1", 1, "thank you", "V2"),
    ]
    assert [f.get("pass") for f in told.frames] == [None, "final", "final"]
    assert [f["key"] for f in told.frames] == ["s-0:0", "s-0:1", "s-0.1:1"]
    assert script.asked == [(4 * RATE, False), (4 * RATE, True)]


async def test_what_the_end_joins_again_is_emptied() -> None:
    live = answer(turn(0, 2, "a"), turn(2, 6, "b"))

    async def act(owned: SharedMicrophones, told: Told) -> None:
        owned.tapped(NoStream(), "room").push(bytes(12 * RATE), 0)  # type: ignore[arg-type]
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)

    told = await microphones(Script(live, answer(turn(0, 4, "a"))), act)
    assert told.shown == [
        ("s-0", 0, "good morning", "V1"),
        ("s-0.1", 0, "thank you", "V2"),
        ("s-0", 1, TWO.text, "V1"),
        ("s-0.1", 1, "", "V2"),
    ]


async def test_nothing_is_told_again_where_nothing_changed() -> None:
    same = answer(turn(0, 4, "a"))

    async def act(owned: SharedMicrophones, told: Told) -> None:
        owned.tapped(NoStream(), "room").push(bytes(8 * RATE), 0)  # type: ignore[arg-type]
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)

    told = await microphones(Script(same, same), act)
    assert told.shown == [("s-0", 0, TWO.text, "V1")]


async def test_a_diarizer_that_fails_costs_the_labels_alone() -> None:
    async def act(owned: SharedMicrophones, told: Told) -> None:
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)

    told = await microphones(Script(NotDiarized("gone"), NotDiarized("gone")), act)
    assert told.shown == [("s-0", 0, TWO.text, "")]


async def test_other_tracks_and_scribes_without_a_diarizer_are_as_ever() -> None:
    async def other(owned: SharedMicrophones, told: Told) -> None:
        await owned.told("somebody", TWO, frame(TWO))

    assert (await microphones(Script(), other)).shown == [("s-0", 0, TWO.text, "-")]

    async def without(owned: SharedMicrophones, told: Told) -> None:
        stream: Any = NoStream()
        assert owned.tapped(stream, "room") is stream
        await owned.told("room", TWO, frame(TWO))

    assert (await microphones(None, without)).shown == [("s-0", 0, TWO.text, "-")]


async def test_long_meetings_settle_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "BLOCK", 3 * RATE)
    script = Script(answer(turn(0, 4, "a")), answer(turn(0, 4, "a")))

    async def act(owned: SharedMicrophones, told: Told) -> None:
        owned.tapped(NoStream(), "room").push(bytes(8 * RATE), 0)  # type: ignore[arg-type]
        await owned.told("room", TWO, frame(TWO))
        async with asyncio.timeout(20):
            while len(script.asked) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)

    await microphones(script, act)
    assert [patient for _, patient in script.asked] == [False, True]


async def test_too_much_that_waits_goes_out_without_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "WAITING", 1)
    told = Told()
    owned = SharedMicrophones(Script(NotDiarized("late")), told.keep)
    owned.flag({"room"})
    for number in range(2):
        said = piece(("yes", 0, 100), segment=f"s-{number}")
        await owned.told("room", said, frame(said))
    assert told.shown == [("s-0", 0, "yes", "")]
    owned.finish()
    await owned.run()
    assert [one[0] for one in told.shown] == ["s-0", "s-1"]


async def test_who_opts_out_leaves_no_audio_behind() -> None:
    async def act(owned: SharedMicrophones, told: Told) -> None:
        owned.tapped(NoStream(), "room").push(bytes(8 * RATE), 0)  # type: ignore[arg-type]
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)
        owned.forget("room")
        owned.forget("nobody")

    script = Script(answer(turn(0, 4, "a")))
    await microphones(script, act)
    assert script.asked == [(4 * RATE, False)]


async def test_the_diarizer_is_warmed_when_a_microphone_is_first_flagged() -> None:
    script, told = Script(), Told()
    owned = SharedMicrophones(script, told.keep)
    owned.flag(())
    assert script.warmed == 0
    for people in ({"room"}, {"room"}, {"room", "other"}, {"other"}):
        owned.flag(people)
    assert script.warmed == 2
    SharedMicrophones(None, told.keep).flag({"room"})


async def test_captions_have_the_live_label_where_it_is_known() -> None:
    later = piece(("and", 3000, 3800), ("so", 3800, 4400), segment="s-1")

    async def act(owned: SharedMicrophones, told: Told) -> None:
        owned.tapped(NoStream(), "room").push(bytes(12 * RATE), 0)  # type: ignore[arg-type]
        assert owned.voice("room", TWO) == ""
        await owned.told("room", TWO, frame(TWO))
        await told.until(1)
        # The last look has already heard how this one begins.
        assert owned.voice("room", later) == "V2"
        assert owned.voice("somebody", later) == ""
        owned.flag(())
        assert owned.voice("room", later) == ""
        owned.forget("room")

    turns = (turn(0, 2.1, "a"), turn(2.1, 5, "b"))
    await microphones(Script(answer(*turns)), act)
