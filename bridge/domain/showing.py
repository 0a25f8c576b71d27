"""What of a conference the room is shown, and when: the card, its status, sentences said once."""

from __future__ import annotations

from dataclasses import replace

from bridge.domain.conference import Conference
from bridge.domain.happenings import Effect, PostCard, Say

CARD_PAUSE_MS = 3_000
"""Comings and goings within this time become one edit of the card: each edit is stored for ever."""
Step = tuple[Conference, tuple[Effect, ...]]
"""The next snapshot, and the effects in the order in which they must become visible."""


def with_card(c: Conference, *others: Effect) -> Step:
    """Show the card as it is now, and then `others`."""
    shown = replace(c, card_rev=c.card_rev + 1, card_due_ms=None)
    return shown, (PostCard(shown.card_rev), *others)


def card_soon(c: Conference, now_ms: int) -> Conference:
    """Show the card within CARD_PAUSE_MS, with what else happens until then."""
    return replace(c, card_due_ms=c.card_due_ms or now_ms + CARD_PAUSE_MS)


def shown_soon(before: Conference, c: Conference, now_ms: int) -> Conference:
    """With the card due where somebody declined, did not answer, or came to the lobby's door."""
    was = (before.declined, before.unanswered, before.waiting)
    changed = c.phase == "running" and was != (c.declined, c.unanswered, c.waiting)
    return card_soon(c, now_ms) if changed and c.card_rev == before.card_rev else c


def honest(c: Conference) -> Step:
    """Before anything is listened to, the call is told: what for, by whom, what is kept of it.

    And before a scribe gets an encrypted call's keys, the room is told what that means.
    """
    if not c.listening:
        return c, ()
    # In a call that another site began, we listen when somebody is at our media server.
    c, consent = once(c, _consent(c), in_thread=True) if c.leading or c.stays else (c, ())
    c, encrypted = once(c, "scribe.encrypted") if c.encrypted else (c, ())
    return c, (*consent, *encrypted)


def once(c: Conference, sentence: str, *, in_thread: bool = False) -> Step:
    """Say something that a call is told only the first time."""
    if sentence in c.told:
        return c, ()
    return replace(c, told=(*c.told, sentence)), (Say(sentence, in_thread=in_thread),)


def _consent(c: Conference) -> str:
    """Captions and a transcript are not the same: of captions nothing is kept."""
    return "consent.transcript" if c.transcript else "consent.captions"
