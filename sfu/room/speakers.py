"""Active speakers from the audio levels in the packets (RFC 6464), by LiveKit's rule.

Over 500 ms: a speaker is active if at least 40 % of the time was louder than -35 dBov; the level
told is linear, smoothed over four intervals.
"""

from dataclasses import dataclass, field

from sfu.room.events import Speaker, SpeakersChanged

ACTIVE_LEVEL = 35  # -dBov: 0 is the loudest, 127 silence
INTERVAL = 0.5
MIN_SHARE = 0.40
SMOOTHING = 2 / (4 + 1)  # exponential average over 4 intervals
TOLD_STEP = 1 / 8  # a smaller change of level is not told
SILENCE = 127


@dataclass(slots=True)
class _Speaker:
    packets: int = 0
    loud: int = 0
    loudest: int = SILENCE
    level: float = 0.0
    told: Speaker | None = field(default=None)


class Speakers:
    """Observes every audio publication of a room."""

    def __init__(self) -> None:
        self._speakers: dict[str, _Speaker] = {}
        self._next = float("-inf")

    def observe(self, sid: str, level: int) -> None:
        """One packet's level in -dBov (0 loudest .. 127)."""
        speaker = self._speakers.get(sid)
        if speaker is None:
            speaker = self._speakers[sid] = _Speaker()
        speaker.packets += 1
        if level <= ACTIVE_LEVEL:
            speaker.loud += 1
            speaker.loudest = min(speaker.loudest, level)

    def forget(self, sid: str) -> Speaker | None:
        """Drop a publication; its last word if it was told as active."""
        speaker = self._speakers.pop(sid, None)
        if speaker is None or speaker.told is None or not speaker.told.active:
            return None
        return Speaker(sid, 0.0, False)

    def tick(self, now: float) -> SpeakersChanged | None:
        """The changes of an elapsed interval; None between intervals or without a change."""
        if now < self._next:
            return None
        self._next = now + INTERVAL
        changes = [
            change
            for sid, speaker in self._speakers.items()
            if (change := _evaluate(sid, speaker)) is not None
        ]
        return SpeakersChanged(tuple(changes)) if changes else None


def _evaluate(sid: str, speaker: _Speaker) -> Speaker | None:
    expected = INTERVAL / 0.020  # packets of 20 ms; silence may be sent as nothing at all (DTX)
    share = speaker.loud / max(speaker.packets, expected)
    heard = 10 ** (-speaker.loudest / 20) if share >= MIN_SHARE else 0.0
    speaker.level += (heard - speaker.level) * SMOOTHING
    speaker.packets = speaker.loud = 0
    speaker.loudest = SILENCE
    floor = 10 ** (-ACTIVE_LEVEL / 20)
    active = speaker.level >= floor
    state = Speaker(sid, round(speaker.level, 3) if active else 0.0, active)
    before = speaker.told or Speaker(sid, 0.0, False)
    if state.active == before.active and abs(state.level - before.level) < TOLD_STEP:
        return None
    speaker.told = state
    return state
