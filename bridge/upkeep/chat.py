"""Reading again what people wrote in a room while its call went on, for a document that has it.

Asked of the homeserver when somebody wants it, and kept no longer than the document takes: what is
redacted is not there any more, and what was edited is as it was left.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bridge.crypto import Undecryptable
from bridge.ids import server_of
from bridge.matrix import commands, wire
from bridge.matrix.admission import shown_name
from bridge.matrix.client import Page
from bridge.rooms.house import House
from bridge.rooms.news import CameBack
from bridge.store.errands import Errand, Errands

log = logging.getLogger(__name__)

PAGES = 50
A_PAGE = 100
"""At most PAGES times A_PAGE events are looked at: who floods a room floods no document."""
MESSAGES = 2000
LONGEST = 4000
"""Characters of one message."""


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def before(self, room_id: str, at_ms: int) -> str | None: ...
    async def page(self, room_id: str, start: str, limit: int) -> Page: ...


class Decryption(Protocol):
    """What is asked of bridge.crypto."""

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(slots=True)
class Read:
    """What was found. `unread`: messages that could not be decrypted."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    unread: int = 0


class Chat:
    """Carries out errands of kind `export`: their chat is noted in them."""

    def __init__(
        self,
        house: House,
        errands: Errands,
        homeserver: Homeserver,
        *,
        crypto: Decryption | None = None,
    ) -> None:
        self._house = house
        self._errands = errands
        self._homeserver = homeserver
        self._crypto = crypto

    async def carry_out(self, errand: Errand) -> CameBack:
        """Read the chat of a call. Raises HomeserverError and Unavailable."""
        content = errand.content
        read = await self.read(
            errand.room_id, content["began_ms"], content["ended_ms"], root=content["root"]
        )
        noted = {**content, "chat": read.messages, "unread": read.unread}
        await self._errands.note(errand.id, noted)
        return CameBack(errand.id, "done")

    async def read(self, room_id: str, began_ms: int, ended_ms: int, *, root: str) -> Read:
        """What was written from `began_ms` to `ended_ms` in the room and below `root`."""
        read, names = Read(), dict[str, str]()
        start = await self._homeserver.before(room_id, ended_ms)
        for _ in range(PAGES):
            if start is None or len(read.messages) >= MESSAGES:
                break
            page = await self._homeserver.page(room_id, start, A_PAGE)
            names.update(page.members)
            times = [_time(event) for event in page.events]
            for event, at_ms in zip(page.events, times, strict=True):
                if began_ms <= at_ms <= ended_ms:
                    await self._take(read, {**event, "room_id": room_id}, root)
            # Clocks of homeservers differ: a whole page must be older.
            if not page.end or max(times, default=0) < began_ms:
                break
            start = page.end
        read.messages.reverse()
        for message in read.messages:
            message["name"] = shown_name(names.get(message["author"], ""))
        return read

    async def _take(self, read: Read, event: dict[str, Any], root: str) -> None:
        sender = event.get("sender")
        if not isinstance(sender, str) or sender == self._house.bot_of(server_of(sender)):
            return
        try:
            message = await self._message(event)
        except Undecryptable as error:
            log.info("a message of %s stays out of a document: %s", event["room_id"], error)
            read.unread += 1
            return
        if message is not None and self._belongs(message, root):
            read.messages.append(
                {
                    "event_id": message.event_id,
                    "author": message.sender,
                    "text": commands.unquoted(message.body).strip()[:LONGEST],
                    "at_ms": message.ts,
                }
            )

    async def _message(self, event: dict[str, Any]) -> wire.IncomingMessage | None:
        """The message as it was left by its author; None where it is none."""
        original = wire.parse(await self._opened(event))
        if not isinstance(original, wire.IncomingMessage) or original.replaces:
            return None
        edit = _edit(event)
        if edit is None:
            return original
        last = wire.parse(await self._opened({**edit, "room_id": event["room_id"]}))
        if not isinstance(last, wire.IncomingMessage) or last.sender != original.sender:
            return original
        return replace(original, body=last.body)

    async def _opened(self, event: dict[str, Any]) -> dict[str, Any]:
        content = event.get("content")
        # A redacted one is empty: there is nothing to open.
        if event.get("type") != wire.ENCRYPTED or not content:
            return event
        if self._crypto is None:
            raise Undecryptable("encrypted rooms are not read here")
        return await self._crypto.decrypt(event)

    def _belongs(self, message: wire.IncomingMessage, root: str) -> bool:
        """Whether it is people's talk, in the room or in the call's thread."""
        return (
            message.msgtype == wire.TEXT
            and message.txn is None
            and message.thread_root in {None, root}
            and bool(commands.unquoted(message.body).strip())
            and commands.parse(message.body, self._house.prefix) is None
        )


def _edit(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last edit, as the homeserver shows it beside what it edits."""
    found: object = event
    for name in ("unsigned", "m.relations", wire.REPLACE):
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) and found.get("content") else None


def _time(event: Mapping[str, Any]) -> int:
    at_ms = event.get("origin_server_ts")
    return at_ms if isinstance(at_ms, int) else 0
