"""Matrix events on the wire and as typed values. Every event type and content key is named here.

`parse` is given what homeservers, and through them strangers, send: it returns None for what the
bridge has no use for or cannot read, and never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from bridge.domain.membership import CALL_MEMBER as CALL_MEMBER
from bridge.domain.membership import RTC_MEMBER as RTC_MEMBER
from bridge.domain.membership import RTC_MEMBER_STABLE as RTC_MEMBER_STABLE

MESSAGE = "m.room.message"
REDACTION = "m.room.redaction"
MEMBER = "m.room.member"
CREATE = "m.room.create"
POWER_LEVELS = "m.room.power_levels"
ROOM_NAME = "m.room.name"
ENCRYPTION = "m.room.encryption"
TOMBSTONE = "m.room.tombstone"
SERVER_ACL = "m.room.server_acl"
JOIN_RULES = "m.room.join_rules"
HISTORY_VISIBILITY = "m.room.history_visibility"
GUEST_ACCESS = "m.room.guest_access"
ENCRYPTED = "m.room.encrypted"
RETENTION = "m.room.retention"
"""State: how long the room's messages are kept (MSC1763)."""
REACTION = "m.reaction"

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
ROOM_KEY = "m.room_key"
FORWARDED_ROOM_KEY = "m.forwarded_room_key"
ROOM_KEY_REQUEST = "m.room_key_request"
DUMMY = "m.dummy"

CONFERENCE = "eu.colloque.conference"
"""State, key "": what the room wishes. Any moderator may write it."""
CONFERENCE_STATUS = "eu.colloque.conference.status"
"""State, key: server name of the site: what is. Bridges write it."""

UTTERANCE = "eu.colloque.utterance"
"""Content key of a message: what somebody said in a call."""
TRANSCRIPT = "eu.colloque.transcript"
"""Content key of a file: a document of the record."""
SUMMARY = "eu.colloque.summary"
"""Content key of a message: a machine's summary of a call."""
TXN = "eu.colloque.txn"
"""Content key of each of the bridge's messages: which row of its outbox this is."""
REASON = "eu.colloque.reason"
"""In the answer of a token door that refuses: why, as a word (`waiting`, `locked`, `full` ...)."""

DOCTOR = "eu.colloque.doctor"
"""Account data of the bot: `room_id` of the room that `doctor` asks for call tokens in; and the
type of the event it schedules there and withdraws."""

# CALL_MEMBER and RTC_MEMBER (memberships in calls) are read by bridge.domain.membership.
RTC_SLOT = "org.matrix.msc4143.rtc.slot"
"""State, key "m.call#ROOM": whether the room has a place for calls (MSC4143)."""

WIDGET = "im.vector.modular.widgets"
"""State, key: the widget's id: a page shown in the room (Element's name for `m.widget`)."""
RTC_NOTIFICATION = "org.matrix.msc4075.rtc.notification"
"""Message: calls people into a call, refers to a membership of it (MSC4075)."""
RTC_DECLINE = "org.matrix.msc4310.rtc.decline"
"""Message: somebody will not come, refers to the notification (MSC4310)."""
MEDIA_KEYS = "io.element.call.encryption_keys"
"""To-device message, encrypted by Olm: the key a device encrypts its media with."""
SESSION = "eu.colloque.session"
"""To-device message in clear, `{challenge, site}`: who sends it reads meetings at this site."""
ALIAS_PREFIX = "#visio_"
"""Aliases of rooms that the bridge makes when somebody looks for them."""
BRIDGE = "m.bridge"
BRIDGE_UNSTABLE = "uk.half-shot.bridge"
"""State: what a bridge in the room is (MSC2346). Clients read the one or the other."""

PER_MESSAGE_PROFILE = "com.beeper.per_message_profile"
"""Content key: the name a client shows in place of the sender's (MSC4144)."""

RELATES_TO = "m.relates_to"
NEW_CONTENT = "m.new_content"
THREAD = "m.thread"
REPLACE = "m.replace"
NOTICE = "m.notice"
TEXT = "m.text"
FILE = "m.file"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """A message in a room. `ts`: the sender's clock, milliseconds.

    `thread_root`: the event its thread hangs below. `replaces`: the event this edits (`body` is
    the new text). `txn`: set on the bridge's own messages. `pills`: people its text links to.
    `mentions`: those it says it mentions, among them, in some clients, whom it replies to.
    `reply_to`: the event it replies to, where a person chose one. `links`: events it links to.
    """

    room_id: str
    event_id: str
    sender: str
    body: str
    ts: int
    thread_root: str | None = None
    msgtype: str = TEXT
    replaces: str | None = None
    txn: str | None = None
    pills: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    reply_to: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChange:
    """Somebody's place in a room changed. `membership`: join, invite, leave, ban or knock.

    A kick is "leave" with another `sender`. `is_direct`: an invitation to a direct chat.
    """

    room_id: str
    event_id: str
    user_id: str
    membership: str
    sender: str
    display_name: str
    ts: int
    is_direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """Any other state of a room changed."""

    room_id: str
    event_id: str
    type: str
    state_key: str
    sender: str
    content: dict[str, Any]
    ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WishChanged(StateChange):
    """The room's wish (`eu.colloque.conference` with key "") changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """Somebody removed the content of an event."""

    room_id: str
    event_id: str
    redacts: str
    sender: str
    ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMembership:
    """Somebody says that a device is in the room's call, or no more: see bridge.domain.membership.

    `event`: the whole of it.
    """

    room_id: str
    event_id: str
    sender: str
    ts: int
    event: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An encrypted event: what it is, its key tells."""

    room_id: str
    event_id: str
    sender: str
    ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Somebody will not come to the call that the event `notification` called them into."""

    room_id: str
    event_id: str
    sender: str
    notification: str
    ts: int


Incoming = (
    IncomingMessage | MemberChange | StateChange | CallMembership | Declined | Redacted | Sealed
)

_CALL_MEMBERSHIPS = frozenset({CALL_MEMBER, RTC_MEMBER, RTC_MEMBER_STABLE})

MAX_PEOPLE = 20
"""People of one message that are read."""
MAX_HTML = 20_000
_QUOTED = re.compile(r"<mx-reply>.*?</mx-reply>", re.DOTALL)
_PILL = re.compile(r"""href=["']https://matrix\.to/#/((?:@|%40)[^"'?/<>\s]{1,300})""")

EVENT_LINK = re.compile(
    r"""https://matrix\.to/#/(?:!|%21|#|%23)[^\s/"'<>?]{1,300}/"""
    r"""((?:\$|%24)[^\s"'<>?)]{1,300})(?:\?[^\s"'<>)]*)?"""
)
"""A link to an event, as clients make it ("Share", "Copy link")."""

_MEMBERSHIPS = frozenset({"join", "invite", "leave", "ban", "knock"})


def parse(event: object) -> Incoming | None:
    """Read one event as the client-server API shows it. None: nothing the bridge acts on."""
    head = _head(event)
    if head is None or not isinstance(event, dict):
        return None
    content = event.get("content")
    if not isinstance(content, dict):
        return None
    kind, state_key = event.get("type"), event.get("state_key")
    if isinstance(kind, str) and kind in _CALL_MEMBERSHIPS:
        return CallMembership(**head, event=event)
    if state_key is not None:
        return _state(head, kind, state_key, content)
    if kind == MESSAGE:
        return _message(head, content)
    if kind == RTC_DECLINE:
        return _declined(head, content)
    if kind == REDACTION:
        return _redaction(head, event, content)
    if kind == ENCRYPTED:
        return Sealed(**head)
    return None


def _head(event: object) -> dict[str, Any] | None:
    if not isinstance(event, dict):
        return None
    head: dict[str, Any] = {name: event.get(name) for name in ("room_id", "event_id", "sender")}
    if not all(isinstance(value, str) and value for value in head.values()):
        return None
    return {**head, "ts": _integer(event.get("origin_server_ts"))}


def _state(
    head: dict[str, Any], kind: object, state_key: object, content: dict[str, Any]
) -> MemberChange | StateChange | None:
    if not isinstance(kind, str) or not isinstance(state_key, str):
        return None
    if kind == MEMBER:
        return _member(head, state_key, content)
    change = WishChanged if (kind, state_key) == (CONFERENCE, "") else StateChange
    return change(**head, type=kind, state_key=state_key, content=content)


def _member(head: dict[str, Any], user_id: str, content: dict[str, Any]) -> MemberChange | None:
    membership = content.get("membership")
    if not isinstance(membership, str) or membership not in _MEMBERSHIPS:
        return None
    return MemberChange(
        **head,
        user_id=user_id,
        membership=membership,
        display_name=_text(content.get("displayname")) or "",
        is_direct=content.get("is_direct") is True,
    )


def _message(head: dict[str, Any], content: dict[str, Any]) -> IncomingMessage | None:
    relation = content.get(RELATES_TO)
    relation = relation if isinstance(relation, dict) else {}
    target = _text(relation.get("event_id"))
    edits = relation.get("rel_type") == REPLACE and target is not None
    shown = content.get(NEW_CONTENT) if edits else content
    body = _text(shown.get("body")) if isinstance(shown, dict) else None
    if body is None:
        return None
    return IncomingMessage(
        **head,
        body=body,
        thread_root=target if relation.get("rel_type") == THREAD else None,
        msgtype=_text(content.get("msgtype")) or TEXT,
        replaces=target if edits else None,
        txn=_text(content.get(TXN)),
        pills=_pills(content.get("formatted_body")),
        mentions=_mentions(content.get("m.mentions")),
        reply_to=_reply_to(relation),
        links=_links(body, content.get("formatted_body")),
    )


def _pills(html: object) -> tuple[str, ...]:
    """Matrix ids of the people that HTML links to, the text it answers left out."""
    shown = _QUOTED.sub("", html) if isinstance(html, str) and len(html) < MAX_HTML else ""
    return tuple(dict.fromkeys(unquote(found) for found in _PILL.findall(shown)))[:MAX_PEOPLE]


def _reply_to(relation: dict[str, Any]) -> str | None:
    reply = relation.get("m.in_reply_to")
    # In a thread every message names one that clients without threads show it below.
    fallback = relation.get("rel_type") == THREAD and relation.get("is_falling_back") is True
    return None if fallback or not isinstance(reply, dict) else _text(reply.get("event_id"))


def _links(body: str, html: object) -> tuple[str, ...]:
    """Event ids that a message links to, what it answers left out."""
    shown = _QUOTED.sub("", html) if isinstance(html, str) and len(html) < MAX_HTML else ""
    found = [*EVENT_LINK.findall(body[:MAX_HTML]), *EVENT_LINK.findall(shown)]
    return tuple(dict.fromkeys(unquote(event_id) for event_id in found))[:MAX_PEOPLE]


def _mentions(value: object) -> tuple[str, ...]:
    users = value.get("user_ids") if isinstance(value, dict) else None
    named = users if isinstance(users, list) else []
    return tuple(user for user in named[:MAX_PEOPLE] if isinstance(user, str))


def _declined(head: dict[str, Any], content: dict[str, Any]) -> Declined | None:
    relation = content.get(RELATES_TO)
    target = _text(relation.get("event_id")) if isinstance(relation, dict) else None
    return None if target is None else Declined(**head, notification=target)


def _redaction(
    head: dict[str, Any], event: dict[str, Any], content: dict[str, Any]
) -> Redacted | None:
    # Room version 11 moved `redacts` into the content; servers show it in either or both places.
    redacts = _text(content.get("redacts")) or _text(event.get("redacts"))
    return None if redacts is None else Redacted(**head, redacts=redacts)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
