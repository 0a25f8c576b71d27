"""What must outlive the database: the key its pickles are written with, and the bot's identity.

One file in `data_dir`, readable to its owner alone. With the database it makes the bot's device;
without the database it signs a new one, so that people see the same verified bot.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from bridge import secret_file
from bridge.errors import ConfigError

FILE_NAME = "encryption.key"
_SEED_BYTES = 32  # an Ed25519 private key
_SEEDS = ("master", "self_signing", "user_signing")


@dataclass(frozen=True, slots=True)
class Secret:
    """`pickle` encrypts what lies in the database; the seeds are the cross-signing keys."""

    pickle: str = field(repr=False)
    master: bytes = field(repr=False)
    self_signing: bytes = field(repr=False)
    user_signing: bytes = field(repr=False)

    def box(self) -> Fernet:
        """What encrypts messages that wait in the database for their handler: media keys."""
        key = hmac.digest(self.pickle.encode(), b"colloque to-device", "sha256")
        return Fernet(base64.urlsafe_b64encode(key))


def kept(data_dir: Path) -> Secret:
    """The secret in `data_dir`, made if absent. Raises ConfigError where it cannot be read."""
    file = data_dir / FILE_NAME
    try:
        document = json.loads(secret_file.kept(file, _fresh))
        seeds = {name: base64.b64decode(document[name], validate=True) for name in _SEEDS}
        pickle = document["pickle"]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise ConfigError(f"{file}: cannot be read; bring it back from a backup") from error
    if not isinstance(pickle, str) or any(len(seed) != _SEED_BYTES for seed in seeds.values()):
        raise ConfigError(f"{file}: cannot be read; bring it back from a backup")
    return Secret(pickle, seeds["master"], seeds["self_signing"], seeds["user_signing"])


def _fresh() -> str:
    document = {
        "pickle": secrets.token_urlsafe(32),
        **{name: base64.b64encode(secrets.token_bytes(_SEED_BYTES)).decode() for name in _SEEDS},
    }
    return json.dumps(document, indent=1)
