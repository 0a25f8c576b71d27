"""What a conference knows of the same call's other sites: who is there, what was said there. Pure.

Part of the snapshot of a `Conference` (conference.py), which is this site's own part of the call:
it keeps its own id and its own start, from which its scribe counts. What people and other sites are
shown is the call's id and start, the lead's (federation.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.domain.federation import Call, Stand
from bridge.domain.stays import Stay, gone

NO_CARD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What was said at another site. `said`: revisions it has; `taken`: those we have of it.

    `final`: it says that nothing more will come. `utterances`: how many segments we have of it.
    """

    site: str
    said: int = 0
    final: bool = False
    taken: int = 0
    utterances: int = 0

    @property
    def whole(self) -> bool:
        """Whether we have everything."""
        return self.final and self.taken >= self.said


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """`silent`: sites whose bridge does not answer now. `away`: who is or was in the call there.

    `card_first`: the card's revision that was posted as a message of ours, NO_CARD where none was.
    `shares_until_ms`: how long the record waits for the others' shares; `scribe_done`: for our own
    it waits no more.
    """

    stand: Stand
    leading: bool
    silent: tuple[str, ...] = ()
    away: tuple[Stay, ...] = ()
    shares: tuple[Share, ...] = ()
    card_first: int = 0
    shares_until_ms: int | None = None
    scribe_done: bool = False

    @property
    def present(self) -> tuple[Stay, ...]:
        """Who is in the call elsewhere now, as far as known."""
        return tuple(stay for stay in self.away if stay.left_ms is None)

    @property
    def occupied(self) -> bool:
        """Whether a site that answers says that somebody is there."""
        return any(stay.site not in self.silent for stay in self.present)

    def heeded(self, claimed: Iterable[Stay]) -> tuple[Stay, ...]:
        """Those away by their site's word; of one that is silent, only who says nothing themselves.

        `claimed`: by their own word in the room.
        """
        claims = {stay.user_id for stay in claimed}
        return tuple(s for s in self.away if s.site not in self.silent or s.user_id not in claims)

    @property
    def missing(self) -> tuple[str, ...]:
        """Sites whose share is not whole."""
        return tuple(share.site for share in self.shares if not share.whole)

    @property
    def utterances(self) -> int:
        """Segments of other sites that we have."""
        return sum(share.utterances for share in self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersHeard:
    """What the other sites say now, settled. `site`: of those who spoke. `shares`: said, final."""

    stand: Stand
    leading: bool
    silent: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    away: tuple[Stay, ...] = ()
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTaken:
    """We have `taken` revisions of `utterances` segments of what was said at a site."""

    site: str
    taken: int
    utterances: int


def alone(call: Call) -> Joint:
    """A call nobody else has spoken of: ours."""
    return Joint(stand=Stand(call=call, lead=call.home), leading=True)


def told(joint: Joint, event: PeersHeard, now_ms: int) -> Joint:
    """After what the other sites said."""
    return replace(
        joint,
        stand=event.stand,
        leading=event.leading,
        silent=event.silent,
        away=_away(joint.away, event, now_ms),
        shares=_shares(joint.shares, event),
    )


def taken(joint: Joint, event: ShareTaken) -> Joint:
    """After a share, or more of it, was fetched."""
    shares = {share.site: share for share in joint.shares}
    share = shares.get(event.site, Share(site=event.site))
    shares[event.site] = replace(
        share,
        said=max(share.said, event.taken),
        taken=event.taken,
        utterances=event.utterances,
    )
    return replace(joint, shares=tuple(shares.values()))


def ended(joint: Joint, ended_ms: int, shares_until_ms: int | None) -> Joint:
    """After the call's end: nobody is there any more."""
    away = tuple(gone(stay, ended_ms) for stay in joint.away)
    return replace(joint, away=away, shares_until_ms=shares_until_ms)


def from_json(stored: Mapping[str, Any] | None) -> Joint | None:
    """Read what `dataclasses.asdict` made of it."""
    if stored is None:
        return None
    stand = stored["stand"]
    return Joint(
        **{
            **stored,
            "stand": Stand(**{**stand, "call": Call(**stand["call"])}),
            "silent": tuple(stored["silent"]),
            "away": tuple(Stay(**stay) for stay in stored["away"]),
            "shares": tuple(Share(**share) for share in stored["shares"]),
        }
    )


def _away(before: Iterable[Stay], event: PeersHeard, now_ms: int) -> tuple[Stay, ...]:
    # A site that is silent has said nothing of its people: its media server goes on without it.
    stays = {
        (stay.site, stay.user_id): gone(stay, now_ms) if stay.site in event.sites else stay
        for stay in before
    }
    stays |= {(stay.site, stay.user_id): stay for stay in event.away}
    return tuple(stays.values())


def _shares(before: Iterable[Share], event: PeersHeard) -> tuple[Share, ...]:
    # Who was in the call there may have said something, although their site has not said so yet.
    shares = {stay.site: Share(site=stay.site) for stay in event.away}
    shares |= {share.site: share for share in before}
    for told in event.shares:
        known = shares.get(told.site, told)
        shares[told.site] = replace(known, said=told.said, final=told.final)
    return tuple(shares.values())
