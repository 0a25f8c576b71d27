"""A server that speaks OpenAI's `/v1/chat/completions`, with the faults such servers have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = str | Callable[[dict[str, Any]], str]


class ModelServer:
    """Answers with `answers` in turn, the last one again and again; `requests` holds what came.

    An answer is the text of the completion, made of the request where it is a function, or one of
    these: "429 2" (with Retry-After), "500", "400 no schema" (where there is a `response_format`),
    "slow" (never), "302", "huge", "not json", "no choice", "closed" (the connection).
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self._open = asyncio.Event()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            return _completion(answer(body))
        match answer.split():
            case ["429", wait]:
                return web.Response(status=429, headers={"Retry-After": wait}, text="too many")
            case ["500"]:
                return web.Response(status=500, text="overloaded")
            case ["400", *_] if "response_format" in body:
                return web.json_response({"error": "response_format is not known"}, status=400)
            case ["401"]:
                return web.Response(status=401, text="who are you")
            case ["302"]:
                return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
            case ["slow"]:
                await self._open.wait()
            case ["huge"]:
                return _completion("x" * 2_000_000)
            case ["not", "json"]:
                return web.Response(text="<html>", content_type="text/html")
            case ["no", "choice"]:
                return web.json_response({"choices": []})
            case ["no", "text"]:
                return web.json_response({"choices": [{"message": {"content": None}}]})
            case ["closed"]:
                assert request.transport is not None
                request.transport.close()
        return _completion(answer.removeprefix("400 no schema "))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ModelServer]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        try:
            yield self
        finally:
            self._open.set()
            await runner.cleanup()


def _completion(text: str) -> web.Response:
    return web.json_response(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "petit-1",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
        }
    )


def decides(text: str, *numbers: int) -> str:
    """An answer with one decision."""
    decision = {"text": text, "utterances": list(numbers)}
    return json.dumps({"points": [], "decisions": [decision], "actions": []})
