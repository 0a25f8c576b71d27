"""Several people at one microphone: which of their voices an answer's voices are, and whose words.

Labels are "V1", "V2"... in the order of their first words, for one conference alone. Pure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.scribe.diarizer import VoiceTurn
from bridge.scribe.engines import RATE
from bridge.scribe.merge import Piece

PER_MS = RATE // 1000
SAME_S = 0.7
"""Voices of two answers that agree for so long are one: the windows they are of overlap."""
SIMILAR = 0.6
"""...or whose prints are so near (cosine), where they have not spoken within both windows."""
NEW_S = 2.5
"""A voice that nobody knows counts once it has spoken for so long in one window. Live, a window's
first answers see one person as two for a moment: this is what keeps them from being counted."""
ISLAND_MS = 450
"""Fewer milliseconds of another voice within an utterance are a mistake at its edge."""
NEAR_MS = 700
"""A word between two turns belongs to the nearer one, if it is near at all."""

Print = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What one voice says of an utterance. Times are milliseconds since the start."""

    text: str
    start_ms: int
    end_ms: int
    words: tuple[tuple[str, int, int], ...]
    voice: str


class Roster:
    """The voices of one microphone, as they become known. At most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._prints: dict[str, tuple[Print, float]] = {}
        self._turns: tuple[VoiceTurn, ...] = ()

    @property
    def voices(self) -> tuple[str, ...]:
        """All that have been heard, by number."""
        return tuple(f"V{number}" for number in range(1, len(self._prints) + 1))

    def learn(
        self, turns: Sequence[VoiceTurn], prints: Mapping[str, Print]
    ) -> tuple[VoiceTurn, ...]:
        """An answer's turns under the roster's labels; those of nobody known yet have none ("").

        `turns` lie in the conference's time and overlap with those of the answer before.
        """
        names = self._known(turns, prints)
        spoken = _seconds(turns)
        for voice in _by_first_word(turns):
            lasting = spoken[voice] >= NEW_S or not self._prints
            if voice not in names and lasting and not self._full:
                names[voice] = self._new(prints.get(voice, ()), spoken[voice])
        # Too short to count as somebody new: the most like of those who are known.
        for voice in spoken.keys() - names.keys():
            names[voice] = self._nearest(prints.get(voice, ()), ())[0]
        self._remember(names, prints, spoken)
        self._turns = tuple(VoiceTurn(t.start, t.end, names[t.voice]) for t in turns)
        return self._turns

    def settle(
        self, turns: Sequence[VoiceTurn], prints: Mapping[str, Print], live: Sequence[VoiceTurn]
    ) -> tuple[VoiceTurn, ...]:
        """The turns of the last answer of all, under the labels that `live` has given most of them.

        Labels that were shown keep their number, for somebody may have given them a name.
        """
        names = _agreeing(turns, [turn for turn in live if turn.voice])
        spoken = _seconds(turns)
        for voice in _by_first_word(turns):
            if voice not in names:
                names[voice] = self._again(prints.get(voice, ()), spoken[voice], names.values())
        self._remember(names, prints, spoken)
        self._turns = ()
        return tuple(VoiceTurn(t.start, t.end, names[t.voice]) for t in turns)

    def _again(self, vector: Print, seconds: float, taken: Iterable[str]) -> str:
        voice, likeness = self._nearest(vector, taken)
        if voice and likeness >= SIMILAR:
            return voice
        return self._nearest(vector, ())[0] if self._full else self._new(vector, seconds)

    @property
    def _full(self) -> bool:
        return len(self._prints) >= self._most

    def _known(self, turns: Sequence[VoiceTurn], prints: Mapping[str, Print]) -> dict[str, str]:
        names = _agreeing(turns, self._turns)
        for voice in _by_first_word(turns):
            if voice not in names:
                nearest, likeness = self._nearest(prints.get(voice, ()), names.values())
                if nearest and likeness >= SIMILAR:
                    names[voice] = nearest
        return names

    def _nearest(self, vector: Print, taken: Iterable[str]) -> tuple[str, float]:
        """The known voice most like it, but for some, and how much."""
        others = set(taken)
        near = [
            (cosine(vector, known), voice)
            for voice, (known, _) in self._prints.items()
            if voice not in others
        ]
        likeness, voice = max(near, default=(0.0, ""))
        return voice, likeness

    def _new(self, vector: Print, seconds: float) -> str:
        voice = f"V{len(self._prints) + 1}"
        self._prints[voice] = (vector, seconds)
        return voice

    def _remember(
        self, names: Mapping[str, str], prints: Mapping[str, Print], spoken: Mapping[str, float]
    ) -> None:
        # The print of the longest stretch heard of a voice is the best there is of it.
        for voice, label in names.items():
            if label and voice in prints and spoken[voice] >= self._prints[label][1]:
                self._prints[label] = (prints[voice], spoken[voice])


def cut(piece: Piece, turns: Sequence[VoiceTurn]) -> list[Part]:
    """An utterance at the changes of voice; in one part where its words have no times."""
    if not piece.words:
        voice = _most_of(piece.start_ms, piece.end_ms, turns)
        return [Part(piece.text, piece.start_ms, piece.end_ms, (), voice)]
    runs: list[tuple[str, list[tuple[str, int, int]]]] = []
    for word in piece.words:
        voice = _most_of(word[1], word[2], turns)
        if runs and runs[-1][0] == voice:
            runs[-1][1].append(word)
        else:
            runs.append((voice, [word]))
    return [_part(piece, voice, words) for voice, words in _without_islands(runs)]


def likely(piece: Piece, turns: Sequence[VoiceTurn]) -> str:
    """Whose words a piece holds for the most part, as far as it has been looked at; '' if not."""
    start, end = piece.start_ms * PER_MS, piece.end_ms * PER_MS
    spoken: defaultdict[str, int] = defaultdict(int)
    for turn in turns:
        spoken[turn.voice] += max(0, min(end, turn.end) - max(start, turn.start))
    voice = max(spoken, key=spoken.__getitem__, default="")
    return voice if spoken[voice] >= ISLAND_MS * PER_MS else ""


def part_id(segment: str, number: int) -> str:
    """Segment id of an utterance's part: the first one keeps the utterance's own."""
    return segment if number == 0 else f"{segment}.{number}"


def cosine(one: Print, other: Print) -> float:
    """Likeness of two prints, -1 to 1; 0 where there is nothing to compare."""
    lengths = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or lengths == 0:
        return 0.0
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


def _part(piece: Piece, voice: str, words: list[tuple[str, int, int]]) -> Part:
    whole = len(words) == len(piece.words)
    text = piece.text if whole else " ".join(word for word, _, _ in words)
    return Part(text, words[0][1], words[-1][2], tuple(words), voice)


def _without_islands(
    runs: list[tuple[str, list[tuple[str, int, int]]]],
) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Runs too short to be anybody's are given to the longer one beside them."""
    while len(runs) > 1:
        lengths = [words[-1][2] - words[0][1] for _, words in runs]
        shortest = min(range(len(runs)), key=lengths.__getitem__)
        if lengths[shortest] >= ISLAND_MS and all(voice for voice, _ in runs):
            break
        if lengths[shortest] >= ISLAND_MS:
            shortest = next(at for at, (voice, _) in enumerate(runs) if not voice)
        beside = [at for at in (shortest - 1, shortest + 1) if 0 <= at < len(runs)]
        voice = runs[max(beside, key=lengths.__getitem__)][0]
        runs[shortest] = (voice, runs[shortest][1])
        runs = _merged(runs)
    return runs


def _merged(
    runs: list[tuple[str, list[tuple[str, int, int]]]],
) -> list[tuple[str, list[tuple[str, int, int]]]]:
    merged: list[tuple[str, list[tuple[str, int, int]]]] = []
    for voice, words in runs:
        if merged and merged[-1][0] == voice:
            merged[-1][1].extend(words)
        else:
            merged.append((voice, list(words)))
    return merged


def _most_of(start_ms: int, end_ms: int, turns: Sequence[VoiceTurn]) -> str:
    """The voice that speaks for most of a stretch, or nearest to it."""
    start, end = start_ms * PER_MS, max(end_ms, start_ms + 1) * PER_MS
    spoken: defaultdict[str, int] = defaultdict(int)
    distances = []
    for turn in turns:
        common = min(end, turn.end) - max(start, turn.start)
        if common > 0:
            spoken[turn.voice] += common
        else:
            distances.append((-common, turn.voice))
    if spoken:
        return max(spoken, key=spoken.__getitem__)
    distance, voice = min(distances, default=(0, ""))
    return voice if distance <= NEAR_MS * PER_MS else ""


def _agreeing(turns: Sequence[VoiceTurn], known: Sequence[VoiceTurn]) -> dict[str, str]:
    """Which known voice each voice is, by the time both say it speaks; none is given twice."""
    common: defaultdict[tuple[str, str], int] = defaultdict(int)
    for turn in turns:
        for other in known:
            overlap = min(turn.end, other.end) - max(turn.start, other.start)
            if overlap > 0 and other.voice:
                common[turn.voice, other.voice] += overlap
    names: dict[str, str] = {}
    for (voice, label), samples in sorted(common.items(), key=lambda one: -one[1]):
        if voice not in names and label not in names.values() and samples >= SAME_S * RATE:
            names[voice] = label
    return names


def _seconds(turns: Sequence[VoiceTurn]) -> dict[str, float]:
    spoken: defaultdict[str, float] = defaultdict(float)
    for turn in turns:
        spoken[turn.voice] += (turn.end - turn.start) / RATE
    return spoken


def _by_first_word(turns: Sequence[VoiceTurn]) -> list[str]:
    return list(dict.fromkeys(turn.voice for turn in sorted(turns, key=lambda t: t.start)))
