"""How this site stands in a room, as it is told to the others, read from what is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bridge.domain import federation
from bridge.domain.conference import Conference, read_conferences
from bridge.domain.federation import End, Part, Person, Report, Stand
from bridge.domain.joint import NO_CARD
from bridge.domain.stays import Stay
from bridge.matrix import timeline
from bridge.peers.messages import MAX_PEOPLE, MAX_RECENT, speakable
from bridge.rooms import facts as room_facts
from bridge.rooms.agreement import stand_of
from bridge.rooms.facts import Facts
from bridge.rooms.house import House, Stores

_EMPTY = Report()


@dataclass(frozen=True, slots=True)
class Standing:
    """`peers`: servers of the room whose bridge may be told. `running`: whether a call runs.

    `waits`: our card is on its way to the homeserver; others need to know its event id.
    """

    report: Report
    peers: tuple[str, ...] = ()
    running: bool = False
    waits: bool = False


async def standing(house: House, stores: Stores, room_id: str) -> Standing:
    """How we stand in a room now."""
    facts = room_facts.from_json(await stores.rooms.get(None, room_id))
    if not facts.joined:
        return Standing(_EMPTY)
    conferences = read_conferences(await stores.conferences.load(None, room_id))
    newest = conferences[0] if conferences else None
    running = newest if newest is not None and newest.phase == "running" else None
    stand = await _stand(house, stores, running) if running else None
    ours = {*facts.bridges, house.server_name}
    report = Report(
        stand=stand,
        people=_people(house, running, ours) if running else (),
        parts=await _parts(stores, conferences),
        ends=_ends(house, conferences, ours),
    )
    waits = stand is not None and stand.lead == house.server_name and not stand.card
    return Standing(report, _peers(house, facts), running is not None, waits)


def _peers(house: House, facts: Facts) -> tuple[str, ...]:
    return tuple(server for server in sorted(facts.bridges) if house.admits(f"@:{server}"))


async def _stand(house: House, stores: Stores, c: Conference) -> Stand:
    believed = stand_of(c, house.server_name)
    if not c.leading:
        return believed
    card = ""
    if c.card_first != NO_CARD:
        txn = timeline.card_txn(c.id, c.card_first)
        card = await stores.outbox.event_id(txn) or ""
    root = await stores.outbox.event_id(timeline.root_txn(c)) or card
    return Stand(call=believed.call, lead=believed.lead, term=believed.term, card=card, root=root)


def _people(house: House, c: Conference, bridges: Collection[str]) -> tuple[Person, ...]:
    """Who is at our media server now, and then who was: as many as may be told."""
    ours = [
        person
        for person in _each(c.stays)
        if federation.speaks_for(house.server_name, person.user_id, bridges)
        and speakable(person.user_id)
    ]
    ours.sort(key=lambda person: person.left_ms is not None)
    return tuple(ours[:MAX_PEOPLE])


def _each(stays: Iterable[Stay]) -> list[Person]:
    people: dict[str, Person] = {}
    for stay in stays:
        known = people.get(stay.user_id)
        left_ms = stay.left_ms
        if known is not None and (known.left_ms is None or left_ms is None):
            left_ms = None
        people[stay.user_id] = Person(
            user_id=stay.user_id,
            display_name=stay.display_name[:256],
            joined_ms=known.joined_ms if known else stay.joined_ms,
            left_ms=left_ms,
        )
    return list(people.values())


async def _parts(stores: Stores, conferences: list[Conference]) -> tuple[Part, ...]:
    """What was said here, told when a call is over: nobody asks for it before."""
    over = [c for c in conferences if c.phase != "running"][:MAX_RECENT]
    return tuple(
        [
            Part(
                call=c.call_id,
                said=len(await stores.utterances.revisions(c.id)),
                final=c.phase == "ended",
            )
            for c in over
        ]
    )


def _ends(house: House, conferences: list[Conference], bridges: Collection[str]) -> tuple[End, ...]:
    over = [c for c in conferences if c.phase != "running"][:MAX_RECENT]
    return tuple(
        End(
            call=c.call_id,
            at_ms=c.ended_ms or c.began_ms,
            by=c.stopped_by if _may_name(house, c.stopped_by, bridges) else "",
            leading=c.leading,
        )
        for c in over
    )


def _may_name(house: House, user_id: str, bridges: Collection[str]) -> bool:
    known = bool(user_id) and speakable(user_id)
    return known and federation.speaks_for(house.server_name, user_id, bridges)
