"""Who was in a call from when to when. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One connection of a person to the call, from joining to leaving (Unix milliseconds).

    `sid` is the media server's id of the connection: the same identity that connects again gets
    another one, and the old one's leaving may be reported after the new one's joining. `site`: the
    server name of the site whose media server it is, '' for our own.
    """

    identity: str
    sid: str
    user_id: str
    device_id: str = ""
    display_name: str = ""
    joined_ms: int = 0
    left_ms: int | None = None
    site: str = ""


def gone(stay: Stay, now_ms: int) -> Stay:
    """The stay, over since `now_ms` unless it was over before."""
    return stay if stay.left_ms is not None else replace(stay, left_ms=now_ms)


def followed(before: Iterable[Stay], there: Iterable[Stay], now_ms: int) -> tuple[Stay, ...]:
    """One stay for each person and site, after it was seen who is `there` now."""
    now = {(stay.site, stay.user_id): stay for stay in there}
    stays = {(stay.site, stay.user_id): stay for stay in before}
    for key, stay in stays.items():
        stays[key] = replace(stay, left_ms=None) if key in now else gone(stay, now_ms)
    for key, stay in now.items():
        stays.setdefault(key, replace(stay, joined_ms=now_ms, left_ms=None))
    return tuple(stays.values())


def one_each(stays: Iterable[Stay]) -> tuple[Stay, ...]:
    """One stay for each person, the last of theirs, in the order people came."""
    return tuple({stay.user_id: stay for stay in stays}.values())
