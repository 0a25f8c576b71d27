"""How a call looks in a room's timeline: contents of events, nothing else. docs/protocol.md.

One card per call, edited as the call goes, is the root of a thread; utterances and documents lie
in that thread. Names and texts are other people's: escaped wherever a client reads HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Protocol
from urllib.parse import quote

from bridge.domain import transcript
from bridge.domain.conference import Conference
from bridge.matrix.card import Place, words
from bridge.matrix.wire import (
    FILE,
    NEW_CONTENT,
    NOTICE,
    PER_MESSAGE_PROFILE,
    RELATES_TO,
    REPLACE,
    THREAD,
    TRANSCRIPT,
    UTTERANCE,
)
from bridge.text import say

Content = dict[str, Any]

CARD = "eu.colloque.card"
"""Content key of the call card."""


class Spoken(transcript.Spoken, Protocol):
    """A stored utterance."""

    @property
    def conference(self) -> str: ...
    @property
    def device(self) -> str: ...


# ---- names of effects in the outbox


def card_txn(conference: str, rev: int) -> str:
    """Transaction id of the card (`rev` 0) and of its edits."""
    return f"card:{conference}:{rev}"


def status_txn(conference: str, rev: int) -> str:
    """Transaction id of the status written with this revision of the card."""
    return f"status:{conference}:{rev}"


def utterance_txn(segment: str, rev: int) -> str:
    """Transaction id of an utterance's message."""
    return f"utt:{segment}:{rev}"


def document_txn(conference: str, form: str, rev: int) -> str:
    """Transaction id of one document of the record."""
    return f"doc:{conference}:{form}:{rev}"


def root_txn(conference: Conference) -> str:
    """What the root of the call's thread is called in the outbox: our card, or another site's."""
    mine = conference.call_id == conference.id
    return card_txn(conference.id, 0) if mine else f"call:{conference.call_id}"


def link(public_url: str, room_id: str) -> str:
    """Address of the room's call in the join page."""
    return f"{public_url.rstrip('/')}/#/room/{quote(room_id, safe='')}"


# ---- the card and the status


def card(conference: Conference, place: Place) -> Content:
    """The card as it is now: the message of revision 0, an edit of it above."""
    content = _notice(*words(conference, place))
    content[CARD] = _without_none(
        {
            "version": 1,
            "conference": conference.call_id,
            "phase": _shown_phase(conference),
            "started_ms": conference.began_ms,
            "ended_ms": conference.ended_ms,
        }
    )
    first = conference.card_first
    return (
        content if conference.card_rev == first else edit(content, card_txn(conference.id, first))
    )


def moved_card(conference: Conference, first: int) -> Content:
    """An edit of our card when another site's stands for the call."""
    content = _notice(say("card.moved", conference.language))
    content[CARD] = {
        "version": 1,
        "conference": conference.call_id,
        "phase": "moved",
        "started_ms": conference.began_ms,
    }
    return edit(content, card_txn(conference.id, first))


def status(conference: Conference, address: str) -> Content:
    """Content of the state event that says what is: `eu.colloque.conference.status`."""
    return _without_none(
        {
            "version": 1,
            "conference": conference.call_id,
            "active": conference.phase == "running",
            "phase": _shown_phase(conference),
            "started_ms": conference.began_ms,
            "started_by": conference.started_by,
            "ended_ms": conference.ended_ms,
            "captions": conference.captions,
            "transcript": conference.transcript,
            "language": conference.language,
            "link": address,
            "card": f"outbox:{_card_ref(conference)}",
        }
    )


def _card_ref(c: Conference) -> str:
    # A replacement of a lead that is gone is a card of its own; all others share the root.
    return card_txn(c.id, c.card_first) if c.leading and c.card_first > 0 else root_txn(c)


def _shown_phase(c: Conference) -> str:
    # That a scribe still finishes is nobody's business in the room.
    return "running" if c.phase == "running" else "ended"


# ---- the thread below the card


def utterance(
    spoken: Spoken, *, first_txn: str | None = None, root: str = "", name: str = ""
) -> Content:
    """The message of an utterance. `first_txn`: the message it corrects, None for a new one.

    `root`: what the thread's root is called in the outbox, '' for our own card. `name`: what the
    speaker is called, else the display name.
    """
    name = name or spoken.display_name
    content = _said(name, spoken.text)
    content[UTTERANCE] = {
        "version": 1,
        "conference": spoken.conference,
        "segment": spoken.segment,
        "rev": spoken.rev,
        "speaker": spoken.speaker,
        "device": spoken.device,
        "voice": spoken.voice or None,
        "text": spoken.text,
        "language": spoken.language,
        "start_ms": spoken.start_ms,
        "end_ms": spoken.end_ms,
        "engine": spoken.engine,
    }
    if spoken.editor:
        content[UTTERANCE]["editor"] = spoken.editor
    content[PER_MESSAGE_PROFILE] = {
        "id": f"{spoken.speaker} {spoken.voice}".strip(),
        "displayname": name,
        "has_fallback": True,
    }
    if first_txn is not None:
        return edit(content, first_txn)
    return _in_thread(content, root or card_txn(spoken.conference, 0))


def together(contents: Sequence[Content]) -> Content:
    """One message for what one voice said in several utterances, in the order given.

    Of the first one's thread. Its utterance is the whole, `rev` the sum of their revisions (so
    that each correction raises it), with the utterances themselves in `segments`.
    """
    first, parts = contents[0], [part for content in contents for part in _parts(content)]
    if len(parts) == 1:
        return first
    name = first[PER_MESSAGE_PROFILE]["displayname"]
    text = " ".join(part["text"] for part in parts)
    whole = {
        **first[UTTERANCE],
        "rev": sum(part["rev"] for part in parts),
        "text": text,
        "start_ms": parts[0]["start_ms"],
        "end_ms": max(part["end_ms"] for part in parts),
        "segments": parts,
    }
    return {**first, **_said(name, text), UTTERANCE: whole}


def _parts(content: Content) -> list[Content]:
    told = content[UTTERANCE]
    alone = {key: told[key] for key in _OF_A_PART if key in told}
    parts: list[Content] = told.get("segments") or [alone]
    return parts


_OF_A_PART = ("segment", "rev", "text", "language", "start_ms", "end_ms", "engine", "editor")


def gathered(first: Content, later: Sequence[Content]) -> tuple[Content, Sequence[int]]:
    """What one message can say of the utterances that wait with it: of the same turn.

    `later`: those behind it. Answers the message and which of `later` are in it. A turn ends where
    another voice speaks; where many wait (BEHIND), only where its own voice pauses.
    """
    chosen: list[int] = []
    parts, size = [first], len(first[UTTERANCE]["text"])
    for place, content in enumerate(later):
        if not _same_voice(first, content):
            if len(later) < BEHIND:
                break
            continue
        size += len(content[UTTERANCE]["text"])
        pause_ms = content[UTTERANCE]["start_ms"] - parts[-1][UTTERANCE]["end_ms"]
        if pause_ms > transcript.PAUSE_MS or size > LONGEST or len(chosen) >= MOST:
            break
        chosen.append(place)
        parts.append(content)
    return together(parts), chosen


BEHIND = 10
"""With so many utterances waiting in a room, what one voice said is gathered past the others'."""
LONGEST = 4000
"""Characters of a message of several utterances."""
MOST = 30


def _same_voice(one: Content, other: Content) -> bool:
    keys = ("conference", "speaker", "device", "voice")
    same = all(one[UTTERANCE][key] == other[UTTERANCE][key] for key in keys)
    return same and one[RELATES_TO] == other[RELATES_TO]


def document(conference: str, *, form: str, rev: int, file_name: str, root: str = "") -> Content:
    """The message of one document; the outbox adds where the file lies."""
    content: Content = {
        "msgtype": FILE,
        "body": file_name,
        TRANSCRIPT: {"version": 1, "conference": conference, "format": form, "rev": rev},
    }
    return _in_thread(content, root or card_txn(conference, 0))


def notice(sentence: str, *, reply_to: str = "", thread_root: str = "") -> Content:
    """An answer of the bot. `thread_root`: the thread it was asked in."""
    content = _notice(sentence)
    relation: Content = {}
    if thread_root:
        relation = {"rel_type": THREAD, "event_id": thread_root, "is_falling_back": False}
    if reply_to:
        relation["m.in_reply_to"] = {"event_id": reply_to}
    return {**content, RELATES_TO: relation} if relation else content


def _said(name: str, text: str) -> Content:
    # MSC4144: a client that shows the profile itself leaves this element out.
    html = f"<strong data-mx-profile-fallback>{escape(name)} : </strong>{escape(text)}"
    return _notice(f"{name} : {text}", html)


def _notice(body: str, html: str = "") -> Content:
    # m.notice: a bot's words do not ring phones, and other bots do not answer them.
    content = {"msgtype": NOTICE, "body": body, "m.mentions": {}}
    if html:
        content |= {"format": "org.matrix.custom.html", "formatted_body": html}
    return content


def _in_thread(content: Content, root: str) -> Content:
    relation = {
        "rel_type": THREAD,
        "event_id": f"outbox:{root}",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": f"outbox:{root}"},
    }
    return {**content, RELATES_TO: relation}


def edit(content: Content, first_txn: str) -> Content:
    """The same as an edit of the message that the outbox calls `first_txn`."""
    content = {key: value for key, value in content.items() if key != RELATES_TO}
    fallback = {**content, "body": f"* {content['body']}"}
    if "formatted_body" in content:
        fallback["formatted_body"] = f"* {content['formatted_body']}"
    relation = {"rel_type": REPLACE, "event_id": f"outbox:{first_txn}"}
    return {**fallback, NEW_CONTENT: content, RELATES_TO: relation}


def _without_none(content: Content) -> Content:
    return {key: value for key, value in content.items() if value is not None}
