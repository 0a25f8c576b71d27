"""Whose access token somebody shows us: our own homeserver is asked (Matrix C-S API, "whoami")."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from bridge.errors import Unavailable
from bridge.matrix.http import HomeserverError, MatrixApi
from bridge.matrix.limits import Recent

_REMEMBER_S = 60.0
_TIMEOUT_S = 5.0


class Whoami:
    """Asks the homeserver at `address`; an answer is believed for a minute."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._known: Recent[bytes, str] = Recent(5000)

    async def user_of(self, token: str) -> str | None:
        """The Matrix id of the token's holder, None for a token the homeserver does not take.

        Raises Unavailable where the homeserver does not answer.
        """
        fingerprint = hashlib.sha256(token.encode(errors="replace")).digest()
        known, user_id = self._known.get(fingerprint, self._clock())
        if known:
            return user_id
        user_id = await self._ask(token)
        if user_id is not None:
            self._known.put(fingerprint, user_id, until=self._clock() + _REMEMBER_S)
        return user_id

    async def _ask(self, token: str) -> str | None:
        api = MatrixApi(self._address, token, timeout_s=_TIMEOUT_S)
        try:
            answer = await api.object("GET", "/_matrix/client/v3/account/whoami")
        except HomeserverError as error:
            if error.status in {401, 403}:
                return None
            raise Unavailable("homeserver_unavailable") from error
        finally:
            await api.close()
        user_id = answer.get("user_id")
        return user_id if isinstance(user_id, str) else None
