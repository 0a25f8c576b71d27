"""A track's samples are put in time, and only speech reaches the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from bridge.scribe.engines import RATE, Event
from bridge.scribe.listener import Listener, SampleClock
from bridge.scribe.silero import Silero
from bridge.scribe.vad import detector
from tests.support.sound import Pcm, Speak, joined, noise, pink, quiet

EPOCH_MS = 1_795_424_400_000
FRAME = 480


class Taken:
    """A stream that keeps what it is given."""

    def __init__(self) -> None:
        self.utterances: list[tuple[int, bytes]] = []
        self.ends = 0

    def push(self, pcm: bytes, start: int) -> None:
        if len(self.utterances) == self.ends:
            self.utterances.append((start, b""))
        begun, so_far = self.utterances[-1]
        assert begun * 2 + len(so_far) == start * 2, "pushed audio has a hole"
        self.utterances[-1] = (begun, so_far + pcm)

    def end(self) -> None:
        self.ends += 1

    async def close(self) -> None:
        self.end()

    async def __aiter__(self) -> AsyncIterator[Event]:
        return
        yield


def listener(stream: Taken) -> Listener:
    return Listener(stream, detector(), Silero(), EPOCH_MS)


def played(pcm: Pcm, at_s: float = 0.0) -> Iterator[tuple[bytes, int]]:
    """Frames of 30 ms and the moments they arrive, when `pcm` begins `at_s` after the epoch."""
    for at in range(0, len(pcm), FRAME):
        yield pcm[at : at + FRAME].tobytes(), EPOCH_MS + int(at_s * 1000) + (at + FRAME) // 16


def test_the_first_word_of_a_track_lies_where_it_was_spoken(speak: Speak) -> None:
    stream = Taken()
    ear = listener(stream)
    said = speak("good morning everyone", "rms")
    for frame, now in played(joined(quiet(1), said, quiet(1)), at_s=12.0):
        ear.accept(frame, now)
    ((start, pcm),) = stream.utterances
    assert stream.ends == 1
    assert 12.4 < start / RATE < 13.2
    assert len(pcm) / 2 / RATE > len(said) / RATE - 0.6


@pytest.mark.parametrize("pcm", [noise(-25, 20), pink(-28, 20), quiet(20)])
def test_noise_never_reaches_the_engine(pcm: Pcm) -> None:
    stream = Taken()
    ear = listener(stream)
    for frame, now in played(pcm):
        ear.accept(frame, now)
    ear.finish()
    assert (stream.utterances, stream.ends) == ([], 0)


def test_frames_of_any_size_say_the_same(speak: Speak) -> None:
    said = joined(quiet(1), speak("can you hear me now", "rms"), quiet(1))
    whole, odd = Taken(), Taken()
    ear, other = listener(whole), listener(odd)
    for frame, now in played(said):
        ear.accept(frame, now)
    raw, at = said.tobytes(), 0
    for number in range(10_000):
        size = (160, 333, 480, 1000)[number % 4] * 2
        if at >= len(raw):
            break
        at += len(raw[at : at + size])
        other.accept(raw[at - size : at] if at % 2 == 0 else b"", EPOCH_MS + at // 32)
    assert len(odd.utterances) == len(whole.utterances) == 1
    assert abs(odd.utterances[0][0] - whole.utterances[0][0]) <= FRAME * 2


def test_a_mute_in_mid_word_ends_the_utterance(speak: Speak) -> None:
    stream = Taken()
    ear = listener(stream)
    said = speak("good morning everyone and welcome", "rms")
    now = 0
    for frame, now in played(joined(quiet(1), said[: len(said) // 2])):
        ear.accept(frame, now)
        ear.tick(now)
    assert (len(stream.utterances), stream.ends) == (1, 0)
    ear.tick(now + 500)
    assert stream.ends == 0
    ear.tick(now + 700)
    assert stream.ends == 1


def test_leaving_in_mid_word_flushes(speak: Speak) -> None:
    stream = Taken()
    ear = listener(stream)
    said = speak("good morning everyone and welcome", "rms")
    for frame, now in played(joined(quiet(1), said[: len(said) // 2])):
        ear.accept(frame, now)
    ear.finish()
    assert (len(stream.utterances), stream.ends) == (1, 1)


def place(clock: SampleClock, arrivals_ms: list[int]) -> list[tuple[int, bool]]:
    placed = [clock.place(FRAME, EPOCH_MS + at) for at in arrivals_ms]
    return [(start // 16, jumped) for start, jumped in placed]


def test_a_frame_handled_late_is_not_spoken_late() -> None:
    # A stall of 2 s: everything that waited arrives at once.
    steady = [1030 + 30 * n for n in range(40)]
    stalled = [max(at, 4000) if 1500 < at < 4000 else at for at in steady]
    assert place(SampleClock(EPOCH_MS), stalled)[-1] == (1000 + 30 * 39, False)


def test_missing_audio_moves_the_clock_forward() -> None:
    before = [30 + 30 * n for n in range(10)]
    after = [5030 + 30 * n for n in range(60)]
    placed = place(SampleClock(EPOCH_MS), before + after)
    assert [jumped for _, jumped in placed].count(True) == 1
    assert placed[-1][0] == 5000 + 30 * 59


def test_a_late_anchor_moves_back() -> None:
    # The first frame was handled 500 ms late; the next come on time.
    arrivals = [1530, *[1060 + 30 * n for n in range(60)]]
    assert place(SampleClock(EPOCH_MS), arrivals)[-1] == (1000 + 30 * 60, False)
