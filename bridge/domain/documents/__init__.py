"""The record of a conference as files: pages to read, captions to play, data to compute with.

All are written from one `Record`, so they can never tell different stories. Pure: bytes come out,
and the same record gives the same bytes. A form is a row of `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.domain.documents import docx, odt
from bridge.domain.documents.captions import srt, webvtt
from bridge.domain.documents.data import as_json, attendance, rttm
from bridge.domain.documents.md import markdown
from bridge.domain.documents.record import (
    Language,
    Participant,
    Presence,
    Record,
    Written,
    clock,
    iso,
)

__all__ = [
    "FORMS",
    "Form",
    "Language",
    "Participant",
    "Presence",
    "Record",
    "Written",
    "as_json",
    "attendance",
    "clock",
    "iso",
    "markdown",
    "rttm",
    "srt",
    "webvtt",
]

Text = Callable[[Record, Language], str]


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of document. `write` may give nothing: then there is no such file."""

    name: str
    media_type: str
    file_name: str
    write: Callable[[Record, Language], bytes]


def _text(name: str, media_type: str, write: Text, file_name: str = "") -> Form:
    return Form(
        name,
        media_type,
        file_name or f"transcript.{name}",
        lambda record, language: write(record, language).encode(),
    )


FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        _text("md", "text/markdown", markdown),
        Form("odt", odt.MEDIA_TYPE, "transcript.odt", odt.odt),
        Form("docx", docx.MEDIA_TYPE, "transcript.docx", docx.docx),
        _text("vtt", "text/vtt", webvtt),
        _text("srt", "application/x-subrip", srt),
        _text("json", "application/json", as_json),
        _text("rttm", "text/plain", rttm),
        _text("csv", "text/csv", attendance, "attendance.csv"),
    )
}
