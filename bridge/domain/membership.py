"""Who says in the room that they are in its call (MatrixRTC), and at which media server. Pure.

Two kinds of event say it, and shipping clients send either (Element Call 0.26, matrix-js-sdk 43):
state `org.matrix.msc3401.call.member`, one per device, and the sticky event `rtc.member` (MSC4143,
MSC4354). Strangers write both. `read` never raises, bounds every text and every time, and takes
what it cannot read for a withdrawal: it stands in the place of what was there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

from bridge.ids import ROOM_CALL, hashed_identity, plain_identity, server_of

CALL_MEMBER = "org.matrix.msc3401.call.member"
"""State of older MatrixRTC: key "_<user>_<device>_m.call" (MSC3401, MSC3779)."""
RTC_MEMBER = "org.matrix.msc4143.rtc.member"
RTC_MEMBER_STABLE = "m.rtc.member"
"""Sticky event: one device's membership in a call (MSC4143, MSC4354)."""

EXPIRES_MS = 4 * 3_600_000
"""How long a state membership counts that does not say how long."""
LONGEST_MS = 24 * 3_600_000
"""Nobody is in a call for longer after one event: Element Call sends a new one each hour."""
LONGEST_STICKY_MS = 3_600_000
"""What MSC4354 allows."""

PER_USER = 16
"""Devices of one person in one room's call."""
PER_ROOM = 2000

Kind = Literal["state", "sticky"]
Intent = Literal["audio", "video", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One device's word that it is in the room's call. Times are Unix milliseconds.

    `key`: state key, or sticky key. `service_url`: the token service of its own media server,
    without a slash at the end ('' where it names none). `member_id`: of MSC4195's identity.
    `created_ms`: since when it is in the call, as it says; `sent_ms`: of the event itself.
    """

    room_id: str
    user_id: str
    device_id: str
    kind: Kind
    key: str
    event_id: str
    member_id: str
    service_url: str
    selection: str = "multi_sfu"
    intent: Intent = ""
    created_ms: int
    sent_ms: int
    expires_ms: int

    @property
    def identity(self) -> str:
        """Its name at its own media server."""
        if self.kind == "state":
            return plain_identity(self.user_id, self.device_id)
        return hashed_identity(self.user_id, self.device_id, self.member_id)

    @property
    def place(self) -> str:
        """What the next event of the same kind must have in common to replace it."""
        return place(self.kind, self.user_id, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Whatever was said at this place holds no more."""

    room_id: str
    user_id: str
    kind: Kind
    key: str
    event_id: str

    @property
    def place(self) -> str:
        """As `Membership.place`."""
        return place(self.kind, self.user_id, self.key)


def place(kind: Kind, user_id: str, key: str) -> str:
    """State is one for the whole room, whoever writes it; sticky events are their sender's."""
    return key if kind == "state" else f"{user_id} {key}"


def read(event: object, *, now_ms: int) -> Membership | Withdrawn | None:
    """What an event says of a membership; None for any other event, or one without a place.

    `now_ms`: when the event was received.
    """
    if not isinstance(event, Mapping):
        return None
    kind: Kind = "state" if event.get("type") == CALL_MEMBER else "sticky"
    if kind == "sticky" and event.get("type") not in {RTC_MEMBER, RTC_MEMBER_STABLE}:
        return None
    content = _object(event.get("content"))
    named = event if kind == "state" else content
    key = _text(named.get("state_key" if kind == "state" else _sticky_key(content)))
    head = tuple(_text(event.get(name)) for name in ("room_id", "sender", "event_id"))
    if not key or not all(head) or (kind == "sticky" and "state_key" in event):
        return None
    room_id, user_id, event_id = head
    gone = Withdrawn(room_id=room_id, user_id=user_id, kind=kind, key=key, event_id=event_id)
    if kind == "state":
        return _from_state(gone, event, content, now_ms) or gone
    return _from_sticky(gone, event, content, now_ms) or gone


def kept(before: Membership | None, after: Membership) -> Membership:
    """The newer of two at one place: who renews theirs is in the call since the first.

    A state membership says so itself; of a sticky one only the events tell.
    """
    if before is None or after.kind == "state" or before.member_id != after.member_id:
        return after
    return replace(after, created_ms=min(before.created_ms, after.created_ms))


def heard(
    before: Iterable[Membership], said: Membership | Withdrawn, *, now_ms: int
) -> tuple[Membership, ...]:
    """All memberships of a room after one more event; what has expired is left out.

    A member of the room can write any number of them: of each person the newest `PER_USER` are
    kept, and a full room takes no more.
    """
    places = {(one.kind, one.place): one for one in before if one.expires_ms > now_ms}
    replaced = places.pop((said.kind, said.place), None)
    if isinstance(said, Withdrawn) or said.expires_ms <= now_ms:
        return tuple(places.values())
    theirs = sorted(
        (one for one in places.values() if one.user_id == said.user_id), key=lambda m: m.sent_ms
    )
    for one in theirs[: max(0, len(theirs) - PER_USER + 1)]:
        del places[one.kind, one.place]
    if len(places) >= PER_ROOM:
        return tuple(places.values())
    return (*places.values(), kept(replaced, said))


def read_whole(
    before: Iterable[Membership],
    state: Iterable[Membership | Withdrawn],
    *,
    joined: frozenset[str],
    now_ms: int,
) -> tuple[Membership, ...]:
    """All memberships of a room after its whole state was read, which alone is true of state.

    Of events known already the first reading stays: it says for how long they count.
    """
    stored = {one.event_id: one for one in before}
    whole: tuple[Membership, ...] = tuple(
        one for one in stored.values() if one.kind == "sticky" and one.user_id in joined
    )
    for one in state:
        if one.user_id in joined:
            whole = heard(whole, stored.get(one.event_id, one), now_ms=now_ms)
    return whole


@dataclass(frozen=True, slots=True)
class Picture:
    """Everybody who is in a room's call now, one entry for each device, the oldest first."""

    members: tuple[Membership, ...] = ()

    @classmethod
    def of(
        cls,
        memberships: Iterable[Membership],
        *,
        now_ms: int,
        joined: frozenset[str] | None = None,
        slot_closed: bool = False,
    ) -> Picture:
        """From all that was said in a room. `joined`: its members (None: all senders are).

        A sticky membership stands above a state one of the same device, and counts only where the
        room has no slot event that is not open (matrix-js-sdk 43, as all three rules).
        """
        devices: dict[tuple[str, str], Membership] = {}
        for one in memberships:
            counts = one.expires_ms > now_ms and (joined is None or one.user_id in joined)
            if not counts or (slot_closed and one.kind == "sticky"):
                continue
            device = (one.user_id, one.device_id)
            other = devices.get(device)
            if other is None or _weight(one) > _weight(other):
                devices[device] = one
        return cls(tuple(sorted(devices.values(), key=lambda m: (m.created_ms, m.place))))

    def focus(self, member: Membership) -> str:
        """The token service of the media server this member publishes at, '' where unknown.

        With `multi_sfu` everybody's own; with `oldest_membership` (Element Call before 0.17) that
        of whoever is in the call longest.
        """
        return self._owner(member).service_url if member.selection in _KNOWN else ""

    def site(self, member: Membership) -> str:
        """The server whose media server that is."""
        return server_of(self._owner(member).user_id)

    def at(self, service_url: str) -> tuple[Membership, ...]:
        """Who publishes at this media server."""
        wanted = normal(service_url)
        return tuple(one for one in self.members if wanted and self.focus(one) == wanted)

    def of_user(self, user_id: str) -> tuple[Membership, ...]:
        """A person's devices in the call."""
        return tuple(one for one in self.members if one.user_id == user_id)

    def without(self, user_id: str) -> Picture:
        """The same without a person (the bridge's own bot)."""
        return Picture(tuple(one for one in self.members if one.user_id != user_id))

    def _owner(self, member: Membership) -> Membership:
        return self.members[0] if member.selection == "oldest_membership" else member


def elsewhere(picture: Picture, own_url: str) -> tuple[Membership, ...]:
    """One membership for each person who is in the call at other sites' media servers only."""
    own = normal(own_url)
    here = {one.user_id for one in picture.at(own)}
    people: dict[str, Membership] = {}
    for one in picture.members:
        if one.user_id not in here and picture.focus(one) not in {"", own}:
            people.setdefault(one.user_id, one)
    return tuple(people.values())


def normal(service_url: str) -> str:
    """As service URLs are compared: byte for byte, but for one slash at the end."""
    return service_url.removesuffix("/")


_KNOWN = frozenset({"multi_sfu", "oldest_membership"})
_LONGEST_TEXT = 255
_LONGEST_URL = 1024


def _weight(member: Membership) -> tuple[bool, int, str]:
    return member.kind == "sticky", member.sent_ms, member.place


def _from_state(
    gone: Withdrawn, event: Mapping[str, Any], content: Mapping[str, Any], now_ms: int
) -> Membership | None:
    device, active = _text(content.get("device_id")), _object(content.get("focus_active"))
    if (
        not _is_device(device)
        or content.get("application") != "m.call"
        or content.get("call_id") not in {"", "ROOM"}
        or not _text(active.get("type"))
    ):
        return None
    sent_ms = _time(event.get("origin_server_ts"), now_ms)
    created_ms = _time(content.get("created_ts"), sent_ms) or sent_ms
    expires = content.get("expires")
    lasts_ms = expires if _is_whole(expires) else EXPIRES_MS
    return Membership(
        room_id=gone.room_id,
        user_id=gone.user_id,
        device_id=device,
        kind="state",
        key=gone.key,
        event_id=gone.event_id,
        member_id=_text(content.get("membershipID")) or plain_identity(gone.user_id, device),
        service_url=_service_url(content.get("foci_preferred")),
        selection=_text(active.get("focus_selection")) or "multi_sfu",
        intent=_intent(content),
        created_ms=created_ms,
        sent_ms=sent_ms,
        expires_ms=min(created_ms + min(lasts_ms, _FOREVER_MS), now_ms + LONGEST_MS),
    )


def _from_sticky(
    gone: Withdrawn, event: Mapping[str, Any], content: Mapping[str, Any], now_ms: int
) -> Membership | None:
    member, application = _object(content.get("member")), _object(content.get("application"))
    device, member_id = _text(member.get("device_id")), _text(member.get("id"))
    lasts_ms = _object(event.get("msc4354_sticky")).get("duration_ms")
    if (
        content.get("slot_id") != ROOM_CALL
        or application.get("type") != "m.call"
        or member.get("user_id") != gone.user_id
        or not (member_id and _is_device(device) and _is_whole(lasts_ms))
    ):
        return None
    sent_ms = _time(event.get("origin_server_ts"), now_ms)
    return Membership(
        room_id=gone.room_id,
        user_id=gone.user_id,
        device_id=device,
        kind="sticky",
        key=gone.key,
        event_id=gone.event_id,
        member_id=member_id,
        service_url=_service_url(_object(content.get("transports")).get("published")),
        intent=_intent(application),
        created_ms=sent_ms,
        sent_ms=sent_ms,
        expires_ms=sent_ms + min(lasts_ms, LONGEST_STICKY_MS),
    )


_FOREVER_MS = 10 * 365 * 24 * 3_600_000


def _sticky_key(content: Mapping[str, Any]) -> str:
    return "msc4354_sticky_key" if "msc4354_sticky_key" in content else "sticky_key"


def _service_url(transports: object) -> str:
    """Of the first transport (matrix-js-sdk takes no other), where it is a LiveKit one."""
    first = transports[0] if isinstance(transports, list) and transports else None
    transport = _object(first)
    if transport.get("type") != "livekit":
        return ""
    return normal(_text(transport.get("livekit_service_url"), _LONGEST_URL))


def _intent(content: Mapping[str, Any]) -> Intent:
    intent = content.get("m.call.intent")
    if intent == "audio":
        return "audio"
    return "video" if intent == "video" else ""


def _is_device(device: str) -> bool:
    # `@a:host` with the device `8448:X` would have the identity of `@a:host:8448` with `X`.
    return bool(device) and ":" not in device


def _time(value: object, latest_ms: int) -> int:
    """A time somebody claims, never later than `latest_ms`: clocks that are ahead win nothing."""
    return min(value, latest_ms) if _is_whole(value) else latest_ms


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object, longest: int = _LONGEST_TEXT) -> str:
    """A text that every database can hold, '' for anything else."""
    if not isinstance(value, str) or len(value) > longest:
        return ""
    # No NUL and no lone surrogates: PostgreSQL takes neither.
    return "" if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in value) else value
