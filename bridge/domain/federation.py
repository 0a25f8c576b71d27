"""Several sites, one call: who leads it, which call it is, who is in it elsewhere. Pure.

A site is one homeserver with its bridge and media server. Every site in a room believes a `Stand`:
which call runs there, and who leads it. Sites tell each other their stand; `settle` joins what one
has heard with what one believes. It takes a least element (the call) and a greatest (the lead's
term), so the order, the loss and the repetition of messages change nothing but the time it takes.

- **Which call**: of two that began apart, the one that began first; at the same millisecond, the
  one whose home's server name comes first. The other is folded into it.
- **Who leads**: the site that began the call, in term 1. When the lead is gone (its bridge silent
  for DEAD_MS, its bot out of the room, or the call over for it), the site whose name comes first
  among those that are there begins the next term. The highest term wins; of two alike, the name
  that comes first. A lead that comes back finds a higher term and follows: leading does not move
  back by itself, so it does not flap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.ids import server_of

DEAD_MS = 15_000
"""A site that was silent this long is gone."""
BEAT_MS = 5_000
"""How often sites tell each other how they stand while a call runs."""
PARTS_MS = 30_000
"""How long the record waits, after the end, for what was said at other sites."""
MAX_TERM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call all sites share, as the site that began it (`home`) named it."""

    id: str
    home: str
    started_ms: int
    started_by: str
    started_name: str = ""

    @property
    def order(self) -> tuple[int, str, str]:
        """Of two calls in a room the lesser one goes on."""
        return self.started_ms, self.home, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What a site believes. `card`: event id of the lead's card; `root`: of the thread's root."""

    call: Call
    lead: str
    term: int = 1
    card: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is or was in the call at a site."""

    user_id: str
    display_name: str = ""
    joined_ms: int = 0
    left_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How much was said at a site in a call: utterances and corrections, and whether it is all."""

    call: str
    said: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A call that is over at a site. `by`: who ended it for all, '' where it ran out by itself.

    `leading`: the site makes the call's record.
    """

    call: str
    at_ms: int
    by: str = ""
    leading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a site tells the others of one room."""

    stand: Stand | None = None
    people: tuple[Person, ...] = ()
    parts: tuple[Part, ...] = ()
    ends: tuple[End, ...] = ()


def speaks_for(site: str, user_id: str, bridges: Collection[str]) -> bool:
    """Whether a site may say something of this person.

    Of its own people; and of guests whose server has no bridge in the room (`bridges`: the servers
    that have one), since nobody else could, and the site let them in.
    """
    server = server_of(user_id)
    return bool(server) and (server == site or server not in bridges)


def lies(site: str, report: Report, bridges: Collection[str]) -> str:
    """What a site says that is not its to say: '' for nothing, else for the log."""
    spoken_for = [person.user_id for person in report.people]
    spoken_for += [end.by for end in report.ends if end.by]
    for user_id in spoken_for:
        if not speaks_for(site, user_id, bridges):
            return f"speaks for {user_id}"
    stand = report.stand
    if stand is None:
        return ""
    for server in (stand.lead, stand.call.home):
        if server not in bridges:
            return f"names {server}, which has no bridge here"
    return ""


def rightful(site: str, report: Report, bridges: Collection[str]) -> Report:
    """What of a report is the site's to say now, when more bridges may be known than it came in."""
    return replace(
        report,
        people=tuple(p for p in report.people if speaks_for(site, p.user_id, bridges)),
        ends=tuple(e for e in report.ends if not e.by or speaks_for(site, e.by, bridges)),
    )


def settle(own: str, mine: Stand | None, heard: Iterable[Stand], there: Collection[str]) -> Stand:
    """What to believe now. `there`: the other sites that can lead; one stand at least is given."""
    stands = [stand for stand in (mine, *heard) if stand is not None]
    call = min((stand.call for stand in stands), key=lambda call: call.order)
    same = [stand for stand in stands if stand.call.order == call.order]
    best = min(same, key=lambda stand: (-stand.term, stand.lead))
    agreed = [s for s in same if (s.term, s.lead) == (best.term, best.lead)]
    best = replace(
        best,
        call=mine.call if mine in same and mine is not None else best.call,
        card=next((stand.card for stand in agreed if stand.card), ""),
        root=next((stand.root for stand in same if stand.root), ""),
    )
    candidates = {own, *there}
    if best.lead in candidates or min(candidates) != own:
        return best
    return replace(best, lead=own, term=best.term + 1, card="")


def trusted(site: str, stand: Stand) -> Stand:
    """What of a site's stand counts: only the lead knows its card, and the thread's root."""
    return stand if stand.lead == site else replace(stand, card="", root="")


def present(reports: Mapping[str, Report], call: str) -> tuple[tuple[str, Person], ...]:
    """Who is or was in this call elsewhere, each with their site, by site and as they came."""
    return tuple(
        (site, person)
        for site, report in sorted(reports.items())
        if report.stand is not None and report.stand.call.id == call
        for person in report.people
    )
