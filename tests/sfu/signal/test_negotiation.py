"""Answers and offers, read back by aiortc's parser as an independent witness."""

import aiortc.sdp
import pytest

from sfu.room.ports import Codec
from sfu.rtp import extension
from sfu.signal import negotiation, sdp
from sfu.signal.negotiation import Ice, OfferSection, Receive, Send
from tests.sfu.signal.stage import description

ICE = Ice(
    ufrag="ours",
    pwd="password",
    fingerprint="sha-256 AA:BB",
    candidates=("1 1 udp 1 127.0.0.1 7882 typ host",),
)


def answered(name: str, **plans: negotiation.Plan) -> sdp.Description:
    offer = sdp.parse(description(name))
    by_mid = {mid.removeprefix("m"): plan for mid, plan in plans.items()}
    return sdp.parse(str(negotiation.answer(offer, by_mid, ICE)))


def test_an_answer_keeps_order_and_mids_of_the_offer() -> None:
    offer = sdp.parse(description("chromium_v1_publish"))
    answer = answered("chromium_v1_publish")
    assert [s.mid for s in answer.sections] == [s.mid for s in offer.sections]
    assert answer.value("group") == "BUNDLE 0 1 2 3 4 5 6 7 8"
    assert answer.value("ice-lite") == ""
    witness = aiortc.sdp.SessionDescription.parse(str(answer))
    assert [media.kind for media in witness.media].count("application") == 1
    assert witness.media[0].ice.usernameFragment == "ours"
    assert len(witness.media[0].ice_candidates) == 1


def test_a_received_simulcast_section() -> None:
    video = answered("chromium_v1_publish", m7=Receive()).sections[7]
    assert video.direction == "recvonly"
    assert [c.name for c in video.codecs()] == ["VP8", "rtx"]
    assert video.value("simulcast") == "recv q;h;f"
    assert list(video.values("rid")) == ["q recv", "h recv", "f recv"]
    assert "transport-cc" in video.codecs()[0].feedback
    assert extension.RID in video.extensions().values()


def test_every_placeholder_negotiates_the_rid_extension() -> None:
    answer = answered("chromium_v1_publish", m7=Receive())
    for section in answer.sections:
        if section.kind == "video":
            assert extension.RID in section.extensions().values()
    assert answer.sections[0].direction == "inactive"


def test_a_sent_section_names_track_and_source() -> None:
    send = Send(stream="PA_1|TR_1", track="TR_1", ssrc=77, stereo=True)
    audio = answered("chromium_v1_publish", m0=send).sections[0]
    assert audio.direction == "sendonly"
    assert audio.msid == ("PA_1|TR_1", "TR_1")
    assert audio.ssrcs() == [77]
    assert "sprop-stereo=1" in audio.codecs()[0].fmtp
    assert "transport-cc" in audio.codecs()[0].feedback


def test_opus_says_what_it_wants() -> None:
    plain = answered("chromium_v1_publish", m8=Receive()).sections[8].codecs()[0]
    assert plain.fmtp == "minptime=10;useinbandfec=1;usedtx=1"
    stereo = answered("chromium_v1_publish", m8=Receive(stereo=True, dtx=False)).sections[8]
    assert stereo.codecs()[0].fmtp == "minptime=10;useinbandfec=1;stereo=1"


def offer_with(*lines: str, head: str = "v=0\r\n") -> sdp.Description:
    return sdp.parse(head + "".join(f"{line}\r\n" for line in lines))


def test_a_section_without_a_codec_of_ours_stays_inactive() -> None:
    offer = offer_with("m=video 9 X 98", "a=mid:0", "a=sendonly", "a=rtpmap:98 H265/90000")
    section = negotiation.answer(offer, {"0": Receive()}, ICE).sections[0]
    assert section.direction == "inactive"
    assert section.formats == ["98"]
    assert not negotiation.answer(offer, {}, ICE).value("extmap-allow-mixed")


def test_a_section_without_any_rtpmap_stays_inactive() -> None:
    offer = offer_with("m=audio 9 X 0 8", "a=mid:0", "a=recvonly")
    section = negotiation.answer(offer, {}, ICE).sections[0]
    assert (section.direction, section.formats) == ("inactive", ["0"])


def test_an_unknown_kind_of_media_stays_inactive() -> None:
    offer = offer_with("m=text 9 X 98", "a=mid:0", "a=rtpmap:98 t140/1000")
    assert negotiation.answer(offer, {}, ICE).sections[0].direction == "inactive"


def test_a_stopped_section_is_rejected_and_left_out_of_the_bundle() -> None:
    offer = offer_with("m=audio 0 X 111", "a=mid:0", "m=video 9 X 96", "a=mid:1")
    answer = negotiation.answer(offer, {}, ICE)
    assert answer.sections[0].port == 0
    assert answer.value("group") == "BUNDLE 1"
    assert list(answer.sections[1].values("candidate"))


def test_an_offer_of_stopped_sections_alone_is_answered() -> None:
    answer = negotiation.answer(offer_with("m=audio 0 X 1", "a=mid:0"), {}, ICE)
    assert answer.value("group") is None


def test_our_own_offer() -> None:
    send = Send(stream="PA_1|TR_1", track="TR_1", ssrc=77)
    sections = [
        OfferSection(kind="application", mid="0"),
        OfferSection(kind="video", mid="1", send=send),
        OfferSection(kind="audio", mid="2"),
    ]
    offer = sdp.parse(str(negotiation.offer(sections, ICE, 3)))
    assert offer.head[1] == "o=- 1 3 IN IP4 127.0.0.1"
    assert [s.direction for s in offer.sections] == ["sendrecv", "sendonly", "inactive"]
    assert offer.sections[0].value("setup") == "actpass"
    assert offer.sections[1].ssrcs() == [77]
    assert list(offer.sections[0].values("candidate"))
    assert len(aiortc.sdp.SessionDescription.parse(str(offer)).media) == 3


def test_a_client_takes_the_formats_we_offered() -> None:
    answer = sdp.parse(description("chromium_v0_answer"))
    taken = {s.kind: s.codecs()[0].payload_type for s in answer.sections if s.codecs()}
    assert taken == {k: f.payload_type for k, f in negotiation.OFFERED.items()}


RECEIVING, CHROMIUM = (sdp.parse(description("chromium_v1_publish")).sections[i] for i in (3, 7))
HIGH = "packetization-mode=1;profile-level-id=640c1f"
BASELINE = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e034"


@pytest.mark.parametrize(
    ("name", "payload_type"), [("", 96), ("vp9", 98), ("H264", 102), ("av1", 45), ("h265", 96)]
)
def test_the_codec_a_client_announced_is_kept(name: str, payload_type: int) -> None:
    wanted = negotiation.wanted_codec(CHROMIUM, name)
    assert wanted is not None
    assert wanted.payload_type == payload_type


@pytest.mark.parametrize(
    ("mime", "fmtp", "payload_type"),
    [
        ("video/vp8", "", 96),
        ("video/vp9", "", 98),
        ("video/vp9", "profile-id=2", 100),
        ("video/av1", "profile=1", 47),
        ("video/h264", BASELINE, 108),
        ("video/h264", "packetization-mode=1;profile-level-id=420034", 102),
        ("video/h264", "packetization-mode=1;profile-level-id=42c034", 102),  # any of profile 66
        ("video/h264", HIGH, None),
        ("video/h265", "", None),
    ],
)
def test_a_subscriber_gets_the_format_that_decodes_a_track(
    mime: str, fmtp: str, payload_type: int | None
) -> None:
    found = negotiation.matching_codec(RECEIVING, Codec(mime, 1, 90000, fmtp))
    assert (found.payload_type if found else None) == payload_type


def test_the_dependency_descriptor_goes_with_av1_alone() -> None:
    # livekit-client adds the extension to what Chromium offers by itself.
    line = f"a=mid:7\r\na=extmap:12 {extension.DEPENDENCY_DESCRIPTOR}"
    offer = sdp.parse(description("chromium_v1_publish").replace("a=mid:7", line))
    section = offer.sections[7]
    av1 = negotiation.wanted_codec(section, "av1")
    for codec, there in ((av1, True), (negotiation.wanted_codec(section), False), (None, False)):
        uris = negotiation.extensions(section, codec).values()
        assert (extension.DEPENDENCY_DESCRIPTOR in uris) is there
    answer = negotiation.answer(offer, {"7": Receive(codec=av1)}, ICE)
    kept = sdp.parse(str(answer)).sections[7]
    assert [codec.name for codec in kept.codecs()] == ["AV1", "rtx"]
    assert extension.DEPENDENCY_DESCRIPTOR in kept.extensions().values()


@pytest.mark.parametrize(
    ("mime", "fmtp", "line"),
    [
        ("video/h264", HIGH, "102 H264/90000"),
        ("video/vp9", "profile-id=0", "98 VP9/90000"),
        ("video/av1", "profile=0", "45 AV1/90000"),
    ],
)
def test_our_offers_name_the_publishers_codec(mime: str, fmtp: str, line: str) -> None:
    send = Send(stream="PA_1|TR_1", track="TR_1", ssrc=77, codec=Codec(mime, 3, 90000, fmtp))
    sections = [OfferSection(kind="application", mid="0")]
    sections.append(OfferSection(kind="video", mid="1", send=send))
    video = sdp.parse(str(negotiation.offer(sections, ICE, 1))).sections[1]
    assert list(video.values("rtpmap")) == [line]
    assert video.codecs()[0].fmtp == fmtp
    described = extension.DEPENDENCY_DESCRIPTOR in video.extensions().values()
    assert described is (mime == "video/av1")
