"""What of a text is looked for, and what of a query."""

from __future__ import annotations

import pytest

from bridge.domain import search
from bridge.domain.search import Term, fold, read_query, snippet, spelled, words


@pytest.mark.parametrize(
    ("word", "folded"),
    [("Élève", "eleve"), ("Œuvre", "oeuvre"), ("STRASSE", "strasse"), ("Straße", "strasse")],
)
def test_folding(word: str, folded: str) -> None:
    assert fold(word) == folded


def test_words_know_where_they_stand() -> None:
    text = spelled("L’e\u0301cole, 12h30 — fin")
    found = words(text, "fr")
    assert [text[word.start : word.end] for word in found] == ["L", "école", "12h30", "fin"]
    assert [word.letters for word in found] == ["l", "ecole", "12h30", "fin"]
    assert words("", "fr") == words(" ,;- ", "fr") == []


def test_stems_are_of_the_language() -> None:
    assert [word.stem for word in words("décisions augmentées", "fr-FR")] == ["decis", "augment"]
    assert [word.stem for word in words("meetings", "en_GB")] == ["meet"]
    assert [word.stem for word in words("Décisions", "tlh")] == ["decisions"]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("", ()),
        ('"', ()),
        ("*", ()),
        ("budget", (Term(("budget",), (("budget",),)),)),
        ("budget Budget", (Term(("budget",), (("budget",),)),)),
        ("bu*", (Term(("bu",), (), prefix=True),)),
        ("b*", (Term(("b",), (("b",),)),)),
        ("le budget", (Term(("budget",), (("budget",),)),)),
        ("le", (Term(("le",), (("le",),)),)),
        ("d’un budget", (Term(("budget",), (("budget",),)),)),
        ("l’an", (Term(("an",), (("an",),)),)),
        ('"l’an"', (Term(("l", "an"), (("l", "an"),)),)),
        ("«le budget»", (Term(("le", "budget"), (("le", "budget"),)),)),
        ('"le budg*"', (Term(("le", "budg"), (), prefix=True),)),
        ("décidee", (Term(("decidee",), (("decide",), ("decid",))),)),
    ],
)
def test_a_query_is_read(query: str, terms: tuple[Term, ...]) -> None:
    assert read_query(query, ["fr"]) == terms


def test_a_query_is_asked_in_every_language_once() -> None:
    (term,) = read_query("décisions", ["fr", "fr-CA", "en", "xx"])
    assert term.stems == (("decis",), ("decision",), ("decisions",))
    (term,) = read_query("decidee", ["en"])
    assert term.stems == (("decide",),)


def test_queries_are_bounded() -> None:
    assert len(read_query(" ".join(f"a{n}" for n in range(50)), ["fr"])) == search.MOST_TERMS
    (phrase,) = read_query('"' + "a " * 50 + '"', ["fr"])
    assert len(phrase.letters) == search.MOST_WORDS
    assert sum(len(t.letters[0]) for t in read_query("x" * 9_000, ["fr"])) <= search.LONGEST_QUERY
    assert len(words("mot " * 9_000, "fr")) == 5_000


def _shown(text: str, query: str, language: str = "fr") -> str:
    pieces = snippet(text, language, read_query(query, [language]))
    return "".join(f"[{piece.text}]" if piece.found else piece.text for piece in pieces)


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("Les décisions du budget", "décision budgets", "Les [décisions] du [budget]"),
        ("Les décisions du budget", '"décisions du budget"', "Les [décisions du budget]"),
        ("Les décisions du budget", 'décision "décisions du"', "Les [décisions du] budget"),
        ("Les décisions du budget", '"du budget" "décisions du"', "Les [décisions du] budget"),
        ("Le budget du budget", "budg*", "Le [budget] du [budget]"),
        ("Le budget de la ville", '"budget de la vil*"', "Le [budget de la ville]"),
        ("Rien", "budget", "Rien"),
        ("", "budget", ""),
        ("<b>budget</b>", "budget", "<b>[budget]</b>"),
    ],
)
def test_what_was_looked_for_is_marked(text: str, query: str, shown: str) -> None:
    assert _shown(text, query) == shown


def test_a_long_text_is_shown_around_what_was_found() -> None:
    shown = _shown("mot " * 100 + "budget " + "mot " * 100, "budget")
    assert shown.startswith("… mot")
    assert shown.endswith("mot …")
    assert "[budget]" in shown
    assert len(shown) < 230
    assert _shown("budget " + "mot " * 100, "budget").startswith("[budget] mot")
    assert _shown("mot " * 100 + "budget", "budget").endswith("mot [budget]")
    assert _shown("budget " * 60, "budget").count("[budget]") > 20
    unbroken = "x" * 150 + " budget-" + "y" * 300
    assert _shown(unbroken, "budget").startswith("… [budget]-yyy")
