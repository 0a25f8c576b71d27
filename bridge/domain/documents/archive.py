"""What ODT and DOCX have in common: XML in a zip. The same record gives the same bytes.

Written by hand: docs/decisions/0005-documents-by-hand.md says why.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

_BEGINNING = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can hold

COUNTRIES = {"fr": "FR", "en": "GB"}
"""Where a document's language is spoken: what hyphenation and screen readers go by."""


def packed(parts: Sequence[tuple[str, str]], *, stored: str = "") -> bytes:
    """A zip of these parts, path and text each. `stored`: the path that is not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in parts:
            info = zipfile.ZipInfo(path, _BEGINNING)
            info.create_system = 3  # else it would depend on the machine
            method = zipfile.ZIP_STORED if path == stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, text.encode(), method, 6)
    return out.getvalue()


def xml(body: str) -> str:
    """A whole part."""
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{body}'


def tag(name: str, content: str = "", **attributes: str) -> str:
    """An element. `content` is XML; `prefix__name` in an attribute stands for `prefix:name`."""
    said = "".join(
        f" {key.replace('__', ':').replace('_', '-')}={quoteattr(value)}"
        for key, value in attributes.items()
    )
    return f"<{name}{said}>{content}</{name}>" if content else f"<{name}{said}/>"


def text(plain: str) -> str:
    """Text as XML."""
    return escape(plain)
