"""What happens to a conference, and what is then to be done. Plain values, see course.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.domain.joint import PeersHeard, ShareTaken
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish

# ---- what happens to it


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """Somebody who may asked for the end. `by`: who, '' where the end has no author."""

    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WishRead:
    """The room's wish, as it is now. `by`: who wrote it. `encrypted`: the room is, by now."""

    wish: Wish
    by: str = ""
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined:
    """A person of the room is in the media. `media_sid`: the media server's id of its room."""

    identity: str
    sid: str
    user_id: str
    device_id: str = ""
    display_name: str = ""
    media_sid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft:
    """A connection is gone from the media."""

    identity: str
    sid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRemoved:
    """A moderator put somebody out of this call."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAdmittedAgain:
    """Somebody who was put out may come back."""

    user_id: str


Mode = Literal["ring", "notification"]
"""Whether phones ring, or show a message only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingAsked:
    """People are to be called. `ring`: its id. `users`: empty for everybody but `by`."""

    ring: str
    by: str
    mode: Mode
    users: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingReady:
    """A ring can go out: it belongs to the event `membership` ('' where there is none)."""

    ring: str
    membership: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RingFailed:
    """A ring cannot go out."""

    ring: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RingDeclined:
    """Somebody will not come."""

    ring: str
    user_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knocked:
    """Somebody waits to be let into this call (wish `lobby`)."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """A moderator lets somebody into this call."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRoomFinished:
    """The media server closed its room by itself (nobody was in it, or its administrator did)."""

    media_sid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaClosed:
    """After the end, nobody is in the media any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeard:
    """A segment that `takes()` admits was stored. `correction`: of one that is in the record."""

    segment: str
    rev: int
    correction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """Nobody listened from `start_ms` to `end_ms`, in milliseconds since the start."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordChanged:
    """What the record says is not what was said any more: corrected, named, or deleted.

    `deleted`: so many utterances less. `withheld`: forms of documents that somebody removed, and
    that are not made again. `expired`: the room keeps it no longer, no document is made again.
    """

    deleted: int = 0
    withheld: tuple[str, ...] = ()
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScribeStopped:
    """The scribe has left and its last segment is stored."""


Lack = Literal["", "no_key", "no_member", "engine_simple", "engine_down", "language"]
"""What a scribe lacks. "no_key": it cannot read somebody in an encrypted call; "no_member": it may
not be a member of an encrypted call, so that nobody gives it keys; "engine_simple": the best
recognizer does not answer; "engine_down": none does; "language": none knows a language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScribeFailed:
    """The scribe cannot do its work now, or not as well as usual. `reason`: "": something else."""

    reason: Lack = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScribeWell:
    """The scribe lacks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElsewhereSeen:
    """Everybody who says in the room that they are at another site's media server, now.

    One stay for each person and site; `site` is never ''.
    """

    there: tuple[Stay, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


Event = (
    StopAsked
    | WishRead
    | RecordChanged
    | ParticipantJoined
    | ParticipantLeft
    | PersonRemoved
    | PersonAdmittedAgain
    | RingAsked
    | RingReady
    | RingFailed
    | RingDeclined
    | Knocked
    | Admit
    | MediaRoomFinished
    | MediaClosed
    | PeersHeard
    | ShareTaken
    | SegmentHeard
    | Interrupted
    | ScribeStopped
    | ScribeFailed
    | ScribeWell
    | ElsewhereSeen
    | Tick
)


# ---- what is to be done


@dataclass(frozen=True, slots=True)
class PostCard:
    """Show the snapshot's card: a new message where `rev` is 0, else an edit of it."""

    rev: int


@dataclass(frozen=True, slots=True)
class RetireCard:
    """Another site's card stands for the call: take back ours, posted as revision `first`.

    `redact`: it has nothing below it; else it says where the call's card is.
    """

    first: int
    redact: bool


@dataclass(frozen=True, slots=True)
class PostStatus:
    """Write the fact (state event) as it is in the snapshot."""


@dataclass(frozen=True, slots=True)
class PostUtterance:
    """Post the stored utterance of this segment and revision."""

    segment: str
    rev: int


@dataclass(frozen=True, slots=True)
class PostDocuments:
    """Attach the record's documents."""

    rev: int


@dataclass(frozen=True, slots=True)
class CallOut:
    """Prepare a ring: have something in the room that it can belong to."""

    ring: str


@dataclass(frozen=True, slots=True)
class PostRing:
    """Send a ring that belongs to the event `membership` ('' where there is none)."""

    ring: str
    membership: str


@dataclass(frozen=True, slots=True)
class CancelRing:
    """Take a ring back."""

    ring: str


@dataclass(frozen=True, slots=True)
class Say:
    """Say a sentence of `bridge.text` in the room, or in the call's thread."""

    key: str
    values: Mapping[str, str | int] = field(default_factory=dict)
    in_thread: bool = False


Effect = (
    PostCard
    | RetireCard
    | PostStatus
    | PostUtterance
    | PostDocuments
    | CallOut
    | PostRing
    | CancelRing
    | Say
)
