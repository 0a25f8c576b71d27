"""Which call it is and who leads it: tables, and a model in which messages are lost and late."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.domain.federation import (
    Call,
    End,
    Part,
    Person,
    Report,
    Stand,
    lies,
    present,
    rightful,
    settle,
    speaks_for,
    trusted,
)


def call(home: str = "a", started_ms: int = 1000, name: str = "") -> Call:
    return Call(
        id=name or f"call-{home}", home=home, started_ms=started_ms, started_by=f"@x:{home}"
    )


def stand(lead: str = "a", term: int = 1, of: Call | None = None, **more: str) -> Stand:
    return Stand(call=of or call(), lead=lead, term=term, **more)


@pytest.mark.parametrize(
    ("mine", "heard", "there", "lead", "term"),
    [
        (stand("a"), [], {"a", "c"}, "a", 1),
        (None, [stand("a")], {"a"}, "a", 1),
        (stand("a"), [], {"c"}, "b", 2),  # the lead is gone, we are first
        (stand("c", 4), [], {"a"}, "c", 4),  # gone, and another is first: wait for its word
        (stand("a"), [stand("c", 2)], {"a", "c"}, "c", 2),  # the higher term wins
        (stand("c", 2), [stand("a", 2)], {"a", "c"}, "a", 2),  # of two alike the first name
        (stand("a"), [stand("c", 3)], {"a"}, "c", 3),
        (stand("b", 2), [stand("a", 1)], {"a"}, "b", 2),  # whoever comes back follows
    ],
)
def test_who_leads(
    mine: Stand | None, heard: list[Stand], there: set[str], lead: str, term: int
) -> None:
    settled = settle("b", mine, heard, there)
    assert (settled.lead, settled.term) == (lead, term)


def test_of_two_calls_the_earlier_goes_on_with_its_own_lead() -> None:
    late, early = stand("b", 7, call("b", 2000)), stand("c", 1, call("c", 1000))
    assert settle("b", late, [early], {"c"}) == early
    assert settle("c", early, [late], {"b"}) == early


def test_of_two_calls_of_one_moment_that_of_the_first_name() -> None:
    one, other = stand("a", 1, call("a", 1000)), stand("b", 1, call("b", 1000))
    assert settle("b", other, [one], {"a"}).call.home == "a"
    assert settle("a", one, [other], {"b"}).call.home == "a"


def test_nobody_changes_what_we_know_of_a_call() -> None:
    lying = replace(call(), started_by="@eve:c")
    assert settle("b", stand("a"), [stand("a", of=lying)], {"a"}).call.started_by == "@x:a"


def test_card_and_root_come_from_those_who_know() -> None:
    known = stand("a", card="$card", root="$root")
    assert settle("b", stand("a"), [known], {"a"}) == known
    taken_over = settle("b", known, [], set())
    assert (taken_over.lead, taken_over.card, taken_over.root) == ("b", "", "$root")
    assert trusted("a", known) == known
    assert trusted("c", known) == stand("a")


@pytest.mark.parametrize(
    ("site", "user", "may"),
    [
        ("a", "@x:a", True),
        ("a", "@x:b", False),
        ("a", "@x:guests", True),
        ("a", "nobody", False),
        ("a", "@x:", False),
    ],
)
def test_who_speaks_for_whom(site: str, user: str, may: bool) -> None:
    assert speaks_for(site, user, {"a", "b"}) is may


@pytest.mark.parametrize(
    ("report", "lie"),
    [
        (Report(), ""),
        (Report(people=(Person(user_id="@x:b"),), stand=stand("a")), ""),
        (Report(people=(Person(user_id="@x:a"),)), "speaks for @x:a"),
        (Report(ends=(End(call="c", at_ms=1),)), ""),
        (Report(ends=(End(call="c", at_ms=1, by="@x:a"),)), "speaks for @x:a"),
        (Report(stand=stand("nobody")), "names nobody, which has no bridge here"),
        (Report(stand=stand("a", of=call("else"))), "names else, which has no bridge here"),
        (Report(parts=(Part(call="c", said=1, final=True),)), ""),
    ],
)
def test_lies(report: Report, lie: str) -> None:
    assert lies("b", report, {"a", "b"}) == lie


def test_what_is_a_sites_to_say_once_another_has_a_bridge() -> None:
    own, guest = Person(user_id="@x:b"), Person(user_id="@x:guests")
    by_itself, by_own = End(call="c", at_ms=1), End(call="c", at_ms=1, by="@x:b")
    by_guest = End(call="c", at_ms=1, by="@x:guests")
    said = Report(stand=stand("a"), people=(own, guest), ends=(by_itself, by_own, by_guest))
    assert rightful("b", said, {"a", "b"}) == said
    left = rightful("b", said, {"a", "b", "guests"})
    assert left == Report(stand=stand("a"), people=(own,), ends=(by_itself, by_own))


def test_who_is_in_this_call_elsewhere() -> None:
    bob, eve = Person(user_id="@bob:b"), Person(user_id="@eve:c")
    reports = {
        "c": Report(stand=stand("c", of=call("c")), people=(eve,)),
        "b": Report(stand=stand("a"), people=(bob,)),
        "d": Report(people=(Person(user_id="@old:d"),)),
    }
    assert present(reports, "call-a") == (("b", bob),)


# ---- the model: sites that begin, die, come back; messages that are lost, late, old, repeated

NAMES = "abcd"

Op = tuple[str, int, int, int]
ops = st.lists(
    st.tuples(
        st.sampled_from(["begin", "hear", "hear", "hear", "die", "revive", "fear"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 1000),
    ),
    max_size=60,
)


class Model:
    """What each site believes; `said` is everything anybody ever said."""

    def __init__(self) -> None:
        self.mine: dict[str, Stand | None] = dict.fromkeys(NAMES)
        self.alive = set(NAMES)
        self.said: list[tuple[str, Stand]] = []

    def do(self, op: Op) -> None:
        verb, one, other, number = op
        site, peer = NAMES[one], NAMES[other]
        if verb == "die" and len(self.alive) > 1:
            self.alive.discard(site)
        elif verb == "revive":
            self.alive.add(site)
        elif site not in self.alive:
            return
        elif verb == "begin" and self.mine[site] is None:
            begun = Call(id=f"{site}{number}", home=site, started_ms=number % 5, started_by="@x:a")
            self.believe(site, Stand(call=begun, lead=site))
        elif verb == "hear" and self.said:
            _, told = self.said[number % len(self.said)]
            self.believe(site, settle(site, self.mine[site], [told], set(NAMES)))
        elif verb == "fear" and self.mine[site] is not None:
            # It hears nobody, or not that one: everybody else may seem dead.
            there = set() if number % 2 else set(NAMES) - {peer}
            self.believe(site, settle(site, self.mine[site], [], there))

    def believe(self, site: str, stand: Stand) -> None:
        self.mine[site] = stand
        self.said.append((site, stand))

    def exchange(self) -> None:
        """Everybody alive hears everybody alive, twice as often as needed."""
        for _ in range(2 * len(NAMES)):
            for site in sorted(self.alive):
                heard = [s for peer in self.alive - {site} if (s := self.mine[peer]) is not None]
                if heard or self.mine[site] is not None:
                    self.believe(site, settle(site, self.mine[site], heard, self.alive - {site}))


@settings(max_examples=300, deadline=None)
@given(ops)
def test_all_who_hear_each_other_come_to_believe_the_same(history: list[Op]) -> None:
    model = Model()
    for op in history:
        model.do(op)
    model.exchange()
    beliefs = {model.mine[site] for site in model.alive}
    assert len(beliefs) == 1
    (belief,) = beliefs
    if belief is not None:
        assert belief.lead in model.alive
        before = dict(model.mine)
        model.exchange()
        assert {site: model.mine[site] for site in model.alive} == {
            site: before[site] for site in model.alive
        }, "nothing changes when nothing happens"


@settings(max_examples=100, deadline=None)
@given(ops)
def test_who_comes_back_changes_nothing(history: list[Op]) -> None:
    model = Model()
    for op in history:
        model.do(op)
    dead = set(NAMES) - model.alive
    model.exchange()
    belief = model.mine[min(model.alive)]
    earliest = all(
        model.mine[site] is None or (belief and belief.call.order <= model.mine[site].call.order)
        for site in dead
    )
    highest = all(
        model.mine[site] is None or (belief and belief.term > model.mine[site].term)
        for site in dead
    )
    model.alive |= dead
    model.exchange()
    assert len({model.mine[site] for site in NAMES}) == 1
    if belief is not None and earliest and highest:
        assert model.mine["a"] == belief, "leading does not move back"
