"""What people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.matrix.commands import Command, parse


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        ("!visio start", "start"),
        ("  !VISIO   Démarrer ", "start"),
        ("!visio de\u0301marrer", "start"),
        ("!visio stop", "stop"),
        ("!visio arrêter", "stop"),
        ("!visio status", "status"),
        ("!visio état", "status"),
        ("!visio who", "who"),
        ("!visio qui", "who"),
        ("!visio help", "help"),
        ("!visio aide", "help"),
        ("!visio", "help"),
        ("!visio start\nand a second line", "start"),
        ("> <@a:b> !visio stop\n> more\n\n!visio who", "who"),
        ("!visio transcription", "transcript"),
        ("!visio sonner", "ring"),
        ("!visio end", "stop"),
        ("!visio inviter @bob:b", "invite"),
        ("!visio Sous  Titres on", "captions"),
        ("!visio langue fr", "language"),
        ("!visio verrouiller", "lock"),
        ("!visio déverrouiller", "unlock"),
        ("!visio salle d\u2019attente on", "lobby"),
        ("!visio parole modérateurs", "publish"),
        ("!visio publish everyone", "publish"),
        ("!visio maximum 20", "max"),
        ("!visio max none", "max"),
        ("!visio admettre @bob:b", "admit"),
        ("!visio couper le micro de Bob", "mute"),
        ("!visio couper Bob", "mute"),
        ("!visio retirer Bob", "remove"),
    ],
)
def test_verbs(body: str, verb: str) -> None:
    command = parse(body, "!visio")
    assert command is not None
    assert command.verb == verb


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        "hello",
        "visio start",
        "!visiostart",
        "say !visio start",
        "> !visio start",
        "* !visio stop",
    ],
)
def test_no_command(body: str) -> None:
    assert parse(body, "!visio") is None


@pytest.mark.parametrize(
    ("words", "switch"),
    [
        ("on", True),
        ("OUI", True),
        ("activé", True),
        ("off", False),
        ("non", False),
        ("", None),
        ("maybe", None),
    ],
)
def test_transcript_switch(words: str, switch: bool | None) -> None:
    command = parse(f"!visio transcript {words}", "!visio")
    assert command == Command(
        "transcript", f"transcript {words}".strip(), switch, arguments=words, language="en"
    )


@pytest.mark.parametrize(
    ("typed", "language"),
    [("arrêter", "fr"), ("stop", "en"), ("transcription", None), ("invite x", None), ("", None)],
)
def test_the_language_of_the_word(typed: str, language: str | None) -> None:
    command = parse(f"!visio {typed}", "!visio")
    assert command is not None
    assert command.language == language


def test_what_follows_the_verb_is_kept_as_typed() -> None:
    command = parse("!visio couper le micro de  Bob É", "!visio")
    assert command is not None
    assert command.arguments == "Bob É"


def test_unknown_names_the_nearest() -> None:
    assert parse("!visio strat", "!visio") == Command("unknown", "strat", near="start")
    near = "salle d'attente"
    assert parse("!visio sal d'atente", "!visio") == Command("unknown", "sal", near=near)
    assert parse("!visio xyzzy now", "!visio") == Command("unknown", "xyzzy")


def test_another_prefix() -> None:
    assert parse("!appel start", "!appel") == Command("start", "start", language="en")
    assert parse("!visio start", "!appel") is None


@given(st.text())
def test_survives_any_text(body: str) -> None:
    parse(body, "!visio")
    command = parse("!visio " + body, "!visio")
    assert command is None or len(command.words) <= 100
