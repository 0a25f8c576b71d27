"""Every sentence of the doctor is there in both languages, with what it needs filled in."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import bridge.doctor
from bridge.doctor.checks import CHECKS, ROOM_CHECKS
from bridge.doctor.findings import failed, unchecked
from bridge.doctor.words import CATALOGUES, Words

FOLDER = Path(bridge.doctor.__file__).parent
OUTCOMES = {"ok", "warning", "failed", "unchecked"}
BAD = {"warning", "failed"}
SORTS = {
    "signal.": ("dns", "tls", "down"),
    "web.": ("dns", "tls", "down"),
    ".not_offered": ("udp", "tcp"),
    ".silent": ("udp", "tcp"),
    ".shape": ("transports", "known"),
    ".slash": ("transports", "known"),
    ".order": ("transports", "known"),
    ".other": ("transports", "known"),
}
"""What stands for the variable part of keys that are put together."""


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def keys(node: ast.expr) -> Iterator[str]:
    """The keys an argument can stand for."""
    match node:
        case ast.Constant(value=str(key)):
            yield key
        case ast.JoinedStr(values=[ast.Constant(value=head), ast.FormattedValue()]):
            yield from (f"{head}{sort}" for sort in SORTS[str(head)])
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=tail)]):
            yield from (f"{sort}{tail}" for sort in SORTS[str(tail)])
        case _:
            raise AssertionError(ast.dump(node))


def remarks() -> Iterator[tuple[bool, str, set[str] | None]]:
    """(whether it is bad, key, names of its values where the call shows them all)."""
    for file in sorted(FOLDER.glob("*.py")):
        if file.name == "findings.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            names = {one.id for one in ast.walk(function) if isinstance(one, ast.Name)} & OUTCOMES
            if not names or (isinstance(function, ast.Attribute)):
                continue
            given: set[str] | None = {word.arg for word in node.keywords if word.arg}
            if any(word.arg is None for word in node.keywords) or file.name == "configuration.py":
                given = None
            for key in keys(node.args[0]) if node.args else ("fine",):
                yield bool(names & BAD), key, given


REMARKS = list(remarks())


def test_the_scan_sees_the_remarks() -> None:
    found = {key for _, key, _ in REMARKS}
    assert {"fine", "udp.silent", "clock.off", "certificate.fine", "web.tls"} <= found
    assert len(found) > 120


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_remark_has_its_sentence_and_its_remedy(language: str) -> None:
    catalogue = CATALOGUES[language]  # type: ignore[index]
    for bad, key, given in REMARKS:
        assert key in catalogue.said, key
        needed = placeholders(catalogue.said[key])
        if bad:
            assert key in catalogue.remedies, key
            needed |= placeholders(catalogue.remedies[key])
        if given is not None:
            assert needed <= given, key


def test_no_sentence_is_left_over() -> None:
    used = {key for _, key, _ in REMARKS} | {"broken", "patience", "because"}
    bad = {key for is_bad, key, _ in REMARKS if is_bad}
    for catalogue in CATALOGUES.values():
        assert set(catalogue.said) == used
        assert set(catalogue.remedies) == bad


def test_every_check_and_section_has_a_title() -> None:
    names = {check.name for check in (*CHECKS, *ROOM_CHECKS)}
    expected = names | {name.partition(".")[0] for name in names}
    for catalogue in CATALOGUES.values():
        assert set(catalogue.titles) == expected


def test_both_languages_say_the_same() -> None:
    french, english = CATALOGUES["fr"], CATALOGUES["en"]

    def same(one: Mapping[str, str], other: Mapping[str, str]) -> None:
        assert one.keys() == other.keys()
        for key in one:
            assert placeholders(one[key]) == placeholders(other[key]), key

    same(french.said, english.said)
    same(french.remedies, english.remedies)
    assert placeholders(french.summary) == placeholders(english.summary)
    assert all(french.remedies[key] != english.remedies[key] for key in french.remedies)
    assert all(french.titles[key] != english.titles[key] for key in french.titles)


def test_names_of_checks_are_translated_in_what_was_not_checked() -> None:
    remark = unchecked("because", check="api.clock")
    assert "Clocks agree" in Words("en").said(remark)
    assert "Les horloges concordent" in Words("fr").said(remark)


def test_braces_of_settings_are_kept() -> None:
    remedy = Words("en").remedy(failed("transports.none", url="https://x"))
    assert '{transports: [{type: livekit, livekit_service_url: "https://x"}]}' in remedy
