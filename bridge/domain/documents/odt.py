"""The record as OpenDocument text (ISO/IEC 26300, ODF 1.3): what French administrations exchange.

Built to be read aloud: a title, headings, a table with a header row, a style for speakers, and the
language of the document and of each utterance in another one.
"""

from __future__ import annotations

from bridge.domain.documents.archive import COUNTRIES, packed, tag, text, xml
from bridge.domain.documents.page import (
    COLUMNS,
    Attendance,
    Block,
    Fact,
    Heading,
    Remark,
    Speech,
    blocks,
    columns,
    rows,
)
from bridge.domain.documents.record import Language, Record, iso, one_line
from bridge.text import say

MEDIA_TYPE = "application/vnd.oasis.opendocument.text"

_SPACES = (
    " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}"'
        for prefix, name in (
            ("office", "office:1.0"),
            ("style", "style:1.0"),
            ("text", "text:1.0"),
            ("table", "table:1.0"),
            ("meta", "meta:1.0"),
            ("fo", "xsl-fo-compatible:1.0"),
        )
    )
    + ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def odt(record: Record, language: Language) -> bytes:
    """The file."""
    page = blocks(record, language)
    parts = [
        ("mimetype", MEDIA_TYPE),
        ("content.xml", _content(page, record, language)),
        ("styles.xml", _styles(language)),
        ("meta.xml", _meta(page, record, language)),
        ("META-INF/manifest.xml", _MANIFEST),
    ]
    # First and as it is: the file's first bytes say what it is (ODF 1.3 part 2, 3.3).
    return packed(parts, stored="mimetype")


def _content(page: list[Block], record: Record, language: Language) -> str:
    languages = sorted(
        {tag for block in page if isinstance(block, Speech) for _, tag in block.parts}
    )
    spoken = {tag: f"L{number}" for number, tag in enumerate(languages) if _other(tag, language)}
    automatic = "".join(
        tag(
            "style:style",
            tag("style:text-properties", **_fo_language(spoken_in)),
            style__name=name,
            style__family="text",
        )
        for spoken_in, name in spoken.items()
    )
    body = "".join(_block(block, record, language, spoken) for block in page)
    return xml(
        f'<office:document-content {_SPACES} office:version="1.3">'
        + tag("office:automatic-styles", automatic)
        + tag("office:body", tag("office:text", body))
        + "</office:document-content>"
    )


def _block(block: Block, record: Record, language: Language, spoken: dict[str, str]) -> str:
    match block:
        case Heading(1, said):
            return _heading(said, 1, "Title")
        case Heading(_, said):
            return _heading(said, 2, "Heading_20_2")
        case Fact(label, said):
            name = say("document.label", language, label=label)
            return _paragraph(_span(text(name), "Strong") + text(said), "Fact")
        case Remark(said):
            return _paragraph(text(said), "Remark")
        case Attendance():
            return _table(block, record, language)
    return _speech(block, spoken)


def _speech(speech: Speech, spoken: dict[str, str]) -> str:
    beside = f" ({', '.join(speech.marks)})" if speech.marks else ""
    said = " ".join(_part(part, spoken_in, spoken) for part, spoken_in in speech.parts)
    head = text(speech.name) + _span(text(f" [{speech.at}]{beside}"), "Time")
    return _paragraph(head, "Speaker") + _paragraph(said, "Speech")


def _part(said: str, spoken_in: str, spoken: dict[str, str]) -> str:
    return _span(text(said), spoken[spoken_in]) if spoken_in in spoken else text(said)


def _table(block: Attendance, record: Record, language: Language) -> str:
    head = _row(columns(language), "Table_20_Heading")
    body = "".join(_row(row, "Table_20_Contents") for row in rows(record, block, language))
    title = say("document.participants", language)
    return tag(
        "table:table",
        tag("table:title", text(title))
        + tag("table:desc", text(block.hint))
        + tag("table:table-column", table__number_columns_repeated=str(len(COLUMNS)))
        + tag("table:table-header-rows", head)
        + body,
        table__name=title,
    )


def _row(cells: list[str], style: str) -> str:
    return tag(
        "table:table-row",
        "".join(
            tag(
                "table:table-cell",
                _paragraph(text(cell), style),
                office__value_type="string",
            )
            for cell in cells
        ),
    )


def _heading(said: str, level: int, style: str) -> str:
    return tag("text:h", text(said), text__style_name=style, text__outline_level=str(level))


def _paragraph(content: str, style: str) -> str:
    return tag("text:p", content, text__style_name=style)


def _span(content: str, style: str) -> str:
    return tag("text:span", content, text__style_name=style)


def _other(spoken_in: str, language: Language) -> bool:
    return bool(spoken_in) and spoken_in.partition("-")[0].lower() != language


def _fo_language(spoken_in: str) -> dict[str, str]:
    language, *rest = spoken_in.split("-")
    country = next((part.upper() for part in rest if len(part) == 2), "none")
    return {"fo__language": language.lower(), "fo__country": country}


def _meta(page: list[Block], record: Record, language: Language) -> str:
    title = next(block.text for block in page if isinstance(block, Heading))
    said = (
        tag("meta:generator", "Colloque")
        + tag("dc:title", text(title))
        + tag("dc:subject", text(one_line(record.room_name)))
        + tag("dc:description", text(say("document.notice", language)))
        + tag("meta:creation-date", iso(record.ended_ms).removesuffix("Z"))
        + tag("dc:date", iso(record.ended_ms).removesuffix("Z"))
        + tag("dc:language", f"{language}-{COUNTRIES[language]}")
    )
    return xml(
        f'<office:document-meta {_SPACES} office:version="1.3">'
        + tag("office:meta", said)
        + "</office:document-meta>"
    )


def _style(name: str, family: str, properties: str, **more: str) -> str:
    return tag("style:style", properties, style__name=name, style__family=family, **more)


def _spaced(above: str, below: str, **more: str) -> str:
    return tag("style:paragraph-properties", fo__margin_top=above, fo__margin_bottom=below, **more)


def _bold(size: str = "") -> str:
    sized = {"fo__font_size": size} if size else {}
    return tag("style:text-properties", fo__font_weight="bold", **sized)


def _styles(language: Language) -> str:
    country = COUNTRIES[language]
    standard = tag(
        "style:default-style",
        tag("style:paragraph-properties", fo__hyphenation_ladder_count="no-limit")
        + tag(
            "style:text-properties",
            fo__language=language,
            fo__country=country,
            fo__hyphenate="true",
            fo__font_size="11pt",
            style__font_name="Liberation Sans",
            fo__font_family="'Liberation Sans', Arial, sans-serif",
            fo__hyphenation_remain_char_count="2",
            fo__hyphenation_push_char_count="2",
        ),
        style__family="paragraph",
    )
    under = {"style__parent_style_name": "Standard"}
    head = {"style__next_style_name": "Standard", "style__class": "text", **under}
    keep = {"fo__keep_with_next": "always"}
    contents = "Table_20_Contents"
    named = (
        _style("Standard", "paragraph", _spaced("0cm", "0.15cm"), style__class="text")
        + _style("Title", "paragraph", _spaced("0cm", "0.4cm", **keep) + _bold("20pt"), **head)
        + _style(
            "Heading_20_2",
            "paragraph",
            _spaced("0.6cm", "0.2cm", **keep) + _bold("14pt"),
            style__display_name="Heading 2",
            style__default_outline_level="2",
            **head,
        )
        + _style("Fact", "paragraph", _spaced("0cm", "0.05cm"), **under)
        + _style("Remark", "paragraph", _ITALIC, **under)
        + _style(
            "Speaker",
            "paragraph",
            _spaced("0.3cm", "0cm", **keep) + _bold(),
            style__next_style_name="Speech",
            **under,
        )
        + _style("Speech", "paragraph", _spaced("0cm", "0.15cm"), **under)
        + _style(contents, "paragraph", "", style__display_name="Table Contents", **under)
        + _style(
            "Table_20_Heading",
            "paragraph",
            _bold(),
            style__display_name="Table Heading",
            style__parent_style_name=contents,
        )
        + _style("Strong", "text", _bold())
        + _style("Time", "text", tag("style:text-properties", fo__font_weight="normal"))
    )
    return xml(
        f'<office:document-styles {_SPACES} office:version="1.3">'
        + tag("office:styles", standard + named)
        + "</office:document-styles>"
    )


_ITALIC = tag("style:text-properties", fo__font_style="italic")

_MANIFEST = xml(
    '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
    ' manifest:version="1.3">'
    + "".join(
        tag("manifest:file-entry", manifest__full_path=path, manifest__media_type=kind)
        for path, kind in (
            ("/", MEDIA_TYPE),
            ("content.xml", "text/xml"),
            ("styles.xml", "text/xml"),
            ("meta.xml", "text/xml"),
        )
    )
    + "</manifest:manifest>"
)
