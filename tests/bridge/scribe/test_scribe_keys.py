"""Orders and keys as they come in frames, and which encrypted tracks may be heard."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from bridge.scribe.frames import FrameError
from bridge.scribe.order import IDENTITIES, Keyring, MediaKey, Order
from bridge.scribe.participant import Track
from bridge.scribe.seals import PATIENCE_MS, Seals

ORDER = {
    "type": "start",
    "conference": "c",
    "room_id": "!r:example.org",
    "url": "ws://127.0.0.1",
    "token": "secret-token",
    "language": "fr",
    "captions": True,
    "transcript": False,
    "epoch_ms": 1,
}
SIXTEEN = base64.b64encode(bytes(range(16))).decode()


def test_an_order_without_a_word_of_encryption_is_of_an_open_call() -> None:
    assert not Order.parse(ORDER).encrypted
    assert Order.parse({**ORDER, "encrypted": True}).encrypted
    assert "secret-token" not in repr(Order.parse(ORDER))


@pytest.mark.parametrize("wrong", [{"encrypted": 1}, {"token": None}, {"captions": "yes"}])
def test_orders_of_wrong_types_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        Order.parse({**ORDER, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"identity": ""},
        {"identity": 7},
        {"index": 256},
        {"index": -1},
        {"index": True},
        {"index": "0"},
        {"key": None},
        {"key": "no base64!"},
        {"key": base64.b64encode(bytes(15)).decode()},
        {"key": base64.b64encode(bytes(65)).decode()},
    ],
)
def test_keys_that_are_none_are_refused_without_being_told(wrong: dict[str, Any]) -> None:
    frame = {"type": "key", "identity": "@a:b:D", "index": 0, "key": SIXTEEN, **wrong}
    with pytest.raises(FrameError) as raised:
        MediaKey.parse(frame)
    assert str(frame["key"]) not in str(raised.value)


def test_a_key_is_never_shown() -> None:
    key = MediaKey.parse({"identity": "@a:b:D", "index": 255, "key": SIXTEEN})
    assert key.key == bytes(range(16))
    assert "\\x00" not in repr(key)


def test_a_keyring_keeps_every_index_and_the_last_key_of_each() -> None:
    ring = Keyring()
    for index, byte in ((0, b"a"), (1, b"b"), (0, b"c")):
        ring.put(MediaKey("x", index, byte * 16))
    assert {(k.index, k.key[:1]) for k in ring} == {(0, b"c"), (1, b"b")}


def test_a_keyring_is_bounded_and_forgets_whom_it_heard_of_longest_ago() -> None:
    ring = Keyring()
    for number in range(IDENTITIES):
        ring.put(MediaKey(str(number), 0, bytes(16)))
    ring.put(MediaKey("0", 1, bytes(16)))
    ring.put(MediaKey("new", 0, bytes(16)))
    kept = {k.identity for k in ring}
    assert len(kept) == IDENTITIES
    assert {"0", "new"} <= kept
    assert "1" not in kept


def track(sid: str, *, encrypted: bool = True, muted: bool = False) -> Any:
    kind = rtc.EncryptionType.GCM if encrypted else rtc.EncryptionType.NONE
    publication = SimpleNamespace(encryption_type=kind, muted=muted)
    source: Any = None
    return Track(sid, "alice", "Alice", source, publication)  # type: ignore[arg-type]


def test_a_track_in_the_clear_is_heard_at_once() -> None:
    seals = Seals()
    assert seals.began(track("T1", encrypted=False), 0)
    assert not seals.overdue(PATIENCE_MS * 2)
    assert seals.readable("alice") == []


def test_an_encrypted_track_is_heard_from_its_first_frame_that_was_decrypted() -> None:
    seals = Seals()
    first = track("T1")
    assert not seals.began(first, 0)
    assert seals.readable("bob") == []
    assert seals.readable("alice") == [first]
    assert seals.readable("alice") == []
    # The news of the first frame may come before the track does.
    assert seals.began(track("T2"), 10)


def test_the_next_track_of_somebody_is_sealed_again() -> None:
    seals = Seals()
    seals.began(track("T1"), 0)
    seals.readable("alice")
    seals.ended("T1")
    seals.ended("unknown")
    assert not seals.began(track("T2"), 10)


def test_who_sends_what_cannot_be_read_is_overdue_after_a_while() -> None:
    seals = Seals()
    seals.began(track("T1"), 0)
    assert not seals.overdue(PATIENCE_MS)
    assert seals.overdue(PATIENCE_MS + 1)
    seals.readable("alice")
    assert not seals.overdue(PATIENCE_MS + 2)
    seals.unreadable("alice", 10_000)
    assert not seals.overdue(10_000 + PATIENCE_MS)
    assert seals.overdue(10_001 + PATIENCE_MS)
    seals.ended("T1")
    assert not seals.overdue(99_999)


def test_a_muted_microphone_lacks_no_key() -> None:
    seals = Seals()
    silent = track("T1", muted=True)
    seals.began(silent, 0)
    assert not seals.overdue(60_000)
    silent.publication.muted = False
    assert not seals.overdue(60_000 + PATIENCE_MS)
    assert seals.overdue(60_001 + PATIENCE_MS)
