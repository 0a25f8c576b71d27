"""Utterances are found where somebody speaks, whole; noise is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.scribe.vad import (
    FRAME,
    LONGEST,
    RATE,
    Ended,
    Endpointer,
    Evidence,
    Speech,
    decibels,
    detector,
    is_voiced,
)
from tests.support.sound import Pcm, Speak, clipped, joined, noise, pink, quiet

Found = tuple[float, float, Evidence]


def utterances(pcm: Pcm) -> list[Found]:
    """(start, end, evidence) of every utterance, in seconds."""
    endpointer = Endpointer(detector())
    found: list[Found] = []
    start: int | None = None
    events: list[Speech | Ended] = []
    for at in range(0, len(pcm) - FRAME + 1, FRAME):
        events += endpointer.process(pcm[at : at + FRAME].tobytes(), at)
    for event in events + endpointer.finish():
        if isinstance(event, Speech):
            start = event.start if start is None else start
        else:
            assert start is not None
            found.append((start / RATE, event.end / RATE, event.evidence))
            start = None
    return found


class Always:
    """A detector that takes everything for speech."""

    def is_speech(self, frame: bytes) -> bool:
        return True


@pytest.mark.parametrize("voice", ["rms", "slt"])
@pytest.mark.parametrize("text", ["yes", "no", "good morning everyone and welcome"])
def test_a_sentence_is_found_with_room_before_its_first_sound(
    speak: Speak, voice: str, text: str
) -> None:
    said = speak(text, voice)
    ((start, end, evidence),) = utterances(joined(quiet(1), said, quiet(1)))
    # flite begins and ends with about 0.2 s of silence of its own
    assert 0.4 < start < 1.15
    assert 1 + len(said) / RATE - 0.3 < end < 1 + len(said) / RATE + 0.6
    assert evidence.plausible()


def test_two_sentences_are_two_utterances(speak: Speak) -> None:
    one, two = speak("we agreed on the budget", "rms"), speak("thank you", "rms")
    assert len(utterances(joined(quiet(1), one, quiet(1), two, quiet(1)))) == 2


def test_speech_is_believed_over_the_noise_of_a_room(speak: Speak) -> None:
    said = speak("good morning everyone and welcome to the meeting", "rms")
    room = pink(-45, 2 + len(said) / RATE)
    loud = clipped(room.astype(float) + joined(quiet(1), said, quiet(1))[: len(room)])
    found = utterances(loud)
    assert len(found) == 1
    assert found[0][2].plausible(certain=True)


@pytest.mark.parametrize(
    "pcm",
    [
        noise(-20, 30),
        noise(-40, 30),
        pink(-25, 30),
        pink(-35, 30, seed=3),
        np.zeros(RATE * 5, np.int16),
        np.full(RATE * 5, 12_000, np.int16),
    ],
    ids=["white -20", "white -40", "pink -25", "pink -35", "digital silence", "direct current"],
)
def test_steady_noise_is_never_believed(pcm: Pcm) -> None:
    assert not [e for _, _, e in utterances(pcm) if e.plausible() or e.plausible(certain=True)]


@pytest.mark.parametrize("seed", range(4))
def test_bursts_of_noise_are_never_believed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gate = np.repeat(rng.random(60) > 0.5, RATE // 2)
    for wave in (noise(-25, 30, seed), pink(-25, 30, seed)):
        found = utterances(clipped(wave * gate))
        assert not [e for _, _, e in found if e.plausible() or e.plausible(certain=True)]


def test_a_hum_of_the_mains_is_not_speech() -> None:
    time = np.arange(RATE * 20) / RATE
    hum = 3000 * np.sin(2 * np.pi * 50 * time) + 1500 * np.sin(2 * np.pi * 150 * time)
    assert utterances(clipped(hum)) == []


def test_an_endless_utterance_is_cut() -> None:
    endpointer = Endpointer(Always())
    lengths, begun = [], 0
    tones = clipped(8000 * np.sin(np.arange(FRAME * 2500) ** 1.05 / 30))
    for number in range(2500):
        # every tenth frame is faint, so that the level floor stays low
        scale = 0.001 if number % 10 == 0 else 1
        frame = clipped(tones[number * FRAME : (number + 1) * FRAME] * scale)
        for event in endpointer.process(frame.tobytes(), number * FRAME):
            if isinstance(event, Ended):
                lengths.append((event.end - begun) // FRAME)
                begun = event.end
    assert len(lengths) >= 2
    assert max(lengths) <= LONGEST + 20


def test_a_long_utterance_ends_at_a_breath(speak: Speak) -> None:
    said = speak("the proposal was sent to all of the members and we agreed on it", "rms")
    talk = joined(quiet(1), *[said] * 8, quiet(1))
    found = utterances(talk)
    assert len(found) > 1
    assert max(end - start for start, end, _ in found) < 20


def test_an_ended_track_ends_the_utterance(speak: Speak) -> None:
    said = speak("good morning everyone", "rms")
    found = utterances(joined(quiet(1), said[: len(said) // 2]))
    assert len(found) == 1
    assert Endpointer(Always()).finish() == []


def test_level_of_full_scale_and_of_silence() -> None:
    assert decibels(np.full(FRAME, -32768, np.int16)) == pytest.approx(0, abs=0.01)
    assert decibels(np.zeros(FRAME, np.int16)) == -96


@pytest.mark.parametrize("pitch", [75, 120, 220, 390])
def test_a_pitch_of_people_is_voiced(pitch: int) -> None:
    time = np.arange(FRAME) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 8))
    assert is_voiced(clipped(8000 * np.asarray(buzz)))


def test_silence_and_noise_are_not_voiced() -> None:
    assert not is_voiced(np.zeros(FRAME, np.int16))
    loud = noise(-20, 10)
    frames = [loud[at : at + FRAME] for at in range(0, len(loud) - FRAME, FRAME)]
    assert sum(map(is_voiced, frames)) < len(frames) * 0.02
