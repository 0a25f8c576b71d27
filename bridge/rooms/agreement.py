"""What other sites say of a room's call, inside the transaction of the entry that brings it.

The sites' reports are joined with what we believe (`bridge.domain.federation.settle`), and the
room's conference is brought to it: followed, folded into another, led, or ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bridge.domain import federation, policy
from bridge.domain.conference import Conference, own_call
from bridge.domain.federation import Call, Report, Stand
from bridge.domain.happenings import StopAsked
from bridge.domain.joint import PeersHeard, Share, ShareTaken
from bridge.domain.stays import Stay
from bridge.matrix import wire
from bridge.matrix.admission import shown_name
from bridge.rooms import news
from bridge.rooms.ledger import Ledger

log = logging.getLogger(__name__)

OLDEST_MS = 7 * 24 * 3_600_000
"""A call that began longer ago is none that we would join."""
AHEAD_MS = 600_000
"""How far another server's clock may be ahead."""

Reports = Mapping[str, Report]


async def peers_heard(ledger: Ledger, told: news.Peers) -> None:
    """The other sites' reports, all that are known, and which sites are silent."""
    if not ledger.facts.joined:
        return
    bridges = {*ledger.facts.bridges, ledger.house.server_name}
    reports = {
        site: federation.rightful(site, report, bridges)
        for site, report in told.reports.items()
        if site in ledger.facts.bridges and ledger.house.admits(f"@:{site}")
    }
    silent = tuple(site for site in told.silent if site in ledger.facts.bridges)
    spoken = {site: report for site, report in reports.items() if site not in silent}
    await _end_with_others(ledger, spoken)
    await _tell_ended(ledger, spoken)
    stand = _settled(ledger, spoken, set(ledger.facts.bridges) - set(silent))
    if stand is None:
        return
    conference = ledger.running or await ledger.follow(stand.call)
    await ledger.apply(conference, _event(ledger, stand, reports, silent))
    followed = ledger.running
    if followed is not None and followed.call_id != followed.id and stand.root:
        await ledger.adopt_root(followed, stand.root)


async def share_taken(ledger: Ledger, told: news.ShareTaken) -> None:
    """What was said at a site was fetched."""
    conference = ledger.conference(told.conference)
    if conference is not None:
        taken = ShareTaken(site=told.site, taken=told.taken, utterances=told.utterances)
        await ledger.apply(conference, taken)


def stand_of(conference: Conference, own: str) -> Stand:
    """What we believe of the call that runs here."""
    if conference.joint is not None:
        return conference.joint.stand
    return Stand(call=own_call(conference, own), lead=own)


# ---- the end


async def _end_with_others(ledger: Ledger, reports: Reports) -> None:
    running = ledger.running
    if running is None:
        return
    for site, report in reports.items():
        for end in report.ends:
            if end.call != running.call_id:
                continue
            entitled = bool(end.by) and _entitled(ledger, running, site, end.by)
            if entitled or not _occupied(running, reports):
                if end.leading:
                    await _cede(ledger, running, site)
                await ledger.apply(ledger.running or running, StopAsked(by=end.by))
                return


async def _cede(ledger: Ledger, running: Conference, site: str) -> None:
    """Leave card and record to the site where the call ended: there shall be one."""
    stand = replace(stand_of(running, ledger.house.server_name), lead=site)
    silent = running.joint.silent if running.joint else ()
    await ledger.apply(running, PeersHeard(stand=stand, leading=False, silent=silent))


def _entitled(ledger: Ledger, running: Conference, site: str, user_id: str) -> bool:
    """Whether this person may end the call for everybody, and this site may say that they did."""
    power, by_wish = ledger.facts.power, wire.CONFERENCE
    may = policy.may_stop(user_id, started_by=running.started_by, power=power)
    may = may or power.may_send_state(user_id, by_wish)
    if not may:
        log.warning("%s says that %s ended the call, who may not", site, user_id)
    return may


def _occupied(running: Conference, reports: Reports) -> bool:
    here = any(stay.left_ms is None for stay in running.stays)
    return here or any(
        person.left_ms is None for _, person in federation.present(reports, running.call_id)
    )


async def _tell_ended(ledger: Ledger, reports: Reports) -> None:
    """What was said elsewhere in calls that are over here."""
    for conference in list(ledger.conferences):
        shares = _shares(reports, conference.call_id)
        if conference.phase == "running" or conference.joint is None or not shares:
            continue
        joint = conference.joint
        sites = tuple(share.site for share in shares)
        event = PeersHeard(stand=joint.stand, leading=joint.leading, sites=sites, shares=shares)
        await ledger.apply(conference, event)


# ---- the call that runs


def _settled(ledger: Ledger, reports: Reports, there: set[str]) -> Stand | None:
    own, running = ledger.house.server_name, ledger.running
    mine = stand_of(running, own) if running else None
    heard = [
        _disowned(ledger, federation.trusted(site, report.stand))
        for site, report in reports.items()
        if report.stand is not None and _acceptable(ledger, report.stand.call, report)
    ]
    if mine is None and not heard:
        return None
    call = federation.settle(own, mine, heard, there).call
    over = {
        site for site, report in reports.items() if any(end.call == call.id for end in report.ends)
    }
    return federation.settle(own, mine, heard, there - over)


def _acceptable(ledger: Ledger, call: Call, report: Report) -> bool:
    """Whether we would take part: not in what is over here, nor in what nobody can have begun."""
    if not ledger.now_ms - OLDEST_MS <= call.started_ms <= ledger.now_ms + AHEAD_MS:
        return False
    own = ledger.house.server_name
    if call.home != own and ledger.conference(call.id) is not None:
        log.warning("%s gives its call the name of one of ours", call.home)
        return False
    somebody = any(person.left_ms is None for person in report.people)
    return not any(
        c.call_id == call.id and (c.stopped_by or not somebody)
        for c in ledger.conferences
        if c.phase != "running"
    )


def _disowned(ledger: Ledger, stand: Stand) -> Stand:
    """Begun by the home's bot, where it is not the home's to say that somebody began it.

    They may have done so before their own bridge came into the room; but nobody gets rights over a
    call by the word of another ministry.
    """
    call, bridges = stand.call, {*ledger.facts.bridges, ledger.house.server_name}
    if federation.speaks_for(call.home, call.started_by, bridges):
        return stand
    log.info("a call of %s is said to be begun by %s", call.home, call.started_by)
    return replace(stand, call=replace(call, started_by=ledger.house.bot_of(call.home)))


def _event(ledger: Ledger, stand: Stand, reports: Reports, silent: tuple[str, ...]) -> PeersHeard:
    return PeersHeard(
        stand=stand,
        leading=stand.lead == ledger.house.server_name,
        silent=silent,
        sites=tuple(site for site in reports if site not in silent),
        away=tuple(_stays(reports, stand.call.id)),
        shares=_shares(reports, stand.call.id),
    )


def _stays(reports: Reports, call: str) -> Iterable[Stay]:
    for site, person in federation.present(reports, call):
        yield Stay(
            identity="",
            sid=f"{site} {person.user_id}",
            user_id=person.user_id,
            display_name=shown_name(person.display_name),
            joined_ms=person.joined_ms,
            left_ms=person.left_ms,
            site=site,
        )


def _shares(reports: Reports, call: str) -> tuple[Share, ...]:
    return tuple(
        Share(site=site, said=part.said, final=part.final)
        for site, report in reports.items()
        for part in report.parts
        if part.call == call
    )
