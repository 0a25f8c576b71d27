"""Large rooms: only the loudest are heard, and no word loses its start."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.room.drops import Drop
from sfu.room.floor import KEPT, LATEST, ONSET, PAUSE, STAY, VOICED, FloorLimits
from sfu.room.forwarding import Forwarding
from sfu.rtp.packet import Header, parse_header
from tests.sfu.room_media.streams import EXTENSIONS, OPUS, packet

SILENT, SOFT, LOUD, LOUDER = 127, VOICED, 30, 10


@dataclass
class Crowd:
    """Microphones 0..n-1 in a room with so many places, and one who listens."""

    microphones: int = 4
    places: int = 2
    above: int = 3
    hears_all: bool = False
    now: float = 100.0
    sent: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forwarding = Forwarding(FloorLimits(places=self.places, above=self.above))
        for number in range(self.microphones):
            self.add(number)

    def add(self, number: int) -> None:
        sid, peer = f"TR_{number}", f"p{number}"
        self.forwarding.publish(sid, kind="audio", codec=OPUS, upstream=peer)
        self.forwarding.bind_receive(
            peer, extensions=EXTENSIONS, mids={}, ssrcs={1: sid}, payload_types={111: OPUS}
        )
        self.forwarding.subscribe(
            sid,
            "s",
            payload_type=120,
            ssrc=1000 + number,
            mid="0",
            extensions={},
            hears_all=self.hears_all,
        )
        self.sent[number] = 0

    def turn(self, **levels: int | None) -> dict[int, list[Header]]:
        """20 ms pass; `m0=30`: a packet of microphone 0. What the listener gets, by microphone."""
        self.now += 0.02
        for name, level in levels.items():
            self.speak(int(name[1:]), level)
        return self.heard()

    def speak(self, number: int, level: int | None) -> None:
        self.sent[number] += 1
        data = packet(self.sent[number], **({} if level is None else {"level": bytes((level,))}))
        self.forwarding.rtp(f"p{number}", data, self.now)

    def heard(self) -> dict[int, list[Header]]:
        found: dict[int, list[Header]] = {}
        for _, data, is_rtcp in self.forwarding.drain().packets:
            if not is_rtcp:
                header = parse_header(data)
                found.setdefault(header.ssrc - 1000, []).append(header)
        return found

    def talk(self, seconds: float, **levels: int) -> dict[int, list[Header]]:
        found: dict[int, list[Header]] = {}
        for _ in range(round(seconds / 0.02)):
            for number, headers in self.turn(**levels).items():
                found.setdefault(number, []).extend(headers)
        return found


def numbers(headers: list[Header]) -> list[int]:
    """The publisher's numbers, by the timestamps, which stay the publisher's."""
    return [header.timestamp // 960 for header in headers]


def one_row(headers: list[Header]) -> bool:
    """Whether the numbers have no gap and the timestamps grow."""
    row = [header.sequence for header in headers]
    times = [header.timestamp for header in headers]
    return row == list(range(row[0], row[0] + len(row))) and times == sorted(set(times))


def test_a_small_room_hears_everybody() -> None:
    crowd = Crowd(microphones=3)
    assert set(crowd.turn(m0=LOUD, m1=SILENT, m2=LOUD)) == {0, 1, 2}
    assert crowd.forwarding.drops == {}


@pytest.mark.parametrize("places", [0, 4])
def test_no_places_or_enough_of_them_is_no_limit(places: int) -> None:
    crowd = Crowd(microphones=4, places=places)
    assert set(crowd.turn(m0=SILENT, m1=SILENT, m2=SILENT, m3=LOUD)) == {0, 1, 2, 3}


def test_a_large_room_hears_who_talks() -> None:
    crowd = Crowd()
    heard = crowd.talk(1.0, m0=LOUD, m1=SILENT, m2=SILENT, m3=SILENT)
    assert set(heard) == {0}
    left_out = crowd.forwarding.drops[Drop.NOT_AMONG_LOUDEST]
    assert left_out == 3 * (50 - KEPT)  # the newest are kept: they may be the start of a word
    crowd.forwarding.unpublish("TR_1")
    assert crowd.forwarding.drops[Drop.NOT_AMONG_LOUDEST] == left_out + KEPT


def test_who_hears_all_gets_every_packet_once() -> None:
    crowd = Crowd(hears_all=True)
    heard = crowd.talk(2.0, m0=LOUD, m1=LOUD, m2=LOUD, m3=SILENT)
    assert [numbers(heard[n]) for n in range(4)] == [list(range(1, 101))] * 4


def test_a_word_comes_in_with_its_start() -> None:
    crowd = Crowd()
    crowd.talk(3.0, m0=LOUD, m1=SILENT)
    first = crowd.turn(m0=LOUD, m1=SOFT)[1]
    onset = round(ONSET / 0.02)
    assert numbers(first) == list(range(151 - onset, 152))
    rest = crowd.talk(1.0, m0=LOUD, m1=LOUD)[1]
    assert one_row(first + rest)
    assert numbers(rest) == list(range(152, 202))


def test_a_pause_keeps_the_place_until_somebody_talks() -> None:
    crowd = Crowd()
    crowd.talk(1.0, m0=LOUD, m1=LOUD)
    heard = crowd.talk(5.0, m0=SILENT, m1=SILENT, m2=SILENT)
    assert {n: len(headers) for n, headers in heard.items()} == {0: 250, 1: 250}
    crowd.talk(0.1, m1=LOUD)
    assert set(crowd.turn(m0=SILENT, m1=LOUD, m2=LOUD)) == {0, 1, 2}  # this once: it was first
    assert set(crowd.turn(m0=SILENT, m1=LOUD, m2=LOUD)) == {1, 2}


def test_who_comes_back_continues_the_row() -> None:
    crowd = Crowd()
    before = crowd.talk(1.0, m0=LOUD, m1=LOUD)[0]
    crowd.talk(1.0, m1=LOUD, m0=SILENT)
    crowd.talk(1.0, m1=LOUD, m2=LOUD, m0=SILENT)
    crowd.talk(1.0, m1=SILENT, m2=LOUD, m0=SILENT)
    back = crowd.talk(1.0, m1=SILENT, m2=LOUD, m0=LOUD)[0]
    assert [before[-1].sequence, back[0].sequence] == [50, 101]
    assert one_row(back)


def test_among_many_who_talk_the_clearly_louder_wins_and_loses_no_packet_of_the_contest() -> None:
    crowd = Crowd()
    crowd.talk(STAY + 0.1, m0=LOUD, m1=LOUDER)
    began = crowd.sent[2] + 1
    heard = crowd.talk(0.6, m0=LOUD, m1=LOUDER, m2=LOUDER)
    assert numbers(heard[2]) == list(range(began, began + 30))
    assert len(heard[0]) < 10


def test_who_is_not_clearly_louder_waits() -> None:
    crowd = Crowd()
    crowd.talk(2.0, m0=LOUD, m1=LOUD)
    assert set(crowd.talk(2.0, m0=LOUD, m1=LOUD, m2=LOUD - 3)) == {0, 1}


def test_a_place_just_taken_is_kept_for_a_while() -> None:
    crowd = Crowd()
    crowd.talk(0.2, m0=LOUD, m1=LOUD)
    assert set(crowd.talk(0.6, m0=LOUD, m1=LOUD, m2=LOUDER)) == {0, 1}


def test_without_levels_nobody_can_be_left_out() -> None:
    crowd = Crowd()
    crowd.talk(1.0, m0=LOUD, m1=LOUD)
    assert set(crowd.turn(m2=None)) == {2}


def test_a_room_that_becomes_small_brings_nothing_old_back() -> None:
    crowd = Crowd()
    crowd.talk(3.0, m0=LOUD, m1=LOUD, m2=SILENT, m3=SILENT)
    crowd.forwarding.unpublish("TR_3")
    heard = crowd.turn(m2=SILENT)[2]
    assert len(heard) == round(ONSET / 0.02) + 1
    assert one_row(heard)


def test_nothing_older_than_the_listeners_buffer_bears_is_sent() -> None:
    crowd = Crowd()
    crowd.talk(2.0, m0=LOUD, m1=LOUD, m2=LOUD)
    crowd.forwarding.unpublish("TR_3")
    assert len(crowd.turn(m2=LOUD)[2]) <= round(LATEST / 0.02) + 1


def test_a_place_is_free_again_when_its_holder_leaves() -> None:
    crowd = Crowd(microphones=5)
    crowd.talk(1.0, m0=LOUD, m1=LOUD, m2=LOUD)
    crowd.forwarding.unpublish("TR_0")
    assert set(crowd.talk(0.1, m1=LOUD, m2=LOUD)) == {1, 2}


def test_the_bandwidth_of_who_is_left_out_is_not_set_aside() -> None:
    crowd = Crowd()
    crowd.talk(1.0, m0=LOUD, m1=SILENT)
    routes = crowd.forwarding._routes
    assert [s[0].heard for s in routes.subscriptions.values()] == [True, False, True, True]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([SILENT, SILENT, SOFT, LOUD, None]), min_size=4, max_size=4),
        max_size=300,
    )
)
def test_rows_stay_whole_whatever_happens(turns: list[list[int | None]]) -> None:
    """None: the packet is lost before it reaches us."""
    crowd = Crowd()
    heard: dict[int, list[Header]] = {}
    for levels in turns:
        crowd.now += 0.02
        for number, level in enumerate(levels):
            if level is None:
                crowd.sent[number] += 1
            else:
                crowd.speak(number, level)
        for number, headers in crowd.heard().items():
            heard.setdefault(number, []).extend(headers)
    for number, headers in heard.items():
        row = [header.sequence for header in headers]
        times = [header.timestamp for header in headers]
        assert row == sorted(set(row))
        assert times == sorted(set(times))
        assert row[-1] - row[0] <= crowd.sent[number]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_two_of_four_may_talk_at_any_time_and_no_loud_packet_is_lost(data: st.DataObject) -> None:
    """Whoever they are; between two pairs lies a pause, as between two turns of a talk."""
    crowd = Crowd()
    loud: dict[int, list[int]] = {}
    heard: dict[int, list[int]] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        pair = data.draw(st.sets(st.integers(0, 3), max_size=2))
        for _ in range(data.draw(st.integers(1, 40))):
            for number in pair:
                loud.setdefault(number, []).append(crowd.sent[number] + 1)
            levels = {f"m{n}": LOUD if n in pair else SILENT for n in range(4)}
            for number, headers in crowd.turn(**levels).items():
                heard.setdefault(number, []).extend(numbers(headers))
        crowd.talk(PAUSE + 0.04)
    for number, packets in loud.items():
        assert set(packets) <= set(heard[number])
