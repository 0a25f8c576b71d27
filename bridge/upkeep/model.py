"""A language model behind an OpenAI-compatible `/v1/chat/completions`, asked with patience.

The address is the administrator's. What goes there is what was said in a meeting: no redirect is
followed, and the key goes nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from bridge.config import Settings
from bridge.errors import ColloqueError, ConfigError

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LARGEST_ANSWER = 1_000_000
"""Bytes of an answer that are read."""


class NoAnswer(ColloqueError):
    """The model cannot be asked now. Its message is for the log."""


class Model:
    """One model at one server. `close()` ends its HTTP session."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        key: str = "",
        timeout_s: float = 120,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self.name = name
        self._url = f"{url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._first_pause_s = first_pause_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End the HTTP session."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
        """What it answers. Raises NoAnswer, after a few attempts where these may help."""
        body: dict[str, Any] = {
            "model": self.name,
            "messages": list(messages),
            "temperature": 0,
            "stream": False,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "summary", "strict": True, "schema": schema},
            },
        }
        pause_s, reason = self._first_pause_s, ""
        for attempt in range(ATTEMPTS):
            try:
                status, answer, wait_s = await self._post(body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                status, answer, wait_s = 0, str(error) or type(error).__name__, None
            if status == 200:
                return _said(answer)
            reason = f"{status or 'no answer'}: {answer[:200]}"
            if status in {400, 422} and "response_format" in body:
                # Servers that know neither of these still read the schema in the question.
                del body["response_format"], body["temperature"]
                continue
            if 300 <= status < 500 and status not in {408, 425, 429}:
                break
            log.info("the model does not answer (attempt %d): %s", attempt + 1, reason)
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(min(wait_s or pause_s, LONGEST_PAUSE_S))
                pause_s *= 2
        raise NoAnswer(reason)

    async def _post(self, body: Mapping[str, Any]) -> tuple[int, str, float | None]:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        async with self._session.post(self._url, json=body, allow_redirects=False) as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                data += chunk
                if len(data) > LARGEST_ANSWER:
                    raise aiohttp.ClientPayloadError("the answer is too large")
            wait = response.headers.get("Retry-After", "")
            seconds = float(wait) if wait.isascii() and wait.isdigit() else None
            return response.status, data.decode("utf-8", "replace"), seconds


def open_model(settings: Settings) -> Model | None:
    """The configured model, None where there is none. Raises ConfigError."""
    chosen = settings.summary
    if not chosen.url:
        return None
    if not chosen.url.startswith(("https://", "http://")):
        raise ConfigError("`summary.url` must begin with https:// (or http:// on this machine)")
    if not chosen.model:
        raise ConfigError("`summary.model`: name the model at `summary.url`")
    return Model(chosen.url, chosen.model, key=_key(settings), timeout_s=chosen.timeout_s)


def _key(settings: Settings) -> str:
    name = settings.summary.api_key_file
    if not name:
        return ""
    file = settings.path(name)
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`summary.api_key_file`: {file} cannot be read: {error}") from None
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(f"`summary.api_key_file`: {file} holds no key")
    return key


def _said(answer: str) -> str:
    """The text of the first choice."""
    try:
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise NoAnswer("the answer is no chat completion") from None
    if not isinstance(content, str):
        raise NoAnswer("the answer has no text")
    return content
