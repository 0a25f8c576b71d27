"""The bridge's settings: one frozen dataclass a section; the example file is generated from them.

`load()` refuses what it does not know (naming the nearest key it does know) and what is of the
wrong kind, with the line number, so that a typing error never becomes a silent default.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from bridge.errors import ConfigError
from bridge.recognition import Engine


def _setting(default: Any, doc: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


def zone_of(name: str) -> tzinfo:
    """A time zone by its name. Raises ConfigError for one this machine does not know."""
    if name == "UTC":
        return UTC  # a container may have no list of time zones
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reason = "is not a time zone this machine knows; write one such as Europe/Paris, or UTC"
        raise ConfigError(f"`conference.time_zone`: {name!r} {reason}") from None


def _section(kind: type) -> Any:
    return field(default_factory=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Homeserver:
    """The homeserver this bridge is registered at."""

    address: str = _setting("http://127.0.0.1:8008", "Its client API, as this machine reaches it.")
    server_name: str = _setting("example.org", "The part after the colon in your users' ids.")
    public_address: str = _setting(
        "", "Its client API as browsers reach it (for the join page). Empty: the same address."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Appservice:
    """How the homeserver reaches the bridge. Tokens live in the registration file alone."""

    registration: str = _setting(
        "registration.yaml",
        "The registration file the homeserver has (`python -m bridge generate-registration`).\n"
        "Relative paths in this file count from the folder of this file.",
    )
    listen: str = _setting("127.0.0.1:29331", "Address and port the homeserver connects to.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where rooms, conferences and utterances are kept."""

    url: str = _setting(
        "sqlite:data/colloque.db",
        "sqlite:PATH, or postgresql://user:password@host/database for more than one machine.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """Join page, token service, health and metrics."""

    listen: str = _setting("127.0.0.1:29332", "Address and port of the reverse proxy's upstream.")
    public_url: str = _setting(
        "http://127.0.0.1:29332", "The same as browsers reach it, without a slash at the end."
    )
    widget_parents: list[str] = _setting(
        ["https:"],
        "Clients that may show the page /captions in a frame, as a widget of a room: origins such\n"
        "as https://element.example.org, or https: for every client that has TLS.",
    )
    captions: Literal["all", "unencrypted", "off"] = _setting(
        "all",
        "Whose captions members read on the page /captions, beside Element Call. They travel in\n"
        "clear from this bridge to the browser, over its TLS. unencrypted: not those of calls\n"
        "that are encrypted end to end. off: nobody's.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The media server: our own, or any LiveKit cluster."""

    backend: Literal["embedded", "livekit"] = _setting(
        "embedded", "embedded: the bridge starts its own sfu. livekit: one that runs already."
    )
    public_url: str = _setting("ws://127.0.0.1:7880", "WebSocket address given to clients.")
    api_url: str = _setting("http://127.0.0.1:7880", "The server API as the bridge reaches it.")
    api_key: str = _setting(
        "", "Key and secret of the server API. Empty with embedded: made and kept in data_dir."
    )
    api_secret: str = _setting("", "Never shown in a log.")
    token_ttl_s: int = _setting(3600, "Seconds a call token may be used to join.")
    rtc_udp_port: int = _setting(7882, "embedded: the one UDP port of all media.")
    rtc_tcp_port: int = _setting(
        7881, "embedded: the one TCP port for networks without UDP (0: none)."
    )
    bind: list[str] = _setting(["0.0.0.0"], "embedded: addresses to listen on.")
    advertised_addresses: list[str] = _setting(
        [], "embedded: addresses given to clients for media, where they differ from `bind`."
    )
    stun_server: str = _setting(
        "",
        "embedded: HOST:PORT of a STUN server that is asked at start for this machine's public\n"
        "address, which clients are then given. Nobody is asked unless named here.",
    )
    turn_urls: list[str] = _setting(
        [],
        "embedded: relays for clients whose network lets neither media port through, such as\n"
        "turns:relay.example.org:443?transport=tcp: a coturn, set up as docs/operations.md says.",
    )
    turn_secret_file: str = _setting(
        "", "embedded: a file with the relays' static-auth-secret. Clients get credentials of it."
    )
    turn_ttl_s: int = _setting(14400, "embedded: seconds that such credentials are valid.")
    drain_s: int = _setting(
        0,
        "embedded: seconds that calls may go on, without new ones, when the bridge is stopped. 0:\n"
        "they are interrupted, and clients come back by themselves once the bridge runs again.\n"
        "systemd's TimeoutStopSec must be 15 seconds longer.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """Who writes down what is said."""

    supervise: bool = _setting(True, "Start a scribe with the bridge. false: one runs on its own.")
    socket: str = _setting("data/scribe.sock", "Local socket between bridge and scribe.")
    engines: list[Engine] = field(
        default_factory=lambda: [Engine()],
        metadata={
            "doc": "Recognizers, the best one first. For each language and use the first that\n"
            "knows it writes; one that does not answer is left for the next, and tried again later."
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarization:
    """Telling the people apart who share one microphone (a meeting room), with pyannote.audio."""

    python: str = _setting(
        "",
        "Python that has the extra `diarization` (torch, pyannote.audio). Empty: our own.\n"
        "One of its own is lighter: python3 -m venv DIR && DIR/bin/pip install pyannote.audio",
    )
    model_dir: str = _setting(
        "",
        "Folder of a pipeline with its models, such as a copy of speaker-diarization-community-1.\n"
        "Loading it runs what is in it: it must belong to root or to the bridge's user, and be\n"
        "writable to nobody else. Empty: voices are not told apart.",
    )
    max_speakers: int = _setting(8, "Most people at one microphone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conference:
    """What a room gets that has not said what it wants (state event eu.colloque.conference)."""

    language: Literal["fr", "en"] = _setting("fr", "Language of the bridge's sentences.")
    captions: bool = _setting(False, "Captions on screen during the call.")
    transcript: bool = _setting(False, "Utterances and documents in the room's thread.")
    empty_timeout_s: int = _setting(300, "A call nobody is in ends after this many seconds.")
    time_zone: str = _setting("UTC", "Of the hours on cards and in documents: Europe/Paris.")
    ring_s: int = _setting(60, "Seconds that phones ring for a call started by command.")
    rooms_without_bot: Literal["deny", "local", "federated"] = _setting(
        "federated",
        "Who may call in rooms where the bot is not: nobody, members of this homeserver, or all\n"
        "members. What such rooms wish for is not known, and nothing is written there.",
    )
    command_prefix: str = _setting("!visio", "What a command in chat begins with.")
    alias_rooms: Literal["off", "public", "invite"] = _setting(
        "public",
        "Rooms made when somebody joins #visio_NAME:your.server (a hundred a day at most; given\n"
        "up when nobody comes in for ten minutes). public: whoever knows the name comes in, from\n"
        "the servers of federation.allow_servers. invite: your own users when they ask to come\n"
        "in (knock), others by invitation. off: none.",
    )


DocumentForm = Literal["md", "odt", "docx", "vtt", "srt", "json", "rttm", "csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcripts:
    """What is kept of what was said: as which documents, and who reads it later."""

    documents: list[DocumentForm] = _setting(
        ["md", "odt", "vtt", "json"],
        "Documents posted in the thread after a call with a transcript: md (Markdown), odt\n"
        "(OpenDocument), docx (Word), vtt and srt (captions), json, rttm (who spoke when), csv\n"
        "(attendance and talk time). The others can be had by `!visio export`. []: none.",
    )
    readers: Literal["members", "members_then"] = _setting(
        "members",
        "Who reads transcripts on the page: the room's members (newcomers as far as the room's\n"
        "history is visible to them); members_then: also who left since and was in the room then.",
    )
    retention_days: int = _setting(
        0,
        "After so many days transcripts are deleted: messages, documents, and what this bridge\n"
        "keeps. 0: never. A room's own wish `retention_days` stands above it.",
    )
    retention_days_max: int = _setting(
        0,
        "No room keeps transcripts longer than this, whatever it wishes. 0: no such limit.",
    )
    encrypted_rooms_in_page: bool = _setting(
        False,
        "true: the page also shows, finds and hands out what was said in encrypted rooms. Whoever\n"
        "has a member's password then reads it without any of their devices; the room's own\n"
        "clients show it in any case.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A language model that sums calls up, in rooms that wish for it. Off without `url`."""

    url: str = _setting(
        "",
        "Base of an OpenAI-compatible API, https://llm.example.org/v1. What was said in a call is\n"
        "sent there: choose one that keeps nothing.",
    )
    model: str = _setting("", "Name of the model there. It stands in every summary.")
    api_key_file: str = _setting("", "File with the API's key, readable to the bridge alone.")
    timeout_s: int = _setting(120, "Seconds that one request may take.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What people of other homeservers may cause."""

    allow_servers: list[str] = _setting(
        ["*"],
        "Servers whose users may join calls of rooms they are members of:\n"
        "`*` (every server), a name, or `*.example.org`.",
    )
    listen_only_servers: list[str] = _setting(
        [], "Servers, written likewise, whose users only listen: no sound, no picture."
    )
    openid_timeout_s: int = _setting(
        5, "Seconds another homeserver has to confirm who its user is."
    )
    client_apis: list[str] = _setting(
        [],
        "Client APIs of homeservers that publish none in /.well-known/matrix/client, each as\n"
        "`example.org=https://matrix.example.org`: where their users' crashed clients are taken\n"
        "out of a call.",
    )
    allow_private_addresses: bool = _setting(
        False, "Ask homeservers at loopback and private addresses too. For development only."
    )
    verify_certificates: bool = _setting(True, "false for development only.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Encrypted rooms: the bridge reads and writes in them as a device of its own."""

    enabled: bool = _setting(
        True,
        "false: in encrypted rooms there are calls, but no commands and no record. Needs the\n"
        "extra `encryption` (python-olm) and a registration that `generate-registration` wrote.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the bridge can be told."""

    homeserver: Homeserver = _section(Homeserver)
    appservice: Appservice = _section(Appservice)
    database: Database = _section(Database)
    web: Web = _section(Web)
    media: Media = _section(Media)
    scribe: Scribe = _section(Scribe)
    diarization: Diarization = _section(Diarization)
    conference: Conference = _section(Conference)
    transcripts: Transcripts = _section(Transcripts)
    summary: Summary = _section(Summary)
    federation: Federation = _section(Federation)
    encryption: Encryption = _section(Encryption)
    data_dir: str = _setting("data", "Keys, sockets and process records of this bridge.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting(
        "INFO", "How much is logged."
    )
    base: Path = field(default=Path(), metadata={"hidden": True})

    def path(self, relative: str) -> Path:
        """A path of the configuration, resolved against the folder of its file."""
        return self.base / relative


def load(file: Path) -> Settings:
    """Read a configuration file. Raises ConfigError with file and line."""
    try:
        document = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except YAMLError as error:
        raise ConfigError(f"{file}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, CommentedMap):
        raise ConfigError(f"{file}: must hold sections such as `homeserver:`")
    settings = typing.cast("Settings", _read(Settings, document, str(file), ""))
    zone_of(settings.conference.time_zone)
    return dataclasses.replace(settings, base=file.resolve().parent)


_HEAD = """\
# Colloque: every setting with its default.
# Generated by `python -m bridge example-config`; CI compares the two.
"""


def example() -> str:
    """The text of config/config.example.yaml."""
    return _HEAD + "".join(_lines(Settings(), 0))


def _fields(kind: type) -> dict[str, dataclasses.Field[Any]]:
    return {f.name: f for f in dataclasses.fields(kind) if not f.metadata.get("hidden")}


def _read(kind: type, node: CommentedMap, file: str, prefix: str) -> object:
    known, hints, values = _fields(kind), typing.get_type_hints(kind), {}
    for key, value in node.items():
        where = f"{file}, line {node.lc.key(key)[0] + 1}: `{prefix}{key}`"
        if f"{prefix}{key}" in _GONE:
            raise ConfigError(f"{where} {_GONE[f'{prefix}{key}']}")
        if key not in known:
            raise ConfigError(f"{where} is not a setting{_nearest(str(key), known)}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, CommentedMap):
                raise ConfigError(f"{where} must be a section with settings below it")
            values[key] = _read(typing.cast("type", hints[key]), value, file, f"{prefix}{key}.")
        elif hints[key] == list[Engine]:
            values[key] = _engines(value, file, f"{prefix}{key}", where)
        else:
            values[key] = _checked(value, hints[key], where)
    return kind(**values)


_GONE = {"scribe.engine": "is no setting any more: write `scribe.engines`, a list"}


def _engines(value: Any, file: str, name: str, where: str) -> list[Engine]:
    if not isinstance(value, CommentedSeq) or not value:
        raise ConfigError(f"{where} must be a list of engines, each beginning with `- engine:`")
    engines = []
    for number, node in enumerate(value):
        at = f"{name}[{number}]"
        line = f"{file}, line {value.lc.item(number)[0] + 1}: "
        if not isinstance(node, CommentedMap):
            raise ConfigError(f"{line}`{at}` must be settings such as `engine: pocketsphinx`")
        engine = typing.cast("Engine", _read(Engine, node, file, f"{at}."))
        if problem := engine.problem():
            raise ConfigError(f"{line}`{at}.{problem[0]}` {problem[1]}")
        engines.append(engine)
    return engines


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known here: {', '.join(names)}"


def _checked(value: Any, hint: Any, where: str) -> object:
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            choices = ", ".join(str(choice) for choice in typing.get_args(hint))
            raise ConfigError(f"{where} must be one of: {choices}")
        return value
    if origin is list:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{where} must be a list of texts")
        (inner,) = typing.get_args(hint)
        return [_checked(str(item), inner, where) for item in value]
    # ruamel has kinds of its own that remember how a value was written: 0, 0x10, 1_000, &x true.
    kind = (
        bool if isinstance(value, bool | ScalarBoolean) else int if isinstance(value, int) else str
    )
    if kind is not hint or not isinstance(value, bool | int | str):
        raise ConfigError(f"{where} must be {_KINDS[hint]}")
    return kind(value)


_KINDS: dict[type, str] = {str: "a text", int: "a whole number", bool: "true or false"}


def _lines(section: Any, depth: int) -> typing.Iterator[str]:
    pad = "  " * depth
    for name, spec in _fields(type(section)).items():
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            yield f"\n# {type(value).__doc__}\n{name}:\n"
            yield from _lines(value, depth + 1)
        else:
            yield from (f"{pad}# {line}\n" for line in spec.metadata["doc"].split("\n"))
            if isinstance(value, list) and value and isinstance(value[0], Engine):
                yield f"{pad}{name}:\n"
                yield from (line for one in value for line in _entry(one, depth + 1))
            else:
                yield f"{pad}{name}: {_scalar(value)}\n"


def _entry(engine: Engine, depth: int) -> typing.Iterator[str]:
    """One entry of a list: its first setting has the dash, the others stand below it."""
    pad = "  " * depth
    first, *rest = _lines(engine, depth + 1)
    while first.lstrip().startswith("#"):
        yield pad + first.lstrip()
        first, *rest = rest
    yield f"{pad}- {first.lstrip()}"
    yield from rest


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
