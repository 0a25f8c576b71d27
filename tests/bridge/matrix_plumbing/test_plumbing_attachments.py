"""Encrypted attachments as other implementations make and read them."""

from __future__ import annotations

import os

import pytest
from mautrix.crypto.attachments import decrypt_attachment, encrypt_attachment

from bridge.matrix.attachments import Altered, seal, unseal


@pytest.mark.parametrize("size", [0, 1, 16, 1000, 70_000])
def test_another_implementation_reads_it(size: int) -> None:
    data = os.urandom(size)
    sealed, info = seal(data)
    assert sealed != data or not data
    key, iv, sha = info["key"]["k"], info["iv"], info["hashes"]["sha256"]
    assert decrypt_attachment(sealed, key, sha, iv) == data
    assert unseal(sealed, info) == data


def test_it_reads_another_implementations() -> None:
    sealed, info = encrypt_attachment(b"the words")
    assert unseal(sealed, info.serialize()) == b"the words"


def test_no_key_is_used_twice() -> None:
    (one, first), (two, second) = seal(b"the words"), seal(b"the words")
    assert one != two
    assert first["key"]["k"] != second["key"]["k"]


def test_what_was_altered_is_refused() -> None:
    sealed, info = seal(b"the words")
    with pytest.raises(Altered):
        unseal(sealed[:-1] + b"x", info)
