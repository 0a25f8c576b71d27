"""The record of a conference as Markdown, WebVTT and JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import webvtt as webvtt_reader  # a parser that is not ours
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import DocumentForm
from bridge.domain.documents import (
    FORMS,
    Language,
    Participant,
    Presence,
    Record,
    Written,
    as_json,
    clock,
    markdown,
    srt,
    webvtt,
)
from bridge.domain.transcript import Utterance

STARTED = 1_795_424_400_000  # 2026-11-23T09:00:00Z
ANNE = Participant(
    "@anne:interieur.example",
    "Anne Martin",
    (
        Presence(STARTED, STARTED + 1_200_000),
        Presence(STARTED + 1_800_000, STARTED + 3_725_000, "b.example"),
    ),
)
BOB = Participant("@bob:justice.example:8448")


def said(who: Participant, start_ms: int, end_ms: int, text: str, **more: object) -> Utterance:
    values: dict[str, object] = {"language": "en", **more}
    return Utterance(
        segment=f"s{start_ms}",
        speaker=who.user_id,
        display_name=who.display_name,
        text=text,
        start_ms=start_ms,
        end_ms=end_ms,
        engine="pocketsphinx/en-us",
        **values,  # type: ignore[arg-type]
    )


def record(*utterances: Utterance, title: str = "Budget", **more: object) -> Record:
    return Record(
        title=title,
        room_name="Direction du budget",
        room_id="!r:interieur.example",
        conference="c1",
        started_ms=STARTED,
        ended_ms=STARTED + 3_725_000,
        participants=(ANNE, BOB),
        utterances=utterances,
        **more,  # type: ignore[arg-type]
    )


FULL = record(said(ANNE, 0, 2000, "good morning"), said(BOB, 65_000, 66_500, "hello"))


def test_every_form_that_can_be_chosen_is_written() -> None:
    assert set(FORMS) == set(get_args(DocumentForm))
    assert all(form.write(FULL, "fr") for form in FORMS.values())
    assert FORMS["csv"].file_name == "attendance.csv"


def test_markdown_in_french() -> None:
    assert markdown(FULL, "fr") == (
        "# Transcription\u00a0: Budget\n\n"
        "- **Salon**\u00a0: Direction du budget\n"
        "- **Date**\u00a0: 23/11/2026, 09h00 à 10h02 (UTC)\n"
        "- **Durée**\u00a0: 1:02:05\n"
        "- **Reconnaissance vocale**\u00a0: pocketsphinx/en-us\n\n"
        "*Texte produit par une machine\u202f: il peut contenir des erreurs.*\n\n"
        "## Participants\n\n"
        "- Anne Martin (`@anne:interieur.example`, interieur.example)\u00a0: "
        "présence 09h00 à 09h20, 09h30 à 10h02\u202f; a parlé 0:02\n"
        "- @bob:justice.example:8448 (`@bob:justice.example:8448`, justice.example:8448)"
        "\u00a0: a parlé 0:01\n\n"
        "## Échanges\n\n"
        "**Anne Martin** [0:00]\u00a0: good morning\n\n"
        "**@bob:justice.example:8448** [1:05]\u00a0: hello\n"
    )


def test_markdown_in_english_in_the_readers_zone() -> None:
    paris = timezone(timedelta(hours=1), "CET")
    text = markdown(record(said(ANNE, 0, 1, "x"), zone=paris), "en")
    assert "# Transcript: Budget\n" in text
    assert "- **Date**: 2026-11-23, 10:00 to 11:02 (CET)\n" in text
    assert "**Anne Martin** [0:00]: x\n" in text


def test_markdown_says_when_nothing_was_said() -> None:
    text = markdown(record(), "en")
    assert text.endswith("## Conversation\n\n*No speech was transcribed.*\n")
    assert "Speech recognition" not in text


def test_markdown_marks_who_spoke_at_once() -> None:
    text = markdown(record(said(ANNE, 0, 3000, "x"), said(BOB, 1000, 2000, "y")), "en")
    assert "**Anne Martin** [0:00] *(at the same time)*: x" in text


def test_markdown_takes_nobodys_text_for_markup() -> None:
    trick = "- **bold** <script>`x`</script>\n# head ![i](http://e.example)"
    line = markdown(record(said(ANNE, 0, 1, trick), title=trick), "en").splitlines()
    assert line[0] == (
        "# Transcript: - \\*\\*bold\\*\\* \\<script\\>\\`x\\`\\</script\\> \\# head "
        "!\\[i\\](http://e.example)"
    )
    assert not any(entry.startswith("# head") for entry in line)


def test_webvtt_is_read_by_another_parser_with_its_voices() -> None:
    captions = webvtt_reader.from_buffer(io.StringIO(webvtt(FULL, "fr"))).captions
    assert [(c.start, c.end, c.voice, c.text) for c in captions] == [
        ("00:00:00.000", "00:00:02.000", "Anne Martin", "good morning"),
        ("00:01:05.000", "00:01:06.500", "@bob:justice.example:8448", "hello"),
    ]


def test_webvtt_escapes_and_never_ends_before_it_began() -> None:
    trick = "a --> b\n\n00:00.000 --> 00:01.000\n<b>&amp;"
    text = webvtt(record(said(ANNE, 5, 5, trick), title=trick), "en")
    assert "00:00:00.005 --> 00:00:00.006\n" in text
    assert "a --&gt; b 00:00.000 --&gt; 00:01.000 &lt;b&gt;&amp;amp;</v>" in text
    assert text.count("-->") == 1


def test_webvtt_without_utterances_is_still_one() -> None:
    assert webvtt(record(), "en").startswith("WEBVTT\n\nNOTE Transcript: Budget\n")


def test_json_has_the_same_keys_in_every_language() -> None:
    french, english = json.loads(as_json(FULL, "fr")), json.loads(as_json(FULL, "en"))
    assert french.keys() == english.keys()
    assert english["started_at"] == "2026-11-23T09:00:00.000Z"
    assert english["ended_at"] == "2026-11-23T10:02:05.000Z"
    assert english["duration_ms"] == 3_725_000
    assert english["participants"][0] == {
        "id": "p1",
        "user_id": "@anne:interieur.example",
        "display_name": "Anne Martin",
        "server": "interieur.example",
        "stays": [
            {
                "joined_at": "2026-11-23T09:00:00.000Z",
                "left_at": "2026-11-23T09:20:00.000Z",
                "site": "",
            },
            {
                "joined_at": "2026-11-23T09:30:00.000Z",
                "left_at": "2026-11-23T10:02:05.000Z",
                "site": "b.example",
            },
        ],
        "present_ms": 3_125_000,
        "spoke": True,
        "spoken_ms": 2000,
        "voices": [],
    }
    assert [u["participant"] for u in english["utterances"]] == ["p1", "p2"]
    assert [u["text"] for u in english["utterances"]] == ["good morning", "hello"]
    assert all(type(u[k]) is int for u in english["utterances"] for k in ("start_ms", "end_ms"))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0:00"), (7_999, "0:07"), (760_000, "12:40"), (3_723_000, "1:02:03")],
)
def test_clock(milliseconds: int, text: str) -> None:
    assert clock(milliseconds) == text


@given(text=st.text(), name=st.text(), language=st.sampled_from(["fr", "en"]))
def test_any_text_leaves_every_document_in_one_piece(
    text: str, name: str, language: Language
) -> None:
    person = Participant("@x:y", name)
    whole = Record(
        title=text,
        room_name=name,
        room_id="!r:y",
        conference="c",
        started_ms=STARTED,
        ended_ms=STARTED,
        participants=(person,),
        utterances=(said(person, 0, 10, f"word {text}"), said(person, 20, 30, "last")),
    )
    captions = webvtt_reader.from_buffer(io.StringIO(webvtt(whole, language))).captions
    assert len(captions) == 2
    assert captions[1].text == "last"
    assert srt(whole, language).count("-->") == 2
    json.loads(as_json(whole, language))
    assert sum(line.startswith("# ") for line in markdown(whole, language).splitlines()) == 1


def test_json_is_what_its_schema_says() -> None:
    schema = json.loads(Path("docs/transcript.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for whole in (FULL, SHARED, record()):
        written = json.loads(as_json(whole, "fr"))
        jsonschema.validate(written, schema, cls=jsonschema.Draft202012Validator)
        # What is written is what is described, no more.
        assert written.keys() <= schema["properties"].keys()
    said = schema["properties"]["utterances"]["items"]["properties"]
    assert json.loads(as_json(FULL, "fr"))["utterances"][0].keys() == said.keys()


def test_what_is_missing_is_said() -> None:
    partly = record(*FULL.utterances, missing=("justice.example", "evil --> .example"))
    assert "Missing is what was said at**: justice.example" in markdown(partly, "en")
    assert "Manque ce qui a été dit chez" in webvtt(partly, "fr")
    assert len(webvtt_reader.from_string(webvtt(partly, "fr"))) == 2
    assert json.loads(as_json(partly, "en"))["missing"] == ["justice.example", "evil --> .example"]
    assert json.loads(as_json(FULL, "en"))["missing"] == []


ROOM = Participant("@salle:justice.example", "Salle 214")
SHARED = record(
    said(
        ROOM,
        0,
        3000,
        "good morning <all>",
        voice="V1",
        words=(("good", 0, 400), ("morning", 400, 900), ("<all>", 2000, 2500)),
    ),
    said(ROOM, 3000, 4000, "merci", voice="V2", language="fr", editor=ANNE.user_id),
    voices={(ROOM.user_id, "V1"): "Chloé Petit"},
    chat=(
        Written(
            event_id="$c",
            author=ANNE.user_id,
            display_name="Anne Martin",
            text="the *link*\nhttps://x.example",
            at_ms=STARTED + 3500,
        ),
    ),
)


def test_voices_corrections_and_chat_stand_in_the_page() -> None:
    text = markdown(SHARED, "en")
    shared = replace(SHARED, participants=(ROOM,))
    assert (
        "- Salle 214 (`@salle:justice.example`, justice.example): spoke 0:04\n"
        "  - Chloé Petit (Salle 214): spoke 0:03\n"
        "  - Salle 214 – voice 2: spoke 0:01\n"
    ) in markdown(shared, "en")
    assert "**Chloé Petit (Salle 214)** [0:00]: good morning \\<all\\>\n" in text
    assert "**Salle 214 – voice 2** [0:03] *(at the same time" not in text
    assert "**Salle 214 – voice 2** [0:03] *(corrected)*: merci\n" in text
    assert "**Anne Martin** [0:03] *(chat)*: the \\*link\\* https://x.example\n" in text
    assert "- **Corrected by**: Anne Martin\n" in text
    assert "- **Chat**: messages written during the call stand at their time\n" in text
    assert text.index("merci") < text.index("link")


def test_what_of_the_chat_could_not_be_read_is_said() -> None:
    partly = record(chat=(), chat_unread=3)
    assert "; 3 are missing, I could not read them\n" in markdown(partly, "en")
    assert "chat" not in json.loads(as_json(FULL, "en"))
    assert json.loads(as_json(partly, "en"))["chat_unread"] == 3
    assert json.loads(as_json(SHARED, "en"))["chat"] == [
        {
            "event_id": "$c",
            "author": "@anne:interieur.example",
            "display_name": "Anne Martin",
            "text": "the *link*\nhttps://x.example",
            "at_ms": 3500,
        }
    ]


def test_words_have_their_times_and_other_languages_are_named() -> None:
    text = webvtt(SHARED, "fr")
    assert (
        "<v Chloé Petit (Salle 214)><lang en>good <00:00:00.400>morning "
        "<00:00:02.000>&lt;all&gt;</lang></v>\n"
    ) in text
    assert "<v Salle 214 – voix 2>merci</v>\n" in text
    captions = webvtt_reader.from_buffer(io.StringIO(text)).captions
    assert [c.voice for c in captions] == ["Chloé Petit (Salle 214)", "Salle 214 – voix 2"]


@pytest.mark.parametrize(
    ("words", "cue"),
    [
        ((), "a b c"),
        ((("a", 0, 1), ("b", 1, 2)), "a b c"),  # a correction: these are not its words
        ((("a", 0, 100), ("b", 100, 200), ("c", 100, 200)), "a <00:00:00.100>b c"),
        ((("a", 0, 100), ("b", 0, 200), ("c", 900, 990)), "a b c"),
    ],
)
def test_no_word_has_a_time_that_webvtt_forbids(
    words: tuple[tuple[str, int, int], ...], cue: str
) -> None:
    text = webvtt(record(said(BOB, 0, 900, "a b c", words=words)), "en")
    assert f">{cue}</v>" in text


def test_srt_has_the_speaker_before_the_text() -> None:
    assert srt(SHARED, "fr") == (
        "1\n00:00:00,000 --> 00:00:03,000\n"
        "Chloé Petit (Salle 214)\u00a0: good morning ‹all›\n"
        "\n2\n00:00:03,000 --> 00:00:04,000\nSalle 214 – voix 2\u00a0: merci\n"
    )
    trick = srt(record(said(ANNE, 1, 2, "a --> b {\\an8}<i>x</i>")), "en")
    assert trick.count("-->") == 1
    assert "a -› b (\\an8)‹i›x‹/i›" in trick
    assert srt(record(), "en") == ""


def test_an_interruption_stands_where_it_was() -> None:
    spoken = (said(ANNE, 1_000, 2_000, "before"), said(BOB, 90_000, 91_000, "after"))
    interrupted = record(*spoken, interruptions=((30_000, 75_500),))
    page = markdown(interrupted, "en")
    lost = "*Transcript interrupted from 0:30 to 1:15: what was said is missing.*"
    assert page.index("before") < page.index(lost) < page.index("after")
    captions = webvtt(interrupted, "fr")
    assert "Transcription interrompue de 0:30 à 1:15" in captions
    assert [c.text for c in webvtt_reader.from_buffer(io.StringIO(captions)).captions] == [
        "before",
        "after",
    ]
    data = json.loads(as_json(interrupted, "en"))
    assert data["interruptions"] == [{"start_ms": 30_000, "end_ms": 75_500}]
