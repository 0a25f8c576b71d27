"""The sentences: both languages whole, and every key the code names is there."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from bridge import text
from bridge.text import CATALOGUES, LANGUAGES, Language, say

ROOT = Path(text.__file__).parent.parent
ERRORS = {"UserError", "Refused", "Unavailable"}


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    reference = CATALOGUES["fr"]
    for language in LANGUAGES:
        catalogue = CATALOGUES[language]
        assert catalogue.keys() == reference.keys()
        for key in reference:
            assert placeholders(catalogue[key]) == placeholders(reference[key]), key


def test_languages_differ() -> None:
    # The words of a translation, not a copy: names of units are the same in both.
    same = {key for key in CATALOGUES["fr"] if CATALOGUES["fr"][key] == CATALOGUES["en"][key]}
    assert {key.partition(".")[0] for key in same} <= {"duration", "document"}


def named_keys() -> set[str]:
    """Keys in `UserError("…")` and the like, anywhere in the bridge."""
    keys = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                if node.func.id in ERRORS and isinstance(first, ast.Constant):
                    keys.add(str(first.value))
    return keys


def test_every_error_raised_has_its_sentence() -> None:
    keys = named_keys()
    assert "not_member" in keys
    assert keys <= CATALOGUES["fr"].keys()


def test_say() -> None:
    assert say("people.many", "fr", count=3) == "3 personnes"
    assert say("command.unknown", "en", word="{x}", prefix="!visio").count("“{x}”") == 1
    with pytest.raises(KeyError):
        say("people.many", "en")
    with pytest.raises(KeyError):
        say("no.such", "en")


@pytest.mark.parametrize(
    ("milliseconds", "french"),
    [
        (-5, "0 s"),
        (999, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h 00 min"),
        (7_500_000, "2 h 05 min"),
    ],
)
def test_duration(milliseconds: int, french: str) -> None:
    assert text.duration(milliseconds, "fr") == french


@pytest.mark.parametrize(
    ("count", "language", "expected"),
    [
        (0, "fr", ("personne", "aucun serveur", "aucune intervention")),
        (1, "fr", ("1 personne", "1 serveur", "1 intervention")),
        (2, "en", ("2 people", "2 servers", "2 utterances")),
    ],
)
def test_counts(count: int, language: Language, expected: tuple[str, ...]) -> None:
    counted = (text.people, text.servers, text.utterances)
    assert tuple(form(count, language) for form in counted) == expected


def test_on_off() -> None:
    assert (text.on_off(True, "en"), text.on_off(False, "fr")) == ("on", "désactivé")
