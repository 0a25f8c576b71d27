"""The record as an Office Open XML document (ISO/IEC 29500, transitional), for Word.

Built to be read aloud, as the ODT: styles of Word's own names for title and headings, a repeated
header row, and the language of the document and of each utterance in another one.
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

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def docx(record: Record, language: Language) -> bytes:
    """The file."""
    page = blocks(record, language)
    return packed(
        [
            ("[Content_Types].xml", _TYPES),
            ("_rels/.rels", _RELATIONS),
            ("word/document.xml", _document(page, record, language)),
            ("word/_rels/document.xml.rels", _DOCUMENT_RELATIONS),
            ("word/styles.xml", _styles(language)),
            ("word/settings.xml", _settings(language)),
            ("docProps/core.xml", _core(page, record, language)),
        ]
    )


def _document(page: list[Block], record: Record, language: Language) -> str:
    body = "".join(_block(block, record, language) for block in page)
    # A4, in twentieths of a point.
    section = tag(
        "w:sectPr",
        tag("w:pgSz", w__w="11906", w__h="16838")
        + tag(
            "w:pgMar",
            w__top="1134",
            w__right="1134",
            w__bottom="1134",
            w__left="1134",
            w__header="709",
            w__footer="709",
            w__gutter="0",
        ),
    )
    return xml(tag("w:document", tag("w:body", body + section), xmlns__w=_MAIN))


def _block(block: Block, record: Record, language: Language) -> str:
    match block:
        case Heading(1, said):
            return _paragraph(_run(said), "Title")
        case Heading(_, said):
            return _paragraph(_run(said), "Heading1")
        case Fact(label, said):
            name = say("document.label", language, label=label)
            return _paragraph(_run(name, "Strong") + _run(said), "Fact")
        case Remark(said):
            return _paragraph(_run(said), "Remark")
        case Attendance():
            return _table(block, record, language)
    return _speech(block)


def _speech(speech: Speech) -> str:
    beside = f" ({', '.join(speech.marks)})" if speech.marks else ""
    head = _run(speech.name) + _run(f" [{speech.at}]{beside}", "Time")
    said = _run(" ").join(_run(part, spoken_in=spoken) for part, spoken in speech.parts)
    return _paragraph(head, "Speaker") + _paragraph(said, "Speech")


def _table(block: Attendance, record: Record, language: Language) -> str:
    look = tag("w:tblLook", w__firstRow="1", w__firstColumn="0", w__noHBand="1", w__noVBand="1")
    properties = tag(
        "w:tblPr",
        tag("w:tblStyle", w__val="People")
        + tag("w:tblW", w__w="5000", w__type="pct")
        + look
        + tag("w:tblCaption", w__val=say("document.participants", language))
        + tag("w:tblDescription", w__val=block.hint),
    )
    grid = tag("w:tblGrid", tag("w:gridCol", w__w="1927") * len(COLUMNS))
    head = _row(columns(language), header=True)
    body = "".join(_row(row) for row in rows(record, block, language))
    return tag("w:tbl", properties + grid + head + body)


def _row(cells: list[str], *, header: bool = False) -> str:
    whole = tag("w:cantSplit") + (tag("w:tblHeader") if header else "")
    run = "Strong" if header else ""
    return tag(
        "w:tr",
        tag("w:trPr", whole)
        + "".join(
            tag(
                "w:tc",
                tag("w:tcPr", tag("w:tcW", w__w="1000", w__type="pct"))
                + _paragraph(_run(cell, run), "Cell"),
            )
            for cell in cells
        ),
    )


def _paragraph(content: str, style: str) -> str:
    return tag("w:p", tag("w:pPr", tag("w:pStyle", w__val=style)) + content)


def _run(said: str, style: str = "", *, spoken_in: str = "") -> str:
    properties = tag("w:rStyle", w__val=style) if style else ""
    if spoken_in:
        properties += tag("w:lang", w__val=spoken_in)
    kept = tag("w:t", text(said), xml__space="preserve")
    return tag("w:r", (tag("w:rPr", properties) if properties else "") + kept)


def _core(page: list[Block], record: Record, language: Language) -> str:
    title = next(block.text for block in page if isinstance(block, Heading))
    ended = iso(record.ended_ms)
    return xml(
        tag(
            "cp:coreProperties",
            tag("dc:title", text(title))
            + tag("dc:subject", text(one_line(record.room_name)))
            + tag("dc:creator", "Colloque")
            + tag("dc:description", text(say("document.notice", language)))
            + tag("dc:language", f"{language}-{COUNTRIES[language]}")
            + tag("dcterms:created", ended, xsi__type="dcterms:W3CDTF")
            + tag("dcterms:modified", ended, xsi__type="dcterms:W3CDTF"),
            xmlns__cp=f"{_PACKAGE}/metadata/core-properties",
            xmlns__dc="http://purl.org/dc/elements/1.1/",
            xmlns__dcterms="http://purl.org/dc/terms/",
            xmlns__xsi="http://www.w3.org/2001/XMLSchema-instance",
        )
    )


def _settings(language: Language) -> str:
    return xml(
        tag(
            "w:settings",
            tag("w:autoHyphenation")
            + tag("w:compat", tag("w:compatSetting", **_COMPATIBILITY))
            + tag("w:themeFontLang", w__val=f"{language}-{COUNTRIES[language]}"),
            xmlns__w=_MAIN,
        )
    )


# Without it Word opens the file in its compatibility mode.
_COMPATIBILITY = {
    "w__name": "compatibilityMode",
    "w__uri": "http://schemas.microsoft.com/office/word",
    "w__val": "15",
}


def _style(kind: str, style_id: str, name: str, properties: str, **more: str) -> str:
    said = tag("w:name", w__val=name) + "".join(
        tag(f"w:{key}", w__val=value) for key, value in more.items()
    )
    default = {"w__default": "1"} if style_id == "Normal" else {}
    return tag("w:style", said + properties, w__type=kind, **default, w__styleId=style_id)


def _spaced(before: int, after: int, more: str = "") -> str:
    return tag("w:pPr", more + tag("w:spacing", w__before=str(before), w__after=str(after)))


def _outlined(before: int, after: int, level: int) -> str:
    spacing = tag("w:spacing", w__before=str(before), w__after=str(after))
    return tag("w:pPr", _KEEP + spacing + tag("w:outlineLvl", w__val=str(level)))


def _bold(half_points: int = 0) -> str:
    size = tag("w:sz", w__val=str(half_points)) if half_points else ""
    return tag("w:rPr", tag("w:b") + size)


_KEEP = tag("w:keepNext")


def _styles(language: Language) -> str:
    country = COUNTRIES[language]
    fonts = {f"w__{script}": "Liberation Sans" for script in ("ascii", "hAnsi", "cs")}
    defaults = tag(
        "w:docDefaults",
        tag(
            "w:rPrDefault",
            tag(
                "w:rPr",
                tag("w:rFonts", **fonts)
                + tag("w:sz", w__val="22")
                + tag("w:lang", w__val=f"{language}-{country}"),
            ),
        )
        + tag("w:pPrDefault", tag("w:pPr", tag("w:spacing", w__after="80"))),
    )
    under = {"basedOn": "Normal"}
    lines = "".join(
        tag(f"w:{side}", w__val="single", w__sz="4", w__space="0", w__color="808080")
        for side in ("top", "left", "bottom", "right", "insideH", "insideV")
    )
    return xml(
        tag(
            "w:styles",
            defaults
            + _style("paragraph", "Normal", "Normal", tag("w:qFormat"))
            + _style("paragraph", "Title", "Title", _spaced(0, 240, _KEEP) + _bold(40), **under)
            + _style(
                "paragraph", "Heading1", "heading 1", _outlined(320, 120, 0) + _bold(28), **under
            )
            + _style("paragraph", "Fact", "Fact", _spaced(0, 40), **under)
            + _style("paragraph", "Remark", "Remark", tag("w:rPr", tag("w:i")), **under)
            + _style(
                "paragraph",
                "Speaker",
                "Speaker",
                _spaced(160, 0, _KEEP) + _bold(),
                basedOn="Normal",
                next="Speech",
            )
            + _style("paragraph", "Speech", "Speech", _spaced(0, 80), **under)
            + _style("paragraph", "Cell", "Cell", _spaced(40, 40), **under)
            + _style("character", "Strong", "Strong", _bold())
            + _style("character", "Time", "Time", tag("w:rPr", tag("w:b", w__val="0")))
            + _style("table", "People", "People", tag("w:tblPr", tag("w:tblBorders", lines))),
            xmlns__w=_MAIN,
        )
    )


def _relations(*targets: tuple[str, str]) -> str:
    return xml(
        tag(
            "Relationships",
            "".join(
                tag("Relationship", Id=f"rId{number}", Type=kind, Target=target)
                for number, (kind, target) in enumerate(targets, 1)
            ),
            xmlns=f"{_PACKAGE}/relationships",
        )
    )


_RELATIONS = _relations(
    (f"{_OFFICE}/officeDocument", "word/document.xml"),
    (f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
)
_DOCUMENT_RELATIONS = _relations(
    (f"{_OFFICE}/styles", "styles.xml"), (f"{_OFFICE}/settings", "settings.xml")
)
_TYPES = xml(
    tag(
        "Types",
        tag(
            "Default",
            Extension="rels",
            ContentType="application/vnd.openxmlformats-package.relationships+xml",
        )
        + tag("Default", Extension="xml", ContentType="application/xml")
        + "".join(
            tag("Override", PartName=f"/{path}", ContentType=kind)
            for path, kind in (
                ("word/document.xml", f"{_WORD}.document.main+xml"),
                ("word/styles.xml", f"{_WORD}.styles+xml"),
                ("word/settings.xml", f"{_WORD}.settings+xml"),
                (
                    "docProps/core.xml",
                    "application/vnd.openxmlformats-package.core-properties+xml",
                ),
            )
        ),
        xmlns=f"{_PACKAGE}/content-types",
    )
)
