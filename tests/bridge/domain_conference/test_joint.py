"""A conference with other sites: followed, folded, led, emptied, ended, and its record."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bridge.domain.conference import Conference, Rules, from_json, own_call, to_json
from bridge.domain.course import follow, start, step
from bridge.domain.ending import LATE_PAUSE_MS, SCRIBE_GRACE_MS
from bridge.domain.federation import PARTS_MS, Call, Stand
from bridge.domain.happenings import (
    Effect,
    Event,
    MediaRoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    PostCard,
    PostDocuments,
    PostStatus,
    PostUtterance,
    RetireCard,
    ScribeStopped,
    SegmentHeard,
    StopAsked,
    Tick,
)
from bridge.domain.joint import NO_CARD, PeersHeard, Share, ShareTaken
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish

T0 = 1_000_000
RULES = Rules(empty_timeout_ms=60_000)
ALICE, BOB = "@alice:a", "@bob:b"
THEIRS = Call(id="theirs", home="b", started_ms=T0 - 500, started_by=BOB, started_name="Bob")


class Site:
    """The conference of site a, and its clock."""

    def __init__(self, begun: Conference) -> None:
        self.now_ms = T0
        self.c = begun

    @classmethod
    def began(cls, **wish: Any) -> Site:
        begun, _ = start(
            conference="ours",
            room_id="!r",
            by=ALICE,
            display_name="A",
            wish=Wish(**wish),
            now_ms=T0,
        )
        return cls(begun)

    @classmethod
    def followed(cls, **wish: Any) -> Site:
        begun, effects = follow(
            conference="ours", room_id="!r", call=THEIRS, site="a", wish=Wish(**wish)
        )
        assert effects == ()
        return cls(begun)

    def do(self, event: Event, after_ms: int = 1000) -> tuple[Effect, ...]:
        self.now_ms += after_ms
        self.c, effects = step(self.c, event, now_ms=self.now_ms, rules=RULES)
        assert from_json(json.loads(json.dumps(to_json(self.c)))) == self.c
        return effects

    def hears(self, lead: str = "a", after_ms: int = 1000, **more: Any) -> tuple[Effect, ...]:
        term, root = more.pop("term", 1), more.pop("root", "")
        call = more.pop("call", None) or own_call(self.c, "a")
        stand = Stand(call=call, lead=lead, term=term, root=root)
        heard = PeersHeard(stand=stand, leading=lead == "a", **more)
        return self.do(heard, after_ms)


def away(user: str = BOB, site: str = "b", left_ms: int | None = None) -> Stay:
    return Stay(identity="", sid=f"{site} {user}", user_id=user, left_ms=left_ms, site=site)


def enters(user: str = ALICE, sid: str = "P1") -> ParticipantJoined:
    return ParticipantJoined(identity=f"{user}:D", sid=sid, user_id=user, media_sid="RM1")


def test_a_call_of_ours_goes_on_as_ours() -> None:
    site = Site.began()
    assert site.hears(sites=("b",), away=(away(),)) == ()
    assert (site.c.call_id, site.c.began_ms, site.c.leading) == ("ours", T0, True)
    assert [stay.user_id for stay in site.c.present] == [BOB]
    assert site.do(Tick(), after_ms=3000) == (PostCard(1),)


def test_who_is_here_and_there_is_one_person() -> None:
    site = Site.began()
    site.do(enters(BOB))
    site.hears(sites=("b",), away=(away(), away("@carol:b")))
    assert [(s.user_id, s.site) for s in site.c.present] == [(BOB, ""), ("@carol:b", "b")]
    assert len(site.c.people) == 2


def test_following_posts_nothing_but_the_status_with_the_card() -> None:
    site = Site.followed(transcript=True)
    assert not site.c.leading
    assert site.c.card_first == NO_CARD
    assert (site.c.started_by, site.c.began_ms) == (BOB, T0 - 500)
    assert site.hears("b") == ()
    assert site.hears("b", root="$card") == (PostStatus(),)
    assert site.hears("b", root="$card") == ()


def test_a_call_folded_into_an_earlier_one_takes_its_card_back() -> None:
    site = Site.began()
    assert site.hears("b", call=THEIRS) == (RetireCard(0, redact=True), PostStatus())
    assert (site.c.call_id, site.c.started_by, site.c.card_first) == ("theirs", BOB, NO_CARD)
    assert site.c.began_ms == T0 - 500


def test_a_card_with_words_below_it_points_to_the_other() -> None:
    site = Site.began(transcript=True)
    site.do(SegmentHeard(segment="s", rev=0))
    assert site.hears("b", call=THEIRS) == (RetireCard(0, redact=False), PostStatus())
    assert site.c.card_first == 0


def test_a_lead_that_is_replaced_points_to_the_new_card_and_edits_its_own_when_it_leads_again() -> (
    None
):
    site = Site.began()
    assert site.hears("b", term=2) == (RetireCard(0, redact=False), PostStatus())
    assert site.hears("a", term=3) == (PostCard(2), PostStatus())
    assert site.c.card_first == 0


def test_taking_the_lead_posts_one_replacement() -> None:
    site = Site.followed()
    site.hears("b", away=(away(),), sites=("b",))
    effects = site.hears("a", term=2, silent=("b",))
    assert effects == (PostCard(1), PostStatus())
    assert site.c.card_first == 1
    assert site.hears("a", term=2, silent=("b",)) == ()


def test_people_elsewhere_keep_a_call_from_being_empty() -> None:
    site = Site.began()
    site.do(enters())
    site.hears(sites=("b",), away=(away(),))
    site.do(ParticipantLeft(identity="", sid="P1"))
    site.do(Tick(), after_ms=100_000)
    assert site.c.phase == "running"
    site.hears(sites=("b",), away=(away(left_ms=5),))
    assert site.c.empty_since_ms == site.now_ms
    site.hears(sites=("b",), away=(away(),))
    assert site.c.empty_since_ms is None


def test_people_of_a_silent_site_are_shown_but_do_not_keep_the_call() -> None:
    site = Site.began()
    site.hears(sites=("b",), away=(away(),))
    site.hears(silent=("b",))
    assert [stay.user_id for stay in site.c.present] == [BOB]
    assert site.c.empty_since_ms == site.now_ms
    site.do(Tick(), after_ms=60_000)
    assert site.c.phase != "running"


def test_who_is_told_of_no_more_has_gone() -> None:
    site = Site.began()
    site.hears(sites=("b",), away=(away(),))
    site.hears(sites=("b",))
    assert site.c.present == ()
    assert [stay.user_id for stay in site.c.people] == [BOB]


def test_our_media_room_may_close_while_others_talk() -> None:
    site = Site.began()
    site.do(enters())
    site.hears(sites=("b",), away=(away(),))
    site.do(MediaRoomFinished(media_sid="RM1"))
    assert site.c.phase == "running"
    assert [stay.user_id for stay in site.c.present] == [BOB]


def test_no_scribe_where_nobody_was() -> None:
    site = Site.followed(transcript=True)
    site.hears("b", sites=("b",), away=(away(),))
    assert not site.c.listening
    site.do(enters())
    assert site.c.listening


# ---- the record


def ending(**share: Any) -> Site:
    site = Site.began(transcript=True)
    site.do(enters())
    site.hears(sites=("b",), away=(away(),))
    site.do(SegmentHeard(segment="s", rev=0))
    site.do(StopAsked(by=ALICE))
    assert site.c.stopped_by == ALICE
    assert site.c.missing == ("b",)
    if share:
        site.hears(sites=("b",), shares=(Share(site="b", **share),))
    return site


def test_the_record_waits_for_what_was_said_elsewhere() -> None:
    site = ending(said=2, final=True)
    assert site.do(ScribeStopped()) == ()
    assert site.do(ShareTaken(site="b", taken=2, utterances=2)) == (PostCard(2), PostDocuments(1))
    assert site.c.said == 3
    assert site.c.missing == ()


def test_a_share_that_is_there_first_is_not_waited_for() -> None:
    site = ending(said=2, final=True)
    site.do(ShareTaken(site="b", taken=2, utterances=2))
    assert PostDocuments(1) in site.do(ScribeStopped())


def test_a_site_with_nothing_to_say_ends_the_waiting() -> None:
    site = ending()
    assert site.do(ScribeStopped()) == ()
    heard = site.hears(sites=("b",), shares=(Share(site="b", final=True),))
    assert PostDocuments(1) in heard


def test_a_silent_site_is_waited_for_so_long_and_made_up_for_when_it_comes() -> None:
    site = ending()
    site.do(Tick(), after_ms=SCRIBE_GRACE_MS)
    assert site.c.phase == "ending"
    assert PostDocuments(1) in site.do(Tick(), after_ms=PARTS_MS)
    assert site.c.missing == ("b",)
    assert site.hears(sites=("b",), shares=(Share(site="b", said=1, final=True),)) == ()
    assert site.do(ShareTaken(site="b", taken=1, utterances=1)) == ()
    assert PostDocuments(2) in site.do(Tick(), after_ms=LATE_PAUSE_MS)
    assert site.c.missing == ()


def test_a_site_that_comes_late_with_nothing_said_is_missing_no_more() -> None:
    site = ending()
    site.do(Tick(), after_ms=SCRIBE_GRACE_MS)
    site.do(Tick(), after_ms=PARTS_MS)
    site.hears(sites=("b",), shares=(Share(site="b", final=True),))
    assert PostDocuments(2) in site.do(Tick(), after_ms=LATE_PAUSE_MS)


def test_a_share_taken_twice_changes_nothing() -> None:
    site = ending(said=1, final=True)
    site.do(ScribeStopped())
    site.do(ShareTaken(site="b", taken=1, utterances=1))
    assert site.do(ShareTaken(site="b", taken=1, utterances=1)) == ()
    assert site.do(Tick(), after_ms=LATE_PAUSE_MS * 2) == ()


def test_who_follows_makes_its_own_part_and_waits_for_nobody() -> None:
    site = Site.followed(transcript=True)
    site.do(enters())
    site.hears("b", sites=("b",), away=(away(),))
    assert site.do(SegmentHeard(segment="s", rev=0)) == (PostUtterance("s", 0),)
    site.do(StopAsked())
    site.do(ScribeStopped())
    assert site.c.phase == "ended"


def test_after_the_end_who_leads_does_not_change() -> None:
    site = ending()
    assert site.hears("b", term=9) == ()
    assert site.c.leading
    assert site.c.present == ()


def test_a_share_of_a_call_without_others_is_nothing() -> None:
    site = Site.began()
    before = site.c
    assert site.do(ShareTaken(site="b", taken=1, utterances=1)) == ()
    assert site.c == before


def test_a_share_of_a_site_nobody_spoke_of() -> None:
    site = ending(said=0, final=True)
    site.do(ShareTaken(site="c", taken=2, utterances=1))
    assert site.c.said == 2


def test_a_silent_site_believes_its_people_before_its_last_word() -> None:
    site = Site.began()
    site.hears(sites=("b",), away=(away(),))
    site.hears(silent=("b",))
    claimed = replace(site.c, claimed=(away(left_ms=7),))
    assert claimed.present == ()
