"""How a call looks in a room: contents any client can show, with nothing of others unescaped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.conference import Conference, Stay, start
from bridge.domain.wish import Wish
from bridge.matrix import timeline
from bridge.matrix.timeline import CARD
from bridge.store.utterances import Utterance

LINK = timeline.link("https://visio.example/", "!a/b?c:example.org")
EVIL = "<img src=x>"


def call(**changes: Any) -> Conference:
    wish = Wish(language="fr", transcript=True)
    begun, _ = start(
        conference="c1", room_id="!r", by="@alice:a", display_name="Alice", wish=wish, now_ms=1000
    )
    return replace(begun, **changes)


def stays(count: int, server: str = "a") -> tuple[Stay, ...]:
    return tuple(
        Stay(identity=f"i{n}", sid=f"P{n}", user_id=f"@u{n}:{server}", display_name=f"N{n}")
        for n in range(count)
    )


def utterance(**changes: Any) -> Utterance:
    values: dict[str, Any] = {
        "conference": "c1",
        "segment": "s1",
        "rev": 0,
        "room_id": "!r",
        "speaker": "@alice:a",
        "device": "D",
        "display_name": "Alice",
        "text": "bonjour",
        "language": "fr",
        "start_ms": 0,
        "end_ms": 1,
        "engine": "test",
    }
    return Utterance(**{**values, **changes})


def test_the_link_survives_any_room_id() -> None:
    assert LINK == "https://visio.example/#/room/%21a%2Fb%3Fc%3Aexample.org"


def test_a_running_card() -> None:
    card = timeline.card(call(stays=stays(2)), LINK)
    assert card["msgtype"] == "m.notice"
    assert card["m.mentions"] == {}
    assert card["body"].split("\n") == [
        "📞 Visioconférence en cours",
        "Lancée par Alice",
        "En ligne : N0, N1 (2 personnes)",
        "Sous-titres : désactivé",
        "Transcription : activé",
        "Ce qui est dit est transcrit dans le fil ci-dessous.",
        f"Rejoindre : {LINK}",
    ]
    assert card["formatted_body"].endswith(f'<a href="{LINK}">Rejoindre dans le navigateur</a>')
    assert "m.relates_to" not in card


def test_an_edited_card_carries_its_whole_new_self() -> None:
    card = timeline.card(call(card_rev=3, transcript=False), LINK)
    assert card["m.relates_to"] == {"rel_type": "m.replace", "event_id": "outbox:card:c1:0"}
    new = card["m.new_content"]
    assert card["body"] == f"* {new['body']}"
    assert "Personne n’est encore en ligne." in new["body"]
    assert card[CARD] == new[CARD]


def test_the_record() -> None:
    ended = call(phase="ended", ended_ms=61_000, stays=stays(1), utterances=1)
    card = timeline.card(ended, LINK)
    assert card["body"].split("\n") == [
        "📞 Visioconférence terminée",
        "Lancée par Alice",
        "Durée : 1 min",
        "Ont participé : N0 (1 personne, 1 serveur)",
        "Transcription dans le fil : 1 intervention",
    ]
    assert card[CARD]["ended_ms"] == 61_000
    assert LINK not in card["formatted_body"]


def test_the_record_of_a_call_nobody_joined() -> None:
    body = timeline.card(call(phase="ended", ended_ms=1500), LINK)["body"]
    assert body.endswith("Personne n’a rejoint l’appel.")


@pytest.mark.parametrize("phase", ["ending", "ended"])
def test_that_a_scribe_still_finishes_is_not_shown(phase: Any) -> None:
    shown = call(phase=phase, ended_ms=2000)
    assert timeline.card(shown, LINK)[CARD]["phase"] == "ended"
    status = timeline.status(shown, LINK)
    assert (status["phase"], status["active"], status["ended_ms"]) == ("ended", False, 2000)


def test_a_running_status_says_nothing_of_an_end() -> None:
    status = timeline.status(call(), LINK)
    assert "ended_ms" not in status
    assert status["card"] == "outbox:card:c1:0"


def test_many_names_are_as_many_as_one_reads() -> None:
    assert timeline.names(stays(12), "en").endswith("N11")
    assert timeline.names(stays(14), "en").endswith("N11 and 2 more")


def test_people_without_a_name_have_their_id() -> None:
    assert timeline.names([Stay(identity="i", sid="P", user_id="@x:y")], "fr") == "@x:y"
    assert "Lancée par @alice:a" in timeline.card(call(started_name=""), LINK)["body"]


def test_nothing_of_others_is_markup() -> None:
    evil = replace(stays(1)[0], display_name=EVIL)
    card = timeline.card(call(stays=(evil,), started_name=EVIL), LINK)
    said = timeline.utterance(utterance(display_name=EVIL, text=EVIL))
    for content in (card, said):
        assert EVIL in content["body"]
        assert EVIL not in content["formatted_body"]
        assert "&lt;img src=x&gt;" in content["formatted_body"]


def test_an_utterance_hangs_in_the_calls_thread() -> None:
    content = timeline.utterance(utterance())
    assert content["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": "outbox:card:c1:0",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "outbox:card:c1:0"},
    }


def test_a_document_leaves_its_address_to_the_outbox() -> None:
    content = timeline.document("c1", form="vtt", rev=2, file_name="transcript.vtt")
    assert content["eu.colloque.transcript"] == {
        "version": 1,
        "conference": "c1",
        "format": "vtt",
        "rev": 2,
    }
    assert "url" not in content


def test_a_notice_that_answers_nobody_has_no_relation() -> None:
    assert timeline.notice("hello") == {"msgtype": "m.notice", "body": "hello", "m.mentions": {}}
