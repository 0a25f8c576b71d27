"""Answers and offers, read back by aiortc's parser as an independent witness."""

import aiortc.sdp

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
    assert negotiation.RID in video.extensions().values()


def test_every_placeholder_negotiates_the_rid_extension() -> None:
    answer = answered("chromium_v1_publish", m7=Receive())
    for section in answer.sections:
        if section.kind == "video":
            assert negotiation.RID in section.extensions().values()
    assert answer.sections[0].direction == "inactive"


def test_a_sent_section_names_track_and_source() -> None:
    send = Send(stream="PA_1|TR_1", track="TR_1", ssrc=77, stereo=True)
    audio = answered("chromium_v1_publish", m0=send).sections[0]
    assert audio.direction == "sendonly"
    assert audio.msid == ("PA_1|TR_1", "TR_1")
    assert audio.ssrcs() == [77]
    assert "sprop-stereo=1" in audio.codecs()[0].fmtp
    assert "transport-cc" not in audio.codecs()[0].feedback


def test_opus_says_what_it_wants() -> None:
    plain = answered("chromium_v1_publish", m8=Receive()).sections[8].codecs()[0]
    assert plain.fmtp == "minptime=10;useinbandfec=1;usedtx=1"
    stereo = answered("chromium_v1_publish", m8=Receive(stereo=True, dtx=False)).sections[8]
    assert stereo.codecs()[0].fmtp == "minptime=10;useinbandfec=1;stereo=1"


def offer_with(*lines: str, head: str = "v=0\r\n") -> sdp.Description:
    return sdp.parse(head + "".join(f"{line}\r\n" for line in lines))


def test_a_section_without_a_codec_of_ours_stays_inactive() -> None:
    offer = offer_with("m=video 9 X 98", "a=mid:0", "a=sendonly", "a=rtpmap:98 VP9/90000")
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
