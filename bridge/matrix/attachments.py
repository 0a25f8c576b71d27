"""Files as Matrix encrypts them: AES-256 in counter mode, the key in the event alone.

https://spec.matrix.org/v1.16/client-server-api/#sending-encrypted-attachments. So are the bridge's
documents sent in rooms that are not encrypted, too: redacting the event then destroys the only key,
in our homeserver's media store and in every copy that other homeservers made of the file.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR


class Altered(ValueError):
    """The file is not the one the event speaks of."""


def seal(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """What to upload, and the message's `file` without its `url`."""
    key = secrets.token_bytes(32)
    # The lower half counts blocks and begins at 0: some clients count no further than 64 bits.
    start = secrets.token_bytes(8) + bytes(8)
    sealed = _run(key, start, data)
    info = {
        "v": "v2",
        "key": {
            "kty": "oct",
            "alg": "A256CTR",
            "ext": True,
            "key_ops": ["encrypt", "decrypt"],
            "k": _text(key, url_safe=True),
        },
        "iv": _text(start),
        "hashes": {"sha256": _text(hashlib.sha256(sealed).digest())},
    }
    return sealed, info


def unseal(sealed: bytes, info: Mapping[str, Any]) -> bytes:
    """The file again. Raises Altered."""
    if _text(hashlib.sha256(sealed).digest()) != info["hashes"]["sha256"]:
        raise Altered("the hash is another")
    return _run(_bytes(info["key"]["k"], url_safe=True), _bytes(info["iv"]), sealed)


def _run(key: bytes, start: bytes, data: bytes) -> bytes:
    cipher = Cipher(AES(key), CTR(start)).encryptor()
    return cipher.update(data) + cipher.finalize()


def _text(data: bytes, *, url_safe: bool = False) -> str:
    encoded = base64.urlsafe_b64encode(data) if url_safe else base64.b64encode(data)
    return encoded.decode().rstrip("=")


def _bytes(text: str, *, url_safe: bool = False) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.urlsafe_b64decode(padded) if url_safe else base64.b64decode(padded)
