"""A person's client in encrypted rooms: matrix-js-sdk with Element's Rust crypto, in Node 22.

It trusts signed devices only (MSC4153), as Element does when told to exclude insecure devices.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.synapse import Person

FOLDER = Path(__file__).resolve().parents[1] / "bridge/crypto/js"
_LINE = 8 * 1024 * 1024

Seen = dict[str, Any]


class EncryptedClient:
    """`start()`, then `ask()` and `until()`; `stop()` ends the process."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.seen: list[Seen] = []
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Sign in, cross-sign the device, sync once."""
        # matrix-js-sdk needs Node 22; distributions have 20.
        found = list(FOLDER.glob("node_modules/node-linux-*/bin/node"))
        assert found, f"run `npm ci` in {FOLDER} (make test does)"
        self._process = await asyncio.create_subprocess_exec(
            str(found[0]),
            "client.mjs",
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE,
        )
        self._reader = asyncio.create_task(self._read())
        await self.ask(
            "start",
            homeserver=self.person.homeserver,
            user=self.person.user_id,
            device=self.person.device_id,
            token=self.person.access_token,
            password=self.person.password,
        )

    async def stop(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader

    async def ask(self, op: str, **given: Any) -> Any:
        """One operation of client.mjs; raises AssertionError with what it says went wrong."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **given}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(60):
            return await self._asked[number]

    async def say(self, room_id: str, text: str, **more: Any) -> str:
        """Type something; returns its event id."""
        content = {"msgtype": "m.text", "body": text, **more}
        return str((await self.ask("send", room=room_id, content=content))["event_id"])

    async def until(self, matches: Callable[[Seen], bool], timeout: float = 30.0) -> Seen:
        """The first thing seen that matches, also of before."""
        async with asyncio.timeout(timeout):
            while True:
                self._news.clear()
                for seen in self.seen:
                    if matches(seen):
                        return seen
                await self._news.wait()

    async def reads(self, room_id: str, words: str, timeout: float = 30.0) -> Seen:
        """The first message of others in this room that has these words."""
        return await self.until(
            lambda seen: (
                seen["event"] == "message"
                and seen["room"] == room_id
                and words in str(seen["content"].get("body"))
            ),
            timeout,
        )

    async def in_room(self, room_id: str, members: int, timeout: float = 30.0) -> None:
        """Return when the client knows the room as encrypted, with so many people."""
        async with asyncio.timeout(timeout):
            while True:
                for room in await self.ask("rooms"):
                    there = room["id"] == room_id and room["encrypted"]
                    if there and len(room["joined"]) >= members:
                        return
                await asyncio.sleep(0.1)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.seen.append(said)
                self._news.set()
            elif "error" in said:
                self._asked.pop(said["id"]).set_exception(AssertionError(said["error"]))
            else:
                self._asked.pop(said["id"]).set_result(said["answer"])
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(AssertionError("the client has ended"))
