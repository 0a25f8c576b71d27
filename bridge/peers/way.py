"""The ways from one bridge to another: both go through the homeservers, which prove who speaks.

`FedProxy` (MSC4512): our homeserver signs a request to the other homeserver, which hands it to its
bridge with our server's name. A full round trip in some 10 ms, nothing stored anywhere.
`ToDevice`: for homeservers without MSC4512, the same requests between the two bots.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.matrix.http import Unreachable
from bridge.matrix.limits import Recent
from bridge.peers.messages import PREFIX

log = logging.getLogger(__name__)

TO_DEVICE = "eu.colloque.peer"
"""Type of to-device messages: `{version, id, ask, body}`, `{version, id, status, answer}`."""
ANSWER_S = 10.0
AGAIN_S = 600.0
"""How long a peer without fed_proxy is asked by to-device before fed_proxy is tried again."""

_FED_PROXY = "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy"
_PARALLEL = 64
"""Requests by to-device that wait for their answer at once."""

Content = dict[str, Any]


class Refusal(Exception):
    """The other bridge answered, and the answer is no."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"{status}: {error[:200]}")
        self.status = status


class NoWay(Exception):
    """One of the two homeservers does not pass requests between bridges (MSC4512)."""


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    user_id: str

    async def object(self, method: str, path: str, **what: Any) -> Content: ...


Answering = Callable[[str, str, Content], Awaitable[tuple[int, Content]]]
"""`(origin, kind, body)` to `(status, answer)`: what the door makes of a request."""


class FedProxy:
    """Requests over MSC4512."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver

    async def ask(self, server: str, kind: str, body: Content) -> Content:
        """The other bridge's answer. Raises Refusal, NoWay or Unavailable."""
        request = {
            "destination": server,
            "method": "POST",
            "path": f"{PREFIX}/{kind}",
            "body": body,
        }
        try:
            answer = await self._homeserver.object("POST", _FED_PROXY, body=request, timeout_s=20)
        except HomeserverError as error:
            if error.status in {400, 403, 404, 405}:
                raise NoWay(str(error)) from error
            raise Unreachable(f"{server}: {error}", sent=True) from error
        status, content = answer.get("status"), answer.get("content")
        if not isinstance(status, int) or not isinstance(content, dict):
            raise Unreachable(f"{server}: not an answer of MSC4512", sent=True)
        if status == 404 and content.get("errcode") == "M_UNRECOGNIZED":
            raise NoWay(f"{server} does not pass it on")
        return _content(server, status, content)


class ToDevice:
    """The same between the bots, over to-device messages. `take` is given what comes in."""

    def __init__(self, homeserver: Homeserver, device_id: str, answering: Answering) -> None:
        self._homeserver = homeserver
        self._device_id = device_id
        self._answering = answering
        self._localpart = homeserver.user_id.partition(":")[0]
        self._waiting: dict[str, tuple[str, asyncio.Future[tuple[int, Content]]]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._ready = False

    async def ask(self, server: str, kind: str, body: Content) -> Content:
        """The other bridge's answer. Raises Refusal or Unavailable."""
        if len(self._waiting) >= _PARALLEL:
            raise Unavailable("homeserver_unavailable")
        ask_id = secrets.token_hex(8)
        answer: asyncio.Future[tuple[int, Content]] = asyncio.get_running_loop().create_future()
        self._waiting[ask_id] = (server, answer)
        try:
            await self.listen()
            await self._send(server, {"version": 1, "id": ask_id, "ask": kind, "body": body})
            async with asyncio.timeout(ANSWER_S):
                status, content = await answer
        except TimeoutError as error:
            raise Unreachable(f"{server} does not answer", sent=True) from error
        except HomeserverError as error:
            raise Unreachable(f"{server}: {error}", sent=True) from error
        finally:
            del self._waiting[ask_id]
        return _content(server, status, content)

    def take(self, event: Mapping[str, Any]) -> None:
        """A to-device message of our type. The sender was proved by their homeserver."""
        sender, content = event.get("sender"), event.get("content")
        if not isinstance(sender, str) or not isinstance(content, dict):
            return
        name, _, server = sender.partition(":")
        ask_id = content.get("id")
        if name != self._localpart or not server or not isinstance(ask_id, str) or len(ask_id) > 64:
            log.info("a message between bridges by %s, who is none, is left aside", sender)
            return
        if "answer" in content:
            self._take_answer(server, ask_id, content)
        elif len(self._answers) < _PARALLEL:
            task = asyncio.create_task(self._answer(server, ask_id, content))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def close(self) -> None:
        """End what is being answered."""
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def listen(self) -> None:
        """Messages reach devices: have one (MSC4190; a device that is there stays as it is)."""
        if not self._ready:
            path = f"/_matrix/client/v3/devices/{quote(self._device_id, safe='')}"
            query = {"user_id": self._homeserver.user_id}
            await self._homeserver.object("PUT", path, query=query, body={})
            self._ready = True

    def _take_answer(self, server: str, ask_id: str, content: Content) -> None:
        asked, waiting = self._waiting.get(ask_id, ("", None))
        status, answer = content.get("status"), content.get("answer")
        if waiting is None or waiting.done() or asked != server:
            return
        if isinstance(status, int) and isinstance(answer, dict):
            waiting.set_result((status, answer))

    async def _answer(self, server: str, ask_id: str, content: Content) -> None:
        kind, body = content.get("ask"), content.get("body")
        if not isinstance(kind, str) or not isinstance(body, dict):
            return
        try:
            await self.listen()
            status, answer = await self._answering(server, kind, body)
            reply = {"version": 1, "id": ask_id, "status": status, "answer": answer}
            await self._send(server, reply)
        except (HomeserverError, Unavailable) as error:
            log.info("the bridge of %s was not answered: %s", server, error)
        except Exception:  # the task's top level: the asker will ask again
            log.exception("the bridge of %s was not answered", server)

    async def _send(self, server: str, content: Content) -> None:
        path = f"/_matrix/client/v3/sendToDevice/{TO_DEVICE}/{secrets.token_hex(8)}"
        messages = {f"{self._localpart}:{server}": {"*": content}}
        await self._homeserver.object("PUT", path, body={"messages": messages})


class Way:
    """fed_proxy where both homeservers have it, to-device where one has not."""

    def __init__(
        self, first: FedProxy, second: ToDevice, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first = first
        self._second = second
        self._clock = clock
        self._without: Recent[str, bool] = Recent(500)

    async def ask(self, server: str, kind: str, body: Content) -> Content:
        """The other bridge's answer. Raises Refusal or Unavailable."""
        now = self._clock()
        if not self._without.get(server, now)[0]:
            try:
                return await self._first.ask(server, kind, body)
            except NoWay as error:
                log.info("no fed_proxy to %s (%s): by to-device", server, error)
                self._without.put(server, True, until=now + AGAIN_S)
        return await self._second.ask(server, kind, body)


def _content(server: str, status: int, content: Content) -> Content:
    if status == 200:
        return content
    if status == 429 or status >= 500:
        raise Unreachable(f"{server} answers {status}", sent=True)
    raise Refusal(status, str(content.get("error", "")))
