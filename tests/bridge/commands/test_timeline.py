"""How a call looks in a room: contents any client can show, with nothing of others unescaped."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from bridge.domain.conference import Conference
from bridge.domain.course import start
from bridge.domain.ringing import Ring
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish
from bridge.matrix import timeline, wire
from bridge.matrix.card import Place, names
from bridge.matrix.timeline import CARD
from bridge.store.utterances import Utterance

LINK = timeline.link("https://visio.example/", "!a/b?c:example.org")
PLACE = Place(LINK, "visio.example")
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
    card = timeline.card(call(stays=stays(2)), PLACE)
    assert card["msgtype"] == "m.notice"
    assert card["m.mentions"] == {}
    assert card["body"].split("\n") == [
        "📞 Visioconférence en cours",
        "Lancée par Alice à 00:00 (UTC)",
        "En ligne : N0, N1 (2 personnes)",
        "Sous-titres : désactivé",
        "Transcription : activé",
        "Ce qui est dit est transcrit dans le fil ci-dessous.",
        f"Rejoindre dans le navigateur (visio.example) : {LINK}",
        "Ou dans Element : ouvrez ce salon et utilisez le bouton d’appel.",
    ]
    label = "Rejoindre dans le navigateur (visio.example)"
    assert f'<br><a href="{LINK}">{label}</a><br>Ou dans Element' in card["formatted_body"]
    assert "m.relates_to" not in card


def test_who_waits_declined_or_did_not_answer() -> None:
    rings = tuple(
        Ring(
            id=name,
            by="@alice:a",
            mode="ring",
            users=(f"@{name}:a",),
            name=name,
            state=state,
            until_ms=1,
            declined=declined,
        )
        for name, state, declined in (
            ("bob", "missed", ()),
            ("carol", "declined", (("@carol:a", "Carol"),)),
            ("u0", "missed", ()),
        )
    )
    shown = call(rings=rings, knocked=("@dora:a", "@u0:a"), lobby=True, stays=stays(1))
    body = timeline.card(shown, PLACE)["body"].split("\n")
    assert body[3:6] == [
        "En salle d’attente : @dora:a",
        "Ont décliné : Carol",
        "N’ont pas répondu : bob",
    ]
    assert "Les nouveaux passent par la salle d’attente." in body
    locked = timeline.card(replace(shown, locked=True), PLACE)["body"]
    assert "🔒 L’appel est verrouillé" in locked
    assert "passent par la salle" not in locked
    record = timeline.card(replace(shown, phase="ended", ended_ms=9000), PLACE)["body"]
    assert record.endswith("Ont décliné : Carol\nN’ont pas répondu : bob")
    assert "salle d’attente" not in record


def test_the_hour_is_that_of_the_readers() -> None:
    place = Place(LINK, "visio.example", timezone(timedelta(hours=2), "CEST"))
    assert "à 02:00 (CEST)" in timeline.card(call(), place)["body"]


def test_an_edited_card_carries_its_whole_new_self() -> None:
    card = timeline.card(call(card_rev=3, transcript=False), PLACE)
    assert card["m.relates_to"] == {"rel_type": "m.replace", "event_id": "outbox:card:c1:0"}
    new = card["m.new_content"]
    assert card["body"] == f"* {new['body']}"
    assert "Personne n’est encore en ligne." in new["body"]
    assert card[CARD] == new[CARD]


def test_the_record() -> None:
    ended = call(phase="ended", ended_ms=61_000, stays=stays(1), utterances=1)
    card = timeline.card(ended, PLACE)
    assert card["body"].split("\n") == [
        "📞 Visioconférence terminée",
        "Lancée par Alice à 00:00 (UTC)",
        "Durée : 1 min",
        "Ont participé : N0 (1 personne, 1 serveur)",
        "Transcription dans le fil : 1 intervention",
    ]
    assert card[CARD]["ended_ms"] == 61_000
    assert LINK not in card["formatted_body"]


def test_the_record_of_a_call_nobody_joined() -> None:
    body = timeline.card(call(phase="ended", ended_ms=1500), PLACE)["body"]
    assert body.endswith("Personne n’a rejoint l’appel.")


@pytest.mark.parametrize("phase", ["ending", "ended"])
def test_that_a_scribe_still_finishes_is_not_shown(phase: Any) -> None:
    shown = call(phase=phase, ended_ms=2000)
    assert timeline.card(shown, PLACE)[CARD]["phase"] == "ended"
    status = timeline.status(shown, LINK)
    assert (status["phase"], status["active"], status["ended_ms"]) == ("ended", False, 2000)


def test_a_running_status_says_nothing_of_an_end() -> None:
    status = timeline.status(call(), LINK)
    assert "ended_ms" not in status
    assert status["card"] == "outbox:card:c1:0"


def test_many_names_are_as_many_as_one_reads() -> None:
    assert names(stays(12), "en").endswith("N11")
    assert names(stays(14), "en").endswith("N11 and 2 more")


def test_people_without_a_name_have_their_id() -> None:
    assert names([Stay(identity="i", sid="P", user_id="@x:y")], "fr") == "@x:y"
    assert "Lancée par @alice:a" in timeline.card(call(started_name=""), PLACE)["body"]


def test_nothing_of_others_is_markup() -> None:
    evil = replace(stays(1)[0], display_name=EVIL)
    card = timeline.card(call(stays=(evil,), started_name=EVIL), PLACE)
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


def test_a_voice_of_a_shared_microphone() -> None:
    content = timeline.utterance(
        utterance(voice="V2", editor="@bob:b", display_name="Salle 214"), name="Anne (Salle 214)"
    )
    assert content["body"] == "Anne (Salle 214) : bonjour"
    told = content[wire.UTTERANCE]
    assert (told["voice"], told["editor"]) == ("V2", "@bob:b")
    profile = content[wire.PER_MESSAGE_PROFILE]
    assert (profile["id"], profile["displayname"]) == ("@alice:a V2", "Anne (Salle 214)")
    plain = timeline.utterance(utterance())
    assert "editor" not in plain[wire.UTTERANCE]
    assert plain[wire.UTTERANCE]["voice"] is None
