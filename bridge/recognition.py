"""The recognizers an administrator has: one entry of the setting `scribe.engines` each.

They reach the scribe as a JSON file that its owner alone can read. It names key files and holds no
key: a key that is changed in its file counts from the next connection on.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bridge.errors import ConfigError

Kind = Literal["pocketsphinx", "kyutai", "realtime", "openai", "whisper"]
Use = Literal["live", "after", "both"]

_SCHEMES = {"kyutai": ("ws", "wss"), "realtime": ("ws", "wss"), "openai": ("http", "https")}
_DIALECTS = {"realtime": ("vllm", "openai"), "openai": ("openai", "lasuite")}
_NEEDS_MODEL = frozenset({"realtime", "openai"})
_LIVE_ONLY = frozenset({"pocketsphinx", "kyutai", "realtime"})
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _doc(words: str) -> dict[str, str]:
    return {"doc": words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One recognizer."""

    engine: Kind = field(
        default="pocketsphinx",
        metadata=_doc(
            "pocketsphinx: inside, English, nothing to download; for tests and demonstrations.\n"
            "kyutai: a moshi-server. realtime: a WebSocket as vLLM and OpenAI have it. openai:\n"
            "any server with /audio/transcriptions. whisper: faster-whisper on this machine\n"
            "(extra `whisper`)."
        ),
    )
    use: Use = field(
        default="both",
        metadata=_doc(
            "live: during the call. after: when the call is over (engines `openai`, `whisper`).\n"
            "both: whatever the engine can."
        ),
    )
    languages: list[str] = field(
        default_factory=list,
        metadata=_doc(
            "What it is used for, as `fr` or `en-GB`. Empty: all the engine understands."
        ),
    )
    url: str = field(
        default="",
        metadata=_doc(
            "kyutai: wss://host. realtime: wss://host/v1/realtime. openai: https://host/v1.\n"
            "Without a key in it."
        ),
    )
    model: str = field(
        default="",
        metadata=_doc("realtime, openai: the model's name at that server."),
    )
    model_dir: str = field(
        default="",
        metadata=_doc("whisper: folder of a CTranslate2 model. Nothing is ever downloaded."),
    )
    api_key_file: str = field(
        default="",
        metadata=_doc("A file with the server's key, readable to its owner alone."),
    )
    dialect: str = field(
        default="",
        metadata=_doc(
            "realtime: vllm (also if empty) or openai. openai: openai (also if empty) or lasuite\n"
            "(La Suite's server, answers `diarized_json`)."
        ),
    )

    @property
    def live(self) -> bool:
        """Whether it writes during calls."""
        return self.use in {"live", "both"}

    @property
    def after(self) -> bool:
        """Whether it writes when a call is over."""
        return self.use in {"after", "both"} and self.engine not in _LIVE_ONLY

    @property
    def host(self) -> str:
        """The server people's voices are sent to, '' where they stay on this machine."""
        return (urlsplit(self.url).hostname or "") if self.engine in _SCHEMES else ""

    def problem(self) -> tuple[str, str] | None:
        """The first setting that is wrong, and what must be done about it."""
        problems = (self._wrong_url(), self._wrong_model(), self._wrong_use(), self._wrong_words())
        return next((problem for problem in problems if problem), None)

    def _wrong_url(self) -> tuple[str, str] | None:
        schemes = _SCHEMES.get(self.engine)
        if schemes is None:
            return None
        shape = f"must be an address {schemes[1]}://… or {schemes[0]}://…"
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return "url", shape
        if parts.scheme not in schemes or not host:
            return "url", shape
        if parts.username is not None or parts.query:
            return "url", "must hold no key: write it into a file and name that in `api_key_file`"
        return None

    def _wrong_model(self) -> tuple[str, str] | None:
        if self.engine in _NEEDS_MODEL and not self.model:
            return "model", f"is missing: the engine `{self.engine}` asks its server for one"
        if self.engine == "whisper" and not self.model_dir:
            return "model_dir", "is missing: the engine `whisper` reads its model from there"
        return None

    def _wrong_use(self) -> tuple[str, str] | None:
        if self.use == "after" and self.engine in _LIVE_ONLY:
            return "use", f"must be live or both: `{self.engine}` only writes during calls"
        return None

    def _wrong_words(self) -> tuple[str, str] | None:
        dialects = _DIALECTS.get(self.engine, ())
        if self.dialect and self.dialect not in dialects:
            known = ", ".join(dialects) or "empty for this engine"
            return "dialect", f"must be {'one of: ' if dialects else ''}{known}"
        if any(not _TAG.fullmatch(tag) for tag in self.languages):
            return "languages", "must be language codes such as fr or en-GB"
        return None


_KNOWN = {"pocketsphinx": frozenset({"en"}), "kyutai": frozenset({"fr", "en"})}


def understood(engines: Sequence[Engine], language: str) -> bool:
    """Whether one of the engines for calls may know a language (`en-GB`), as far as settings say.

    What a server's or a folder's model knows only it can tell: it counts as knowing every one.
    """
    said = language.lower().replace("_", "-")
    for engine in engines:
        known = _KNOWN.get(engine.engine)
        if not engine.live or (known is not None and said.partition("-")[0] not in known):
            continue
        tags = [tag.lower() for tag in engine.languages]
        if not tags or any(said == tag or said.startswith(f"{tag}-") for tag in tags):
            return True
    return False


def to_json(engines: Sequence[Engine], base: Path) -> str:
    """What the scribe is given. Paths count from `base` before, and are absolute in it."""
    return json.dumps([dataclasses.asdict(_absolute(one, base)) for one in engines], indent=1)


def from_json(text: str) -> list[Engine]:
    """As `to_json` wrote it. Raises ConfigError."""
    try:
        entries = json.loads(text)
        engines = [Engine(**entry) for entry in entries]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the list of engines cannot be read: {error}") from None
    for number, engine in enumerate(engines):
        if problem := engine.problem():
            raise ConfigError(f"`engines[{number}].{problem[0]}` {problem[1]}")
    if not engines:
        raise ConfigError("the list of engines is empty")
    return engines


def _absolute(engine: Engine, base: Path) -> Engine:
    return replace(
        engine,
        model_dir=_path(engine.model_dir, base),
        api_key_file=_path(engine.api_key_file, base),
    )


def _path(written: str, base: Path) -> str:
    return str((base / written).resolve()) if written else ""
