"""Errors that carry the sentence a person reads.

ColloqueError
  ├── ConfigError       the administrator's configuration; printed at start, exit status 2
  ├── UserError         something a person asked for cannot be done; a key of the text catalogue
  │     └── Refused     the same, and the reason is a right they lack (HTTP 403)
  └── Unavailable       a part that should answer does not; try again later (HTTP 503)
"""

from __future__ import annotations


class ColloqueError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(ColloqueError):
    """A setting is missing, misspelt or of the wrong kind. `str(error)` is one clear line."""


class UserError(ColloqueError):
    """A person's request cannot be carried out.

    `key` names a sentence of `bridge.text`; `values` fill its placeholders.
    """

    def __init__(self, key: str, **values: str | int) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


class Refused(UserError):
    """The person may not do this: not a member, not enough power, or not of an admitted server."""


class Unavailable(UserError):
    """Something the answer depends on (homeserver, media server) cannot be reached now."""
