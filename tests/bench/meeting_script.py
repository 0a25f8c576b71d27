"""A meeting that was never held: who says what and when, its sound, and the judge of its text."""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer

from bridge.dev import speech
from bridge.scribe.engines import RATE
from tests.support.sound import Pcm, at_16k, quiet

VOICES = [
    *(("rms", 1.0), ("kal16", 1.0), ("awb", 1.0), ("slt", 1.0)),
    *(("rms", 1.12), ("kal16", 1.1), ("awb", 1.1), ("slt", 1.12)),
]
"""flite's voices and how much slower each speaks; pocketsphinx understands them (4 to 13 % WER)."""
NAMES = ["alice", "bob", "carla", "david", "emma", "frank", "gina", "henri"]
SENTENCES = [
    "good morning everyone and welcome to the meeting",
    "we agreed on the budget last week",
    "can you hear me now",
    "the next meeting is on monday morning",
    "the proposal was sent to all of the members",
    "I think we should wait until the end of the month",
    "thank you very much for your help",
    "the report will be ready on friday afternoon",
    "who is going to write the minutes today",
    "we need more time to read the documents",
    "let us move on to the next point",
    "I do not agree with the second part of the plan",
    "the new office will open in september",
    "please send me the list of people who will come",
    "that is a very good question",
    "we have to find the money for this project",
    "the school will be closed for two weeks",
    "I will call you back in the afternoon",
    "there are three things we have to decide today",
    "the law was changed at the beginning of the year",
    "it would be better to start with the small rooms",
    "she told me that the work is almost done",
    "how many people are going to use this service",
    "the first results are better than last year",
]


@dataclass(frozen=True)
class Turn:
    """What `who` says, and from when until when, in samples of the meeting."""

    who: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Meeting:
    turns: list[Turn]
    tracks: dict[str, Pcm]

    def text(self, who: str) -> str:
        return " ".join(turn.text for turn in self.turns if turn.who == who)


def written(people: int, seconds: float, seed: int, folder: Path) -> Meeting:
    """A seeded meeting: turns follow with short pauses; one in five begins before the last ends."""
    rng, said = random.Random(seed), {}
    names, turns, at = NAMES[:people], [], RATE
    free = dict.fromkeys(names, 0)
    while at < seconds * RATE:
        last = turns[-1].who if turns else ""
        who = rng.choice([n for n in names if n != last and free[n] <= at])
        text = rng.choice(SENTENCES)
        if (who, text) not in said:
            said[who, text] = _spoken(text, *VOICES[NAMES.index(who)], folder)
        end = at + len(said[who, text])
        turns.append(Turn(who, text, at, end))
        free[who] = end + int(1.2 * RATE)
        gap = -rng.uniform(0.5, 1.2) if rng.random() < 0.2 else rng.uniform(0.2, 0.8)
        at = end + int(gap * RATE)
    tracks = {}
    for name in names:
        length = max(turn.end for turn in turns) + 2 * RATE
        track = quiet(length / RATE).copy()
        for turn in turns:
            if turn.who == name:
                track[turn.start : turn.end] = said[name, turn.text]
        tracks[name] = track
    return Meeting(turns, tracks)


def _spoken(text: str, voice: str, stretch: float, folder: Path) -> Pcm:
    flite = shutil.which("flite")
    assert flite is not None, "apt-get install flite"
    file = folder / "turn.wav"
    slower = ["--setf", f"duration_stretch={stretch}"]
    subprocess.run(
        [flite, "-voice", voice, *slower, "-t", text, "-o", str(file)],
        check=True,
        capture_output=True,
    )
    return at_16k(speech.read_wav(file))


@dataclass(frozen=True)
class Verdict:
    """What became of a meeting's words."""

    turns: int
    segments: int
    wrong_name: list[str]
    lost: list[str]
    doubled: list[str]
    wer: float


SLACK = RATE
"""The jitter buffer and the way through the call shift words by up to so much."""


def judged(meeting: Meeting, segments: list[dict[str, Any]], began_ms: dict[str, int]) -> Verdict:
    """Compare what was written with what was said. `began_ms`: when each track began to play."""
    wrong, lost, doubled = [], [], []
    placed = [(s, *_place(s, began_ms)) for s in segments]
    for segment, start, end in placed:
        own = [t for t in meeting.turns if t.who == segment["identity"]]
        if not any(t.start - SLACK < end and start < t.end + SLACK for t in own):
            wrong.append(f"{segment['identity']}: {segment['text']}")
    for turn in meeting.turns:
        mine = [p for p in placed if p[0]["identity"] == turn.who]
        if not any(turn.start - SLACK < end and start < turn.end + SLACK for _, start, end in mine):
            lost.append(f"{turn.who}: {turn.text}")
    for at, (segment, start, end) in enumerate(placed):
        for other, begin, until in placed[at + 1 :]:
            if other["identity"] == segment["identity"] and min(end, until) > max(start, begin):
                doubled.append(f"{segment['identity']}: {segment['text']}")
    return Verdict(
        len(meeting.turns), len(segments), wrong, lost, doubled, wer(meeting, texts(segments))
    )


def _place(segment: dict[str, Any], began_ms: dict[str, int]) -> tuple[int, int]:
    began = began_ms[segment["identity"]]
    per_ms = RATE // 1000
    return (segment["start_ms"] - began) * per_ms, (segment["end_ms"] - began) * per_ms


def texts(segments: list[dict[str, Any]]) -> dict[str, str]:
    """What each said, in order."""
    ordered = sorted(segments, key=lambda s: int(s["start_ms"]))
    return {name: " ".join(s["text"] for s in ordered if s["identity"] == name) for name in NAMES}


def wer(meeting: Meeting, heard: dict[str, str]) -> float:
    """Word error rate over all the tracks, 0 to 1."""
    names = list(meeting.tracks)
    reference = [meeting.text(name).lower() for name in names]
    return float(jiwer.wer(reference, [heard.get(name, "").lower() for name in names]))
