"""Utterances as bridges tell them each other: with voices and words, and without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.peers.messages import InvalidMessage, Page, Said, page, page_body

SAID = Said(
    segment="s1",
    rev=2,
    speaker="@room:b",
    display_name="Salle 214",
    text="bonjour",
    language="fr",
    start_ms=10,
    end_ms=90,
    engine="test",
    voice="V1",
    words=(("bonjour", 10, 90),),
    editor="@anne:b",
)


def told(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(page_body(Page(said=(SAID,), total=1))))
    body["said"][0] |= changes
    return body


def test_everything_of_an_utterance_is_told() -> None:
    assert page(told()) == Page(said=(SAID,), total=1)


def test_an_older_bridge_knows_no_voices_words_and_editors() -> None:
    body = told()
    for key in ("voice", "words", "editor"):
        del body["said"][0][key]
    (read,) = page(body).said
    assert (read.voice, read.words, read.editor, read.text) == ("", (), "", "bonjour")


@pytest.mark.parametrize(
    "changes",
    [
        {"voice": "<b>"},
        {"voice": "V1000"},
        {"words": "no list"},
        {"words": [["w", 0]]},
        {"words": [["w", -1, 4]]},
        {"words": [["w" * 201, 0, 4]]},
        {"words": [["w", 0, 4]] * 2001},
        {"words": [4]},
        {"editor": "nobody"},
    ],
)
def test_what_is_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        page(told(**changes))


def test_a_word_never_ends_before_it_begins() -> None:
    assert page(told(words=[["w", 9, 4]])).said[0].words == (("w", 9, 9),)
