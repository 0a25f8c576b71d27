"""Reading what a room wants, from whatever somebody wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.wish import Problem, Wish, languages, read, shared_microphones, write

NO_PEOPLE = Problem("wish.not_people", {"field": "shared_microphones"})
DEFAULTS = Wish(captions=True, transcript=False, language="fr")


def test_empty_is_the_default() -> None:
    wish, problems = read({}, DEFAULTS)
    assert problems == ()
    assert (wish.active, wish.captions, wish.transcript, wish.language) == (None, True, False, "fr")
    assert wish.listened() == "fr"


def test_all_fields() -> None:
    content = {
        "version": 1,
        "active": True,
        "captions": False,
        "transcript": True,
        "language": "en",
        "spoken_language": "en-GB",
        "locked": True,
        "lobby": True,
        "max_participants": 12,
        "publish": "moderators",
        "shared_microphones": ["@room:a", "@hall:a", "@room:a"],
        "hat": "later",
    }
    wish, problems = read(content, DEFAULTS)
    assert problems == ()
    assert wish == Wish(
        active=True,
        captions=False,
        transcript=True,
        language="en",
        spoken_language="en-GB",
        locked=True,
        lobby=True,
        max_participants=12,
        publish="moderators",
        shared_microphones=("@room:a", "@hall:a"),
        content=content,
    )
    assert wish.listened() == "en-GB"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"active": "yes"}, Problem("wish.not_bool", {"field": "active"})),
        (
            {"shared_microphones": "@a:b"},
            Problem("wish.not_people", {"field": "shared_microphones"}),
        ),
        ({"shared_microphones": [1]}, Problem("wish.not_people", {"field": "shared_microphones"})),
        ({"captions": 1}, Problem("wish.not_bool", {"field": "captions"})),
        ({"transcript": []}, Problem("wish.not_bool", {"field": "transcript"})),
        (
            {"language": "de"},
            Problem("wish.not_language", {"field": "language", "choices": "fr, en"}),
        ),
        (
            {"language": {}},
            Problem("wish.not_language", {"field": "language", "choices": "fr, en"}),
        ),
        ({"spoken_language": "f"}, Problem("wish.not_tag", {"field": "spoken_language"})),
        ({"spoken_language": 3}, Problem("wish.not_tag", {"field": "spoken_language"})),
        ({"languages": ["fr"]}, Problem("wish.not_languages", {"field": "languages"})),
        ({"languages": {"@a:b": 1}}, Problem("wish.not_languages", {"field": "languages"})),
        ({"locked": "no"}, Problem("wish.not_bool", {"field": "locked"})),
        ({"lobby": 0}, Problem("wish.not_bool", {"field": "lobby"})),
        ({"max_participants": 1}, Problem("wish.not_count", {"field": "max_participants"})),
        ({"max_participants": True}, Problem("wish.not_count", {"field": "max_participants"})),
        ({"max_participants": "5"}, Problem("wish.not_count", {"field": "max_participants"})),
    ],
)
def test_a_wrong_field_keeps_its_default(content: dict[str, Any], problem: Problem) -> None:
    wish, problems = read(content, DEFAULTS)
    assert problems == (problem,)
    assert (wish.active, wish.captions, wish.transcript, wish.language) == (None, True, False, "fr")
    assert (wish.locked, wish.lobby, wish.max_participants) == (False, False, None)


@pytest.mark.parametrize("value", ["moderator", True, 3])
def test_who_mistypes_a_restriction_is_restricted(value: object) -> None:
    wish, problems = read({"publish": value}, DEFAULTS)
    choices = "everyone, moderators"
    assert problems == (Problem("wish.not_choice", {"field": "publish", "choices": choices}),)
    assert wish.publish == "moderators"


@pytest.mark.parametrize("value", ["everyone", "moderators"])
def test_who_may_publish(value: str) -> None:
    assert read({"publish": value}, DEFAULTS) == (
        replace(DEFAULTS, publish=value, content={"publish": value}),
        (),
    )


def test_null_is_absent() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("active", "captions", "language", "spoken_language"))
    assert read(nothing, DEFAULTS)[1] == ()


def test_not_an_object() -> None:
    assert read(["start"], DEFAULTS) == (DEFAULTS, (Problem("wish.not_object"),))


def test_writing_keeps_what_is_not_ours() -> None:
    wish, _ = read({"captions": "nonsense", "lobby": True}, DEFAULTS)
    changed = wish.with_field("active", True).with_field("transcript", True)
    assert (changed.active, changed.transcript) == (True, True)
    assert write(changed) == {
        "version": 1,
        "captions": "nonsense",
        "lobby": True,
        "active": True,
        "transcript": True,
    }
    assert read(write(changed), DEFAULTS)[0].active is True


def test_a_field_is_taken_out() -> None:
    wish, _ = read({"spoken_language": "en-GB", "later": 1}, DEFAULTS)
    changed = wish.with_field("spoken_language", None).with_field("later", 2)
    assert changed.spoken_language is None
    assert write(changed) == {"version": 1, "later": 2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    JSON
    | st.dictionaries(
        st.sampled_from(["active", "captions", "transcript", "language", "spoken_language"]), JSON
    )
)
def test_survives_anything(content: object) -> None:
    wish, _ = read(content, DEFAULTS)
    assert wish.active in {True, False, None}
    assert wish.language in {"fr", "en"}


def test_single_peoples_languages_are_read_one_by_one() -> None:
    content = {"languages": {"@a:x": "en-GB", "@b:x": "?", "@c:x": None}}
    wish, problems = read(content, DEFAULTS)
    assert wish.languages == languages(content) == {"@a:x": "en-GB"}
    assert problems == (Problem("wish.not_languages", {"field": "languages"}),)
    assert languages({}) == {}


def test_shared_microphones_by_themselves() -> None:
    assert shared_microphones({"shared_microphones": ["@room:a"]}) == ("@room:a",)
    assert shared_microphones({"shared_microphones": {}}) == shared_microphones({}) == ()
