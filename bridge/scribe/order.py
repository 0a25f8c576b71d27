"""What the bridge asks of a session: the `start`, `update` and `key` frames, read and checked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.scribe.frames import Frame, FrameError

IDENTITIES = 500
"""Participants of one call whose keys are kept; the longest unheard of go first."""
INDICES = 256
"""A frame names its key by one byte (livekit-client, FrameCryptor.ts)."""
KEY_BYTES = range(16, 65)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the bridge wants of a session. `epoch_ms`: Unix time of the conference's start.

    `encrypted`: people encrypt their media end to end; what the scribe shows is encrypted too.
    `watch`: somebody reads the captions beside the call, so the bridge wants them as well.
    `languages`: what those speak who do not speak `language`, by identity. `opted_out`: identities
    that are not listened to. `shared`: those that are rooms, with several people at a microphone.
    """

    conference: str
    room_id: str
    url: str
    token: str = field(repr=False)
    language: str
    captions: bool
    transcript: bool
    epoch_ms: int
    encrypted: bool = False
    watch: bool = False
    languages: Mapping[str, str] = field(default_factory=dict)
    opted_out: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    def language_of(self, identity: str) -> str:
        """What this participant speaks."""
        return self.languages.get(identity, self.language)

    def spoken(self) -> set[str]:
        """Every language that somebody may speak."""
        return {self.language, *self.languages.values()}

    @classmethod
    def parse(cls, frame: Frame) -> Order:
        """Read a `start` frame. Raises FrameError."""
        return cls(**_read({**_ABSENT, **frame}, tuple(cls.__dataclass_fields__)))

    def updated(self, frame: Frame) -> Order:
        """The order after an `update` frame. Raises FrameError."""
        return replace(self, **_read(frame, [key for key in _CHANGING if key in frame]))


_FLAGS = ("captions", "transcript", "encrypted", "watch")
_PEOPLE = ("opted_out", "shared")
_ABSENT: Mapping[str, Any] = {
    **dict.fromkeys(("encrypted", "watch"), False),
    **{key: [] for key in _PEOPLE},
    "languages": {},
}
_CHANGING = (*_FLAGS, "language", "languages", *_PEOPLE)
_KINDS: dict[str, type] = {
    **dict.fromkeys(_FLAGS, bool),
    "epoch_ms": int,
    "languages": dict,
    **dict.fromkeys(_PEOPLE, list),
}


def _read(frame: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {key: frame.get(key) for key in keys}
    for key, value in values.items():
        inner = value if isinstance(value, list) else value.values() if type(value) is dict else ()
        right = type(value) is _KINDS.get(key, str)
        if not right or not all(isinstance(one, str) for one in inner):
            raise FrameError(f"`{key}` of a session has the wrong type")
    people = {key: frozenset(values[key]) for key in _PEOPLE if key in values}
    return {**values, **people}


@dataclass(frozen=True, slots=True)
class MediaKey:
    """What one participant encrypts with, under the number their frames name it by."""

    identity: str
    index: int
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, frame: Frame) -> MediaKey:
        """Read a `key` frame. Raises FrameError, which says nothing of the key."""
        identity, index = frame.get("identity"), frame.get("index")
        if not isinstance(identity, str) or not identity:
            raise FrameError("a media key without an identity")
        if type(index) is not int or not 0 <= index < INDICES:
            raise FrameError("a media key without an index")
        try:
            key = base64.b64decode(frame.get("key", ""), validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise FrameError("a media key that is no base64") from None
        if len(key) not in KEY_BYTES:
            raise FrameError("a media key of a wrong length")
        return cls(identity, index, key)


class Keyring:
    """The media keys of one conference. They live in memory alone and end with the session.

    Under one index the key that came last counts. Older indices stay: whoever changes keys goes on
    using the one before for a while, and packets overtake each other.
    """

    def __init__(self) -> None:
        self._keys: dict[str, dict[int, MediaKey]] = {}

    def __iter__(self) -> Iterator[MediaKey]:
        for keys in self._keys.values():
            yield from keys.values()

    def put(self, key: MediaKey) -> None:
        """Keep a key."""
        self._keys[key.identity] = {**self._keys.pop(key.identity, {}), key.index: key}
        if len(self._keys) > IDENTITIES:
            del self._keys[next(iter(self._keys))]
