"""What the forwarding core tells the room, beside packets."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speaker:
    """`level` is 0.0 (silence) to 1.0 (loudest), smoothed as LiveKit does."""

    sid: str
    level: float
    active: bool


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    """Only the speakers whose level or state changed (a delta, as LiveKit sends it)."""

    speakers: tuple[Speaker, ...]


@dataclass(frozen=True, slots=True)
class TrackActive:
    """The first packet of a publication arrived."""

    sid: str


@dataclass(frozen=True, slots=True)
class LayerActive:
    """A layer began (`active`) or ceased to flow; `layer` is 0 for the lowest."""

    sid: str
    layer: int
    active: bool


@dataclass(frozen=True, slots=True)
class QualityDemand:
    """The layers anybody wants (dynacast); `enabled[i]` for layer i. All False: nobody looks."""

    sid: str
    enabled: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class StreamPaused:
    """A subscriber's link has no room for a video, or has it again."""

    sid: str
    downstream: Hashable
    paused: bool


Event = SpeakersChanged | TrackActive | LayerActive | QualityDemand | StreamPaused
