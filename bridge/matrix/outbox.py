"""Sending the outbox: each room in order, one event in flight, nothing lost and nothing twice.

One task per room that has something to send; it owns the room's line and ends when that is empty.
`run()` owns these tasks. Rooms do not wait for each other, up to `_IN_FLIGHT` requests at once.

*Twice* is the hard part. A Matrix transaction id makes a repeated request harmless only while the
homeserver remembers it, and Synapse forgets an application service's when it restarts. So whenever
a request may have been carried out without our seeing the answer (connection lost, time-out, 5xx,
our own death), the room's recent events are searched for the message first: each carries its id
(`eu.colloque.txn`). Only the first row of a room can be in that case, since one is in flight.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import Counter

from bridge.errors import Unavailable
from bridge.matrix import attachments, references, timeline, wire
from bridge.matrix.client import Homeserver, HomeserverError, Unreachable
from bridge.matrix.pace import Pace
from bridge.store.database import DATABASE_ERRORS, Database
from bridge.store.outbox import Outbox, Outgoing, Queued

log = logging.getLogger(__name__)

_PATIENT = ("utt:", "doc:", "gone:")
"""Rows that wait for their turn among all rooms' events: what was said, documents, deletions."""
_IN_FLIGHT = 8  # Synapse leaves gaps at remote servers when 16 events come at once
_LONGEST_PAUSE_S = 30.0

SENT = Counter("colloque_outbox_sent_total", "Events a homeserver took.")
REFUSED = Counter("colloque_outbox_refused_total", "Events a homeserver will never take.")
RETRIED = Counter("colloque_outbox_retries_total", "Attempts that failed and will be repeated.")
FOUND = Counter("colloque_outbox_found_total", "Unanswered requests that had been carried out.")


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Encryption(Protocol):
    """What the sender asks of bridge.crypto."""

    async def encrypts(self, room_id: str) -> bool: ...
    async def encrypt(
        self, room_id: str, event_type: str, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]: ...
    async def current(self, room_id: str, sealed: dict[str, Any]) -> bool: ...


class TooLate(Exception):
    """What this row says is worth nothing any more."""


class Withdrawn(Exception):
    """What this row said was deleted, and the homeserver never had it."""


class Sender:
    """Sends what the store's outbox holds, for as long as `run()` runs."""

    def __init__(
        self,
        db: Database,
        homeserver: Homeserver,
        *,
        encryption: Encryption | None = None,
        first_pause_s: float = 1.0,
        now_ms: Callable[[], int] = _clock_ms,
        pace: Pace | None = None,
    ) -> None:
        self._outbox = Outbox(db)
        self._homeserver = homeserver
        self._encryption = encryption
        self._first_pause_s = first_pause_s
        self._now_ms = now_ms
        self._pace = pace or Pace()
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._in_doubt: set[str] = set()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._news = asyncio.Event()
        self._back = asyncio.Event()

    def wake(self, room_id: str | None = None) -> None:
        """There are new rows (of this room). Without a room: the homeserver is there again, too."""
        self._news.set()
        if room_id is None:
            self._answering()

    async def run(self) -> None:
        """Send until cancelled. What is in flight then is looked up by the next process."""
        # What the last process had in flight when it ended is the first row of its room.
        self._in_doubt = set(await self._waiting_rooms())
        async with asyncio.TaskGroup() as lines:
            while True:
                self._news.clear()
                for room_id in await self._waiting_rooms():
                    if room_id not in self._lines:
                        self._lines[room_id] = lines.create_task(self._line(room_id))
                await self._news.wait()

    async def _waiting_rooms(self) -> list[str]:
        while True:
            try:
                return await self._outbox.waiting_rooms()
            except DATABASE_ERRORS as error:
                log.error("the outbox cannot be read: %s", error)
                await asyncio.sleep(self._first_pause_s)

    async def _line(self, room_id: str) -> None:
        try:
            while (row := await self._outbox.next(room_id)) is not None:
                await self._deliver(await self._in_turn(row))
        except DATABASE_ERRORS as error:
            log.error("outbox of %s: the database fails: %s", room_id, error)
            # What was sent and not noted as sent is found again.
            self._in_doubt.add(room_id)
            await asyncio.sleep(self._first_pause_s)
        except Exception:
            # A fault of ours must not stop the other rooms, nor be repeated without a pause.
            log.exception("outbox of %s: an unexpected failure", room_id)
            self._in_doubt.add(room_id)
            await asyncio.sleep(_LONGEST_PAUSE_S)
        finally:
            del self._lines[room_id]
            # A row may have come between the last look and here.
            self._news.set()

    async def _in_turn(self, row: Queued) -> Queued:
        """Wait until it may be sent. What waited with it and belongs to it goes into it."""
        if not row.outgoing.txn_id.startswith(_PATIENT):
            self._pace.taken()
            return row
        await self._pace.turn()
        fresh = row.attempts == 0 and row.sealed is None
        if fresh and row.outgoing.room_id not in self._in_doubt:
            return await self._outbox.gather(row, timeline.gathered)
        return row

    async def _deliver(self, row: Queued) -> None:
        """Until the row is sent or refused."""
        room_id, failures = row.outgoing.room_id, 0
        while True:
            try:
                async with self._slots:
                    await self._outbox.sent(row, await self._send(row))
            except (HomeserverError, Unavailable) as error:
                if _permanent(error):
                    await self._refuse(row, error)
                    break
                failures += 1
                self._doubt(room_id, error)
                await self._pause(row, error, failures)
                again = await self._outbox.next(room_id)
                if again is None:
                    break
                row = again
            except Withdrawn:
                await self._set_aside(row, "deleted before it was sent", forbidden=False)
                break
            except TooLate:
                await self._set_aside(row, "it is too late for it", forbidden=False)
                break
            except references.TargetNotSent as error:
                await self._set_aside(row, f"its target was not sent: {error}", forbidden=False)
                break
            else:
                SENT.inc()
                break
        self._in_doubt.discard(room_id)
        if failures:
            self._answering()

    async def _send(self, row: Queued) -> str:
        out = row.outgoing
        content = await self._resolved(out)
        if out.room_id in self._in_doubt:
            event_id = await self._find(row, content)
            if event_id is not None:
                FOUND.inc()
                log.info("%s in %s had arrived", out.txn_id, out.room_id)
                return event_id
        if out.kind == "withdrawn":
            raise Withdrawn
        if out.not_after_ms is not None and self._now_ms() > out.not_after_ms:
            raise TooLate
        if out.kind == "state":
            return await self._homeserver.send_state(out.room_id, out.type, out.state_key, content)
        if out.kind == "merge":
            return await self._merge(out, content)
        if out.kind == "redaction":
            return await self._homeserver.redact(
                out.room_id, str(content["redacts"]), out.txn_id, str(content.get("reason", ""))
            )
        if out.kind == "file":
            content = await self._with_file(row, content)
        event_type, content = await self._as_sent(row, {**content, wire.TXN: out.txn_id})
        return await self._homeserver.send_message(out.room_id, event_type, content, out.txn_id)

    async def _as_sent(self, row: Queued, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Type and content as the room wants them now: it may be encrypted since this was said.

        The same message is encrypted once, unless somebody has its key who has left since: its
        ciphertext is how it is found again after an answer was lost.
        """
        out = row.outgoing
        if self._encryption is None:
            return out.type, content
        if row.sealed is not None and await self._encryption.current(out.room_id, row.sealed):
            return wire.ENCRYPTED, row.sealed
        event_type, made = await self._encryption.encrypt(out.room_id, out.type, content)
        if event_type == wire.ENCRYPTED:
            await self._outbox.sealed(row, made)
        return event_type, made

    async def _merge(self, out: Outgoing, content: dict[str, Any]) -> str:
        """Returns '' where nothing is missing."""
        present = await self._homeserver.state_event(out.room_id, out.type, out.state_key)
        if present is None or (merged := _merged(present, content)) == present:
            return ""
        return await self._homeserver.send_state(out.room_id, out.type, out.state_key, merged)

    async def _resolved(self, out: Outgoing) -> dict[str, Any]:
        mentioned = references.mentioned(out.content)
        known = await self._outbox.find(mentioned) if mentioned else {}
        events = {
            txn_id: sent.event_id
            for txn_id, sent in known.items()
            if sent.event_id is not None and sent.room_id == out.room_id
        }
        return references.resolve(out.content, events)

    async def _with_file(self, row: Queued, content: dict[str, Any]) -> dict[str, Any]:
        out = row.outgoing
        described = {"mimetype": out.media_type, "size": row.size}
        return {
            "msgtype": wire.FILE,
            "body": out.file_name,
            **content,
            **await self._where(row),
            "info": described,
            "filename": out.file_name,
        }

    async def _where(self, row: Queued) -> dict[str, Any]:
        """`file`, with what decrypts it; uploaded now where it is not there yet.

        Encrypted in every room: a redaction then leaves nothing that can be read.
        """
        mxc, info = row.mxc, row.file_info
        if mxc is None or info is None:
            data, made = await asyncio.to_thread(attachments.seal, row.outgoing.blob or b"")
            info = made
            mxc = await self._homeserver.upload(data, "application/octet-stream", "encrypted")
            await self._outbox.uploaded(row, mxc, info)
        return {"file": {**info, "url": mxc}}

    async def _find(self, row: Queued, content: dict[str, Any]) -> str | None:
        out = row.outgoing
        if out.kind in {"state", "merge"}:
            return None  # setting the same state twice is setting it once
        try:
            events = await self._homeserver.recent(out.room_id)
        except HomeserverError as error:
            if not _permanent(error):
                raise
            return None  # whoever cannot read the room cannot send either, and is told so next
        for event in events:
            if _is_this(event, row, content):
                return str(event["event_id"])
        return None

    def _doubt(self, room_id: str, error: HomeserverError | Unavailable) -> None:
        if isinstance(error, HomeserverError):
            carried_out = error.status >= 500
        else:
            carried_out = isinstance(error, Unreachable) and error.sent
        if carried_out:
            self._in_doubt.add(room_id)

    async def _pause(
        self, row: Queued, error: HomeserverError | Unavailable, failures: int
    ) -> None:
        RETRIED.inc()
        pause = min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** min(failures - 1, 10))
        out = row.outgoing
        log.warning("%s in %s: %s; again in %.1f s", out.txn_id, out.room_id, error, pause)
        await self._outbox.delayed(row, str(error))
        if isinstance(error, HomeserverError) and error.retry_after_ms is not None:
            await asyncio.sleep(max(error.retry_after_ms, 0) / 1000)
            return
        try:
            async with asyncio.timeout(pause):
                await self._back.wait()
        except TimeoutError:
            return

    async def _refuse(self, row: Queued, error: HomeserverError | Unavailable) -> None:
        forbidden = isinstance(error, HomeserverError) and error.status == 403
        await self._set_aside(row, str(error), forbidden=forbidden)

    async def _set_aside(self, row: Queued, reason: str, *, forbidden: bool) -> None:
        REFUSED.inc()
        log.warning("%s in %s refused: %s", row.outgoing.txn_id, row.outgoing.room_id, reason)
        await self._outbox.refused(row, reason, forbidden=forbidden, now_ms=self._now_ms())

    def _answering(self) -> None:
        """The homeserver answers: rooms that wait for it need not wait longer."""
        self._back.set()
        self._back = asyncio.Event()


def _permanent(error: HomeserverError | Unavailable) -> bool:
    """Whether repeating the same request can only fail again.

    401 (our token is not known) is not: it is the administrator's to mend, and nothing said in a
    call is to be lost by it.
    """
    return (
        isinstance(error, HomeserverError)
        and 400 <= error.status < 500
        and error.status not in {401, 408, 425, 429}
    )


def _merged(present: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`present` with what it lacks of `more`, objects within objects too."""
    merged = {**more, **present}
    for key, value in more.items():
        there = present.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merged[key] = _merged(there, value)
    return merged


def _is_this(event: dict[str, Any], row: Queued, content: dict[str, Any]) -> bool:
    out, found = row.outgoing, event.get("content")
    found = found if isinstance(found, dict) else {}
    if not isinstance(event.get("event_id"), str):
        return False
    if out.kind == "redaction":
        target = found.get("redacts") or event.get("redacts")
        return event.get("type") == wire.REDACTION and target == content["redacts"]
    if row.sealed is not None and found.get("ciphertext") == row.sealed["ciphertext"]:
        return True
    return bool(found.get(wire.TXN) == out.txn_id)
