"""Nothing but speech reaches an engine, and of speech nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from bridge.scribe.confirm import CLOSE, ENOUGH, HELD, LEAD, PLENTY, Confirmer
from bridge.scribe.engines import RATE
from bridge.scribe.listener import Listener
from bridge.scribe.silero import CHUNK, CHUNK_BYTES, Silero
from bridge.scribe.vad import FRAME, Ended, Evidence, Speech, detector
from tests.bridge.scribe.test_scribe_listener import Taken
from tests.support import not_speech
from tests.support.sound import Pcm, Speak, clipped, joined, noise, pink, quiet

FIRST = [
    *("yes", "no", "we agreed", "can you hear me", "thank you", "the next point", "but not now"),
    *("so what", "I will", "it is late", "today", "please go on", "what about monday"),
]


def heard(pcm: Pcm) -> list[tuple[float, float]]:
    """From when until when something reached the engine, in seconds."""
    stream = Taken()
    listener = Listener(stream, detector(), Silero(), 0)
    for at in range(0, len(pcm), FRAME):
        listener.accept(pcm[at : at + FRAME].tobytes(), (at + FRAME) // 16)
    listener.finish()
    assert stream.ends == len(stream.utterances)
    return [
        (start / RATE, start / RATE + len(said) / 2 / RATE) for start, said in stream.utterances
    ]


@pytest.mark.parametrize("name", not_speech.ALL)
def test_what_is_no_speech_never_reaches_the_engine(name: str) -> None:
    assert heard(not_speech.ALL[name](20, 5)) == []


@pytest.mark.parametrize("voice", ["rms", "slt", "awb", "kal16"])
def test_the_first_word_after_a_pause_survives(speak: Speak, voice: str) -> None:
    """Each after two seconds of pause, in the noise of a room: 52 of 52 are whole."""
    words = [trimmed(speak(word, voice)) for word in FIRST]
    talk = joined(quiet(2), *(part for word in words for part in (word, quiet(2))))
    talk = clipped(talk.astype(np.float64) + pink(-62, len(talk) / RATE)[: len(talk)])
    stretches, at = heard(talk), 2.0
    for name, word in zip(FIRST, words, strict=True):
        until = at + len(word) / RATE
        assert any(a <= at and until <= b + 0.03 for a, b in stretches), (name, at, stretches)
        at = until + 2.0


def trimmed(pcm: Pcm) -> Pcm:
    """Without the silence before and after what is said."""
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > 0.05 * np.abs(pcm.astype(int)).max())
    return pcm[loud[0] : loud[-1] + 1]


def test_speech_after_minutes_of_noise_is_found_whole(speak: Speak) -> None:
    said = speak("we agreed on the budget last week", "rms")
    (stretch,) = heard(joined(not_speech.fan(60, 1), quiet(0.5), said, quiet(1)))
    assert stretch[0] < 60.8
    assert stretch[1] > 60.5 + len(said) / RATE - 0.3


def test_a_detector_uses_one_thread_and_leaves_the_environment() -> None:
    code = (
        "import os; from bridge.scribe.silero import Silero; s = Silero()\n"
        "for _ in range(3): s.judge(bytes(1024))\n"
        "print(len(os.listdir('/proc/self/task')), os.environ.get('OMP_THREAD_LIMIT'))"
    )
    free = {key: value for key, value in os.environ.items() if key != "OMP_THREAD_LIMIT"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=free
    )
    assert done.stdout.split() == ["1", "None"]


class Says:
    """A judge whose answers are known."""

    def __init__(self, answers: list[float]) -> None:
        self.answers = answers
        self.asked = self.forgotten = 0

    def judge(self, chunk: bytes) -> float:
        assert len(chunk) == CHUNK_BYTES
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]

    def forget(self) -> None:
        self.forgotten += 1


def evidence(plausible: bool) -> Evidence:
    levels = [-20.0, -40.0] * 20 if plausible else [-20.0] * 40
    return Evidence(levels, [True] * 40, 40)


def told(judge: Says, chunks: int, *, plausible: bool) -> list[Speech | Ended]:
    confirmer, found = Confirmer(judge), evidence(plausible)
    events: list[Speech | Ended] = []
    for number in range(chunks):
        events += confirmer.take(Speech(number * CHUNK, bytes(CHUNK_BYTES)), found)
    return events + confirmer.take(Ended(chunks * CHUNK, found), found)


@pytest.mark.parametrize(
    ("row", "plausible", "confirmed"),
    [
        (ENOUGH - 1, True, False),
        (ENOUGH, True, True),
        (PLENTY - 1, False, False),
        (PLENTY, False, True),
    ],
)
def test_how_much_speech_confirms(row: int, plausible: bool, confirmed: bool) -> None:
    judge = Says([0.1] * 20 + [0.9] * row + [0.1])
    assert bool(told(judge, 50, plausible=plausible)) is confirmed
    assert judge.forgotten == 1


def test_what_is_confirmed_begins_half_a_second_before_its_first_speech() -> None:
    events = told(Says([0.1] * 40 + [0.9]), 60, plausible=True)
    first = events[0]
    assert isinstance(first, Speech)
    assert first.start == 40 * CHUNK - LEAD
    position = first.start
    for event in events[:-1]:
        assert isinstance(event, Speech)
        assert event.start == position
        position += len(event.pcm) // 2
    assert events[-1] == Ended(60 * CHUNK, events[-1].evidence)  # type: ignore[union-attr]


def test_long_noise_is_not_held_for_ever() -> None:
    events = told(Says([0.6] + [0.1] * 999 + [0.9]), 1010, plausible=True)
    assert isinstance(events[0], Speech)
    assert len(events[0].pcm) // 2 <= HELD + CHUNK


def test_music_after_a_word_ends_it() -> None:
    events = told(Says([0.9] * 10 + [0.1]), 200, plausible=True)
    ends = [event.end for event in events if isinstance(event, Ended)]
    assert ends == [(10 + CLOSE) * CHUNK]


def test_speech_after_such_an_end_is_another_utterance_and_nothing_lies_in_both() -> None:
    events = told(Says([0.9] * 10 + [0.1] * 30 + [0.9]), 60, plausible=True)
    starts = [e.start for e in events if isinstance(e, Speech)]
    assert starts == sorted(set(starts))
    assert len([e for e in events if isinstance(e, Ended)]) == 2


def test_noise_alone_is_asked_about_only_while_the_gate_is_open() -> None:
    judge = Says([0.0])
    confirmer = Confirmer(judge)
    assert confirmer.take(Ended(0, evidence(False)), evidence(False)) == []
    assert judge.asked == 0
    assert heard(noise(-30, 3)) == []
