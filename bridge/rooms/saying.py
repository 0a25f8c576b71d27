"""What the bot says in a room because of one entry: rows of the outbox, in the order of saying.

Nothing is sent here: the rows become durable in the entry's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.domain import keeping, wish
from bridge.domain.conference import Conference
from bridge.domain.wish import Wish
from bridge.matrix import calling, timeline, wire
from bridge.rooms import facts as room_facts
from bridge.rooms.house import House
from bridge.store.inbox import Entry
from bridge.store.outbox import Outgoing
from bridge.text import Language, say


def sentence_row(room_id: str, txn_id: str, words: str) -> Outgoing:
    """A row for one plain sentence."""
    return Outgoing(room_id=room_id, txn_id=txn_id, kind="message", content=timeline.notice(words))


class Saying:
    """The bot's words of one entry. `facts`: what is known of the room, as the entry changes it."""

    def __init__(self, house: House, entry: Entry, now_ms: int) -> None:
        self.house = house
        self.room_id = entry.room_id
        self.now_ms = now_ms
        self.facts = room_facts.Facts()
        self._entry = entry
        self._rows: list[Outgoing] = []

    @property
    def entry_key(self) -> str:
        """The key of the entry that is handled."""
        return self._entry.key

    @property
    def language(self) -> Language:
        """The language of the room's sentences."""
        return self.facts.read_wish(self.house.defaults).language

    def add(self, row: Outgoing) -> None:
        """Something to be sent behind what is said already."""
        self._rows.append(row)

    def say(
        self,
        key: str,
        asked: wire.IncomingMessage | None = None,
        *,
        language: Language | None = None,
        **values: str | int,
    ) -> None:
        """A sentence in the room, as an answer to what was asked. `language`: else the room's."""
        self.answer(
            key,
            language or self.language,
            values,
            reply_to=asked.event_id if asked else "",
            thread_root=(asked.thread_root or "") if asked else "",
        )

    def answer(
        self,
        key: str,
        language: Language,
        values: Mapping[str, str | int],
        *,
        reply_to: str = "",
        thread_root: str = "",
    ) -> None:
        """A sentence as an answer to the event `reply_to`."""
        sentence = say(key, language, **{**self.house.named, **values})
        content = timeline.notice(sentence, reply_to=reply_to, thread_root=thread_root)
        self._message(self._own_txn("say"), content)

    def _speech(self) -> dict[str, str]:
        """What sentences say of those who recognize speech, and of what is kept."""
        hosts = self.house.hosts
        outside = [host for host in hosts if not self.house.owns(host)]
        key = "engine.here" if not hosts else "engine.outside" if outside else "engine.ours"
        days = self.retention_days
        kept = "consent.kept" if days is None else "consent.kept_days"
        return {
            "engine": say(
                key, self.language, server=self.house.server_name, hosts=", ".join(outside or hosts)
            ),
            "kept": say(kept, self.language, days=days or 0),
        }

    @property
    def retention_days(self) -> int | None:
        """After how many days the room's transcripts are deleted, where it or we have said so."""
        kept_ms = self.facts.keep_ms(
            days=self.house.retention_days, most_days=self.house.retention_days_max
        )
        return None if kept_ms is None else max(1, round(kept_ms / keeping.DAY_MS))

    def write_wish(self, wanted: Wish) -> None:
        """Change the room's wish: here at once, and in the room where it lets the bot."""
        content = wish.write(wanted)
        self.facts = replace(self.facts, wish=content)
        self._state(wire.CONFERENCE, "", content, self._own_txn("wish"))

    def write_widget(self, widget_id: str, content: dict[str, Any]) -> None:
        """Put a page into the room, or take it out with an empty content."""
        self._state(wire.WIDGET, widget_id, content, self._own_txn("widget"))

    # ---- a conference, shown

    def _card(self, conference: Conference) -> None:
        txn = timeline.card_txn(conference.id, conference.card_rev)
        self._message(txn, timeline.card(conference, self.house.place(self.room_id, conference)))

    def _retire_card(self, conference: Conference, first: int, *, redact: bool) -> None:
        txn = timeline.card_txn(conference.id, conference.card_rev)
        if not redact:
            self._message(txn, timeline.moved_card(conference, first))
            return
        content = {"redacts": f"outbox:{timeline.card_txn(conference.id, first)}"}
        row = Outgoing(room_id=self.room_id, txn_id=txn, kind="redaction", content=content)
        self._rows.append(row)

    def _status(self, conference: Conference) -> None:
        self._state(
            wire.CONFERENCE_STATUS,
            self.house.server_name,
            timeline.status(conference, self.house.link(self.room_id)),
            timeline.status_txn(conference.id, conference.card_rev),
        )

    def _ring(self, conference: Conference, ring_id: str, membership: str) -> None:
        ring = next(one for one in conference.rings if one.id == ring_id)
        # Without a membership it can only be a message that points at the card.
        card = f"outbox:{timeline.root_txn(conference)}"
        shown = ring if membership else replace(ring, mode="notification")
        self._rows.append(
            Outgoing(
                room_id=self.room_id,
                txn_id=calling.ring_txn(ring_id),
                kind="message",
                type=wire.RTC_NOTIFICATION,
                content=calling.notification(shown, membership or card, now_ms=self.now_ms),
                not_after_ms=self.now_ms + calling.WORTH_MS,
            )
        )

    def _cancel_ring(self, ring_id: str) -> None:
        self._rows.append(
            Outgoing(
                room_id=self.room_id,
                txn_id=calling.cancel_txn(ring_id),
                kind="redaction",
                content=calling.cancellation(ring_id),
            )
        )

    # ---- rows

    def _message(self, txn_id: str, content: timeline.Content) -> None:
        self._rows.append(
            Outgoing(room_id=self.room_id, txn_id=txn_id, kind="message", content=content)
        )

    def _state(self, event_type: str, state_key: str, content: dict[str, Any], txn: str) -> None:
        power = self.facts.power
        level = power.needed_for_state(event_type)
        sentence = say(
            "power.missing", self.language, prefix=self.house.prefix, level=max(level, 1)
        )
        if power.may_send_state(self.house.bot, event_type):
            self.facts = replace(self.facts, power_said=False)
            self._rows.append(
                Outgoing(
                    room_id=self.room_id,
                    txn_id=txn,
                    kind="state",
                    type=event_type,
                    state_key=state_key,
                    content=content,
                    if_forbidden=timeline.notice(sentence),
                )
            )
        elif not self.facts.power_said:
            self.facts = replace(self.facts, power_said=True)
            self._message(self._own_txn("power"), timeline.notice(sentence))

    def _own_txn(self, effect: str) -> str:
        # The same entry handled again says the same in the same order: the same ids.
        return f"{effect}:{self._entry.kind}:{self._entry.key}:{len(self._rows)}"
