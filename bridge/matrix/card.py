"""What the call card says: how the call goes, how to come in, and in the end its record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape

from bridge import text
from bridge.domain.conference import Conference
from bridge.domain.stays import Stay
from bridge.text import Language, say

SHOWN_NAMES = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a room's call is held: the join page's address, the site, and its readers' hour.

    `captions`: where its captions are read beside it, '' where they are not.
    """

    link: str
    site: str
    zone: tzinfo = UTC
    captions: str = ""


def words(c: Conference, place: Place) -> tuple[str, str]:
    """The card as text and as HTML. Names are other people's: escaped there."""
    language = c.language
    if c.phase != "running":
        lines = [say("card.ended", language), *_record(c, place)]
        return "\n".join(lines), _html(lines)
    lines = [say("card.running", language), *_going(c, place)]
    join = say("card.join", language, link=place.link, site=place.site)
    client = say("card.join_client", language)
    label = escape(say("card.join_here", language, site=place.site))
    linked = f'<a href="{escape(place.link)}">{label}</a>'
    beside, beside_html = _captions(c, place)
    html = "<br>".join([_html(lines), linked, escape(client), *beside_html])
    return "\n".join([*lines, join, client, *beside]), html


def names(stays: Sequence[Stay], language: Language) -> str:
    """Names of people, as many as one reads: `Alice, Bob (b.example) and 7 more`."""
    return _listed([_name(stay) for stay in stays], language)


def _going(c: Conference, place: Place) -> list[str]:
    language = c.language
    lines = [
        _started(c, place),
        _present(c),
        *_who("card.waiting", c.waiting, language),
        *_rung(c),
        say("card.captions", language, state=text.on_off(c.captions, language)),
        say("card.transcript", language, state=text.on_off(c.transcript, language)),
    ]
    if c.transcript:
        lines.append(say("card.transcript_notice", language))
    if c.locked:
        lines.append(say("card.locked", language))
    elif c.lobby:
        lines.append(say("card.lobby", language))
    return lines


def _captions(c: Conference, place: Place) -> tuple[list[str], list[str]]:
    """Where captions are read beside the call, as text and as HTML."""
    if not place.captions:
        return [], []
    label = escape(say("card.captions_here", c.language))
    linked = f'<a href="{escape(place.captions)}">{label}</a>'
    return [say("card.captions_beside", c.language, link=place.captions)], [linked]


def _record(c: Conference, place: Place) -> list[str]:
    language = c.language
    lasted = (c.ended_ms or c.began_ms) - c.began_ms
    lines = [
        _started(c, place),
        say("card.lasted", language, duration=text.duration(lasted, language)),
        _took_part(c) if c.people else say("card.no_one_came", language),
        *_rung(c),
    ]
    if c.expired:
        lines.append(say("card.expired", language))
    elif c.said:
        spoken = text.utterances(c.said, language)
        lines.append(say("card.recorded", language, utterances=spoken))
    return lines


def _started(c: Conference, place: Place) -> str:
    name = c.started_name or c.started_by
    return say("card.started_by", c.language, name=name, time=_hour(c.began_ms, place.zone))


def _present(c: Conference) -> str:
    present = c.present
    if not present:
        return say("card.nobody", c.language)
    count = text.people(len(present), c.language)
    return say("card.present", c.language, names=names(present, c.language), people=count)


def _took_part(c: Conference) -> str:
    return say(
        "card.took_part",
        c.language,
        names=names(c.people, c.language),
        people=text.people(len(c.people), c.language),
        servers=text.servers(len(c.servers), c.language),
    )


def _rung(c: Conference) -> list[str]:
    return [
        *_who("card.declined", c.declined, c.language),
        *_who("card.unanswered", c.unanswered, c.language),
    ]


def _who(key: str, people: Sequence[str], language: Language) -> list[str]:
    return [say(key, language, names=_listed(people, language))] if people else []


def _listed(people: Sequence[str], language: Language) -> str:
    shown = ", ".join(people[:SHOWN_NAMES])
    more = len(people) - SHOWN_NAMES
    return say("card.more", language, names=shown, count=more) if more > 0 else shown


def _name(stay: Stay) -> str:
    name = stay.display_name or stay.user_id
    return f"{name} ({stay.site})" if stay.site else name


def _hour(milliseconds: int, zone: tzinfo) -> str:
    began = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return began.astimezone(zone).strftime("%H:%M (%Z)")


def _html(lines: Sequence[str]) -> str:
    head, *rest = lines
    return "<br>".join([f"<strong>{escape(head)}</strong>", *map(escape, rest)])
