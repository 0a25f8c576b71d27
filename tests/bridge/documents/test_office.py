"""ODT and DOCX: whole files, read again by libraries that are not ours."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import docx as docx_reader
import odfdo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from bridge.domain.documents import FORMS, Language, Participant, Presence, Record, Written
from bridge.domain.documents.odt import MEDIA_TYPE
from bridge.domain.transcript import Utterance

STARTED = 1_795_424_400_000  # 2026-11-23T09:00:00Z
ANNE = Participant(
    "@anne:interieur.example", "Anne <Martin>", (Presence(STARTED, STARTED + 600_000),)
)
ROOM = Participant("@salle:justice.example", "Salle 214")

FULL = Record(
    title="Budget & co",
    room_name="Direction",
    room_id="!r:a",
    conference="c1",
    started_ms=STARTED,
    ended_ms=STARTED + 600_000,
    participants=(ANNE, ROOM),
    utterances=(
        Utterance(
            segment="a",
            speaker=ANNE.user_id,
            display_name=ANNE.display_name,
            text="bonjour à tous",
            language="fr-FR",
            start_ms=0,
            end_ms=2000,
            engine="kyutai",
        ),
        Utterance(
            segment="b",
            speaker=ROOM.user_id,
            display_name="Salle 214",
            text="good <morning>",
            language="en-GB",
            start_ms=1000,
            end_ms=3000,
            voice="V1",
            editor=ANNE.user_id,
        ),
    ),
    chat=(
        Written(
            event_id="$c", author="@x:y", display_name="", text="un lien", at_ms=STARTED + 5000
        ),
    ),
)
SPOKEN = [
    "Anne <Martin> [0:00] (en même temps)",
    "bonjour à tous",
    "Salle 214 – voix 1 [0:01] (corrigé)",
    "good <morning>",
    "@x:y [0:05] (tchat)",
    "un lien",
]
TITLE = "Transcription\u00a0: Budget & co"


def written(form: str, record: Record = FULL, language: Language = "fr") -> bytes:
    return FORMS[form].write(record, language)


def parts(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("form", ["odt", "docx"])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_part_is_well_formed_and_the_same_record_gives_the_same_bytes(
    form: str, language: Language
) -> None:
    data = written(form, language=language)
    assert data == written(form, language=language)
    for name, part in parts(data).items():
        if name != "mimetype":
            etree.fromstring(part)


def test_odt_says_what_it_is_in_its_first_bytes() -> None:
    data = written("odt")
    # ODF 1.3 part 2, 3.3: the first entry, stored, without an extra field.
    assert data[30 : 38 + len(MEDIA_TYPE)] == b"mimetype" + MEDIA_TYPE.encode()
    there = parts(data)
    listed = etree.fromstring(there["META-INF/manifest.xml"])
    paths = {entry.attrib[key] for entry in listed for key in entry.attrib if "full-path" in key}
    assert paths - {"/"} == set(there) - {"mimetype", "META-INF/manifest.xml"}


def test_odt_is_read_by_another_library() -> None:
    document = odfdo.Document(io.BytesIO(written("odt")))
    assert document.meta.title == TITLE
    assert document.meta.language == "fr-FR"
    body = document.body
    assert [(h.get_attribute("text:outline-level"), h.inner_text) for h in body.headers] == [
        ("1", TITLE),
        ("2", "Participants"),
        ("2", "Échanges"),
    ]
    (table,) = body.tables
    assert table.get_values() == [
        ["Nom", "Compte", "Serveur", "Présence", "Temps de parole"],
        ["Anne <Martin>", ANNE.user_id, ANNE.server, "09h00 à 09h10", "0:02"],
        ["Salle 214", ROOM.user_id, ROOM.server, "", "0:02"],
        ["Salle 214 – voix 1", ROOM.user_id, ROOM.server, "", "0:02"],
    ]
    said = [
        paragraph.inner_text
        for paragraph in body.paragraphs
        if paragraph.style in {"Speaker", "Speech"}
    ]
    assert said == SPOKEN


def test_odt_has_its_language_and_that_of_each_utterance() -> None:
    there = parts(written("odt"))
    assert b'fo:language="fr" fo:country="FR" fo:hyphenate="true"' in there["styles.xml"]
    assert b'fo:language="en" fo:country="GB"' in there["content.xml"]
    assert b'fo:country="none"' not in there["content.xml"]
    alone = FULL.utterances[1].__class__(
        segment="z", speaker="@x:y", text="hallo", language="de", start_ms=0, end_ms=1
    )
    german = Record(
        title="t",
        room_name="",
        room_id="!r:a",
        conference="c",
        started_ms=0,
        ended_ms=0,
        utterances=(alone,),
    )
    assert b'fo:language="de" fo:country="none"' in parts(written("odt", german))["content.xml"]


def test_odt_tells_a_screen_reader_of_its_table() -> None:
    content = parts(written("odt"))["content.xml"]
    assert b"<table:title>Participants</table:title>" in content
    assert content.count(b"<table:table-header-rows>") == 1
    assert "Qui a pris part à l’appel".encode() in content


def test_docx_has_the_parts_a_package_must_have() -> None:
    there = parts(written("docx"))
    assert next(iter(there)) == "[Content_Types].xml"
    types = etree.fromstring(there["[Content_Types].xml"])
    named = {one.attrib["PartName"] for one in types if "PartName" in one.attrib}
    assert named == {f"/{name}" for name in there if not name.startswith(("[", "_", "word/_"))}


def test_docx_is_read_by_another_library() -> None:
    document = docx_reader.Document(io.BytesIO(written("docx")))
    core = document.core_properties
    assert (core.title, core.author, core.language) == (TITLE, "Colloque", "fr-FR")
    assert core.created.isoformat() == "2026-11-23T09:10:00+00:00"
    styled = [(p.style.name, p.text) for p in document.paragraphs]
    assert styled[0] == ("Title", TITLE)
    headings = [text for style, text in styled if style.casefold() == "heading 1"]
    assert headings == ["Participants", "Échanges"]
    assert [text for style, text in styled if style in {"Speaker", "Speech"}] == SPOKEN
    (table,) = document.tables
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["Nom", "Compte", "Serveur", "Présence", "Temps de parole"],
        ["Anne <Martin>", ANNE.user_id, ANNE.server, "09h00 à 09h10", "0:02"],
        ["Salle 214", ROOM.user_id, ROOM.server, "", "0:02"],
        ["Salle 214 – voix 1", ROOM.user_id, ROOM.server, "", "0:02"],
    ]


def test_docx_is_made_for_screen_readers_and_hyphenation() -> None:
    there = parts(written("docx"))
    assert b'<w:lang w:val="fr-FR"/>' in there["word/styles.xml"]
    assert b"<w:autoHyphenation/>" in there["word/settings.xml"]
    assert there["word/document.xml"].count(b"<w:tblHeader/>") == 1
    assert b'<w:lang w:val="en-GB"/>' in there["word/document.xml"]
    assert b"<w:tblDescription" in there["word/document.xml"]


@settings(max_examples=30)
@given(text=st.text(), name=st.text(), language=st.sampled_from(["fr", "en"]))
def test_any_text_leaves_both_in_one_piece(text: str, name: str, language: Language) -> None:
    said = Utterance(
        segment="a", speaker="@x:y", display_name=name, text=f"a {text}", start_ms=0, end_ms=1
    )
    whole = Record(
        title=text,
        room_name=name,
        room_id="!r:y",
        conference="c",
        started_ms=STARTED,
        ended_ms=STARTED,
        participants=(Participant("@x:y", name),),
        utterances=(said,),
        missing=(text,),
    )
    for form in ("odt", "docx"):
        for path, part in parts(written(form, whole, language)).items():
            if path != "mimetype":
                etree.fromstring(part)
