"""Who is heard in a large room: above a number of microphones, the loudest alone (RFC 6464).

Everybody receiving everybody is n * (n - 1) streams: 50 people would be more than 120 000 packets a
second, most of them silence. More than three people talking at once is noise to those who listen;
Jitsi's bridge, where this is switched on, passes the three loudest (`num-loudest`). Twice as many
leave room for an interpreter and for laughter, and for the one place one's own voice may take.

A place is kept until somebody needs it: pauses of a talk cost nothing. Who begins to talk takes a
free place, or that of who has been silent the longest, with the packets kept from just before, so
that no word loses its start. Only where all places are taken by people who talk at this moment, the
newcomer must be clearly louder than the quietest of them.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from sfu.room.drops import Drop, DropCounts
from sfu.room.view import View

VOICED = 50
"""-dBov: what is louder may be speech. Suppressed noise is below -60, soft speech above."""
PAUSE = 0.5
"""Seconds of silence in a talk; who is silent longer may lose the place to who talks."""
STAY = 1.0
"""Seconds a place is kept however loud others are: what changes too fast helps nobody."""
LOUDER = 6.0
"""dB: twice the amplitude. What is less is not heard as louder while others talk."""
RISE, FALL = 0.3, 0.05
"""Weights of one packet of 20 ms in the loudness; a syllable counts at once, a gap hardly."""
ONSET = 0.2
"""Seconds kept from before the first loud packet: consonants at the start of words are soft."""
LATEST = 0.5
"""Seconds that a packet may come late: a listener's buffer grows by as much for a while."""
KEPT = 25
"""Packets kept of a publication that is left out: as long, in packets of 20 ms."""
SILENCE = 127

NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorLimits:
    """`places`: heard at a time (0: everybody); `above`: microphones up to which all are heard."""

    places: int = 6
    above: int = 10


class Turn(NamedTuple):
    """What is passed on now, in order; `begins`: after others of the publication were left out."""

    views: tuple[View, ...]
    begins: bool = False


LEFT_OUT = Turn(())


@dataclass(slots=True)
class _Voice:
    loudness: float = 0.0  # 0 silence .. 127
    spoke: float = NEVER
    began: float = NEVER
    entered: float = NEVER
    heard: bool = True
    kept: deque[View] = field(default_factory=deque)


class Floor:
    """The places of one room."""

    def __init__(self, limits: FloorLimits, drops: DropCounts) -> None:
        self._limits = limits
        self._drops = drops
        self._voices: dict[str, _Voice] = {}
        self._holders: dict[str, _Voice] = {}

    def enter(self, sid: str) -> None:
        """An audio publication is there."""
        self._voices[sid] = _Voice()

    def leave(self, sid: str) -> None:
        """It is gone."""
        voice = self._voices.pop(sid, None)
        self._holders.pop(sid, None)
        if voice is not None and voice.kept:
            self._drops[Drop.NOT_AMONG_LOUDEST] += len(voice.kept)

    @property
    def limited(self) -> bool:
        """Whether there are so many microphones that not all are heard."""
        return 0 < self._limits.places < len(self._voices) > self._limits.above

    def hear(self, sid: str, level: int | None, view: View) -> Turn:
        """One packet; `level` in -dBov, 0 the loudest. None: cannot be judged, is passed on."""
        voice = self._voices[sid]
        if level is not None:
            _note(voice, level, view.now)
        if level is None or not self.limited:
            return self._pass(voice, view)
        if sid in self._holders:
            return self._pass(voice, view)
        talks = level <= VOICED
        if talks and self._make_room(voice, view.now):
            self._holders[sid] = voice
            voice.entered = view.now
            return self._pass(voice, view)
        self._keep(voice, view)
        return LEFT_OUT

    def _pass(self, voice: _Voice, view: View) -> Turn:
        if voice.heard:
            return Turn((view,))
        voice.heard = True
        talks = view.now - voice.spoke <= PAUSE
        since = max((voice.began if talks else view.now) - ONSET, view.now - LATEST)
        while voice.kept and voice.kept[0].now < since:
            self._drop_oldest(voice)
        told = list(voice.kept)
        voice.kept.clear()
        told.append(view)
        return Turn(tuple(sorted(told, key=lambda v: (v.epoch, v.number))), begins=True)

    def _keep(self, voice: _Voice, view: View) -> None:
        voice.heard = False
        voice.kept.append(view)
        if len(voice.kept) > KEPT:
            self._drop_oldest(voice)

    def _drop_oldest(self, voice: _Voice) -> None:
        voice.kept.popleft()
        self._drops[Drop.NOT_AMONG_LOUDEST] += 1

    def _make_room(self, newcomer: _Voice, now: float) -> bool:
        """Whether there is a place, perhaps by taking it from another."""
        if len(self._holders) < self._limits.places:
            return True
        silent = min(self._holders, key=lambda sid: self._holders[sid].spoke)
        if now - self._holders[silent].spoke > PAUSE:
            del self._holders[silent]
            return True
        settled = [sid for sid, voice in self._holders.items() if now - voice.entered > STAY]
        quietest = min(settled, key=lambda sid: self._holders[sid].loudness, default=None)
        if quietest is None or newcomer.loudness < self._holders[quietest].loudness + LOUDER:
            return False
        del self._holders[quietest]
        return True


def _note(voice: _Voice, level: int, now: float) -> None:
    loudness = SILENCE - level
    voice.loudness += (loudness - voice.loudness) * (RISE if loudness > voice.loudness else FALL)
    if level > VOICED:
        return
    if now - voice.spoke > PAUSE:
        voice.began = now
    voice.spoke = now
