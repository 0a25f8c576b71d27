"""An encrypted event, read. Asks nobody: what is missing is named, and worked on elsewhere."""

from __future__ import annotations

import json
from typing import Any, cast

from mautrix.crypto.sessions import InboundGroupSession
from mautrix.errors import MatrixError
from olm.group_session import OlmGroupSessionError

from bridge.crypto import Undecryptable
from bridge.crypto.machine import KEY, Machine
from bridge.crypto.people import People
from bridge.matrix import wire

_NEVER_ENCRYPTED = frozenset({wire.ENCRYPTED, wire.REDACTION})


class Opening:
    """Decrypts events of rooms."""

    def __init__(self, machine: Machine, people: People) -> None:
        self._machine = machine
        self._people = people

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]:
        """See `Crypto.decrypt`. Repeating it is harmless: it is the same event."""
        content = event["content"]
        session_id, ciphertext = content.get("session_id"), content.get("ciphertext")
        if content.get("algorithm") != wire.MEGOLM or not isinstance(ciphertext, str):
            raise Undecryptable("it is encrypted in a way we do not know")
        if not isinstance(session_id, str) or not KEY.fullmatch(session_id):
            raise Undecryptable("it names no session")
        session = await self._session(event["room_id"], session_id)
        await self._check_sender(event["sender"], session_id, session)
        plain = await self._plain(session, session_id, ciphertext, event)
        return {**event, **self._checked(plain, event["room_id"], content)}

    async def _session(self, room_id: str, session_id: str) -> InboundGroupSession:
        try:
            found = await self._machine.store.get_group_session(
                cast("Any", room_id), cast("Any", session_id)
            )
        except (MatrixError, OlmGroupSessionError) as error:
            raise Undecryptable(f"its key cannot be used: {error}") from error
        if found is None:
            raise Undecryptable("its key did not come", session=session_id)
        return found

    async def _check_sender(
        self, sender: str, session_id: str, session: InboundGroupSession
    ) -> None:
        device = await self._people.of_key(sender, str(session.sender_key))
        if device is None:
            raise Undecryptable(
                "its key is of a device that is not known as the sender's", session=session_id
            )
        if device.signing_key != session.signing_key:
            raise Undecryptable("its key is not signed by the sender's device")

    async def _plain(
        self, session: InboundGroupSession, session_id: str, ciphertext: str, event: dict[str, Any]
    ) -> str:
        try:
            plain, index = session.decrypt(ciphertext)
        except (OlmGroupSessionError, ValueError) as error:
            # A key that begins later than this message does not open it; an earlier one would.
            later = "UNKNOWN_MESSAGE_INDEX" in str(error)
            raise Undecryptable(str(error), session=session_id if later else None) from error
        sent_ms = event.get("origin_server_ts")
        first_time = await self._machine.store.validate_message_index(
            session.sender_key,
            cast("Any", session_id),
            event["event_id"],
            index,
            cast("Any", sent_ms if isinstance(sent_ms, int) else 0),
        )
        if not first_time:
            raise Undecryptable("it repeats what another event said")
        return str(plain)

    def _checked(self, plain: str, room_id: str, outside: dict[str, Any]) -> dict[str, Any]:
        try:
            payload = json.loads(plain)
        except (ValueError, RecursionError) as error:
            raise Undecryptable("its content is not JSON") from error
        payload = payload if isinstance(payload, dict) else {}
        kind, content = payload.get("type"), payload.get("content")
        if payload.get("room_id") != room_id:
            raise Undecryptable("it was made for another room")
        if not isinstance(kind, str) or not isinstance(content, dict) or kind in _NEVER_ENCRYPTED:
            raise Undecryptable("there is no event in it")
        # What relates to what is for servers too: the clear one counts (Matrix, m.room.encrypted).
        content = {name: value for name, value in content.items() if name != wire.RELATES_TO} | (
            {wire.RELATES_TO: outside[wire.RELATES_TO]} if wire.RELATES_TO in outside else {}
        )
        return {"type": kind, "content": content}
