"""Session descriptions: captured ones survive unchanged, garbage is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.signal import sdp
from tests.sfu.signal.stage import DESCRIPTIONS, description

CAPTURED = sorted(path.stem for path in DESCRIPTIONS.glob("*.sdp"))


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_description_is_written_as_it_was_read(name: str) -> None:
    text = description(name)
    assert str(sdp.parse(text)) == text


def test_views_of_a_simulcast_section() -> None:
    offer = sdp.parse(description("chromium_v1_publish"))
    section = next(s for s in offer.sections if s.mid == "7")
    assert section.kind == "video"
    assert section.sends
    assert not section.receives
    assert section.rids() == ("q", "h", "f")
    assert section.msid[1] == "623c08d2-65cc-491a-8e52-2dc7a4f45b7f"
    assert section.codecs()[0].name == "VP8"
    assert "nack pli" in section.codecs()[0].feedback
    assert "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" in section.extensions().values()
    assert offer.ufrag
    assert offer.fingerprint.startswith("sha-256 ")
    assert offer.value("group") == "BUNDLE 0 1 2 3 4 5 6 7 8"
    assert offer.value("extmap-allow-mixed") == ""
    assert offer.value("nothing") is None


def test_views_of_an_audio_section_with_a_source() -> None:
    section = sdp.parse(description("chromium_v1_publish")).sections[8]
    assert section.ssrcs() == [2075629847]
    assert section.rids() == ()
    assert section.repairs() == {}
    opus = section.codecs()[0]
    assert (opus.payload_type, opus.clock_rate, opus.channels) == (111, 48000, 2)
    assert opus.parameters["useinbandfec"] == "1"


def section(*attributes: str, formats: str = "96", port: int = 9) -> sdp.Section:
    lines = "".join(f"a={line}\r\n" for line in ("mid:0", *attributes))
    text = f"v=0\r\nm=video {port} UDP/TLS/RTP/SAVPF {formats}\r\nb=AS:1\r\n{lines}"
    return sdp.parse(text).sections[0]


def test_without_an_msid_line_the_source_names_it() -> None:
    assert section("ssrc:7 cname:c", "ssrc:7 msid:stream track").msid == ("stream", "track")
    assert section("ssrc:7 cname:c").msid == ("", "")
    assert section("msid:-").msid == ("-", "")


def test_a_section_without_direction_sends_and_receives() -> None:
    both = section()
    assert both.sends
    assert both.receives
    assert both.direction == "sendrecv"
    assert both.other == ["b=AS:1"]


def test_port_zero_is_stopped_unless_it_is_only_bundled() -> None:
    assert section(port=0).stopped
    assert not section(port=0).sends
    assert not section("bundle-only", port=0).stopped


@pytest.mark.parametrize(
    ("lines", "rids"),
    [
        (("rid:a send", "rid:b send"), ("a", "b")),
        (("rid:a send", "rid:b recv", "simulcast:send b;a"), ("a",)),
        (("rid:a send", "rid:b send", "simulcast:recv x send b,c;~a;"), ("b", "a")),
        (("rid:a send", "simulcast:send"), ("a",)),
        (("rid:a",), ()),
    ],
)
def test_rids(lines: tuple[str, ...], rids: tuple[str, ...]) -> None:
    assert section(*lines).rids() == rids


def test_formats_that_cannot_be_read_are_left_out() -> None:
    found = section(
        "rtpmap:96 VP8/90000",
        "rtpmap:300 VP8/90000",
        "rtpmap:97 VP9",
        "rtpmap:98 opus/48000/x",
        "rtcp-fb:* nack",
        "rtcp-fb:96 ccm fir",
        "fmtp:96 apt=1; x ;=y",
        formats="96 300 97 98 99",
    ).codecs()
    assert [codec.payload_type for codec in found] == [96, 98]
    assert found[0].feedback == ("nack", "ccm fir")
    assert found[0].parameters == {"apt": "1", "x": ""}
    assert found[1].channels == 1


def test_extensions_and_repairs_skip_what_is_malformed() -> None:
    broken = section(
        "extmap:1/sendonly uri:a", "extmap:x uri", "extmap:0 uri", "extmap:3", "extmap:4 uri:b c",
        "ssrc-group:FID 1 2", "ssrc-group:FID 1", "ssrc-group:SIM 1 2", "ssrc-group:FID 1 x",
        "ssrc:x cname:c", "ssrc:4294967296 cname:c", "ssrc:5 cname:c",
    )  # fmt: skip
    assert broken.extensions() == {1: "uri:a", 4: "uri:b"}
    assert broken.repairs() == {1: 2}
    assert broken.ssrcs() == [5]


def test_secrets_may_stand_at_the_session_level() -> None:
    text = "v=0\r\na=ice-ufrag:abc\r\na=fingerprint:SHA-256 aa:bb\r\na=fingerprint:sha-1 cc\r\n"
    found = sdp.parse(text)
    assert found.ufrag == "abc"
    assert found.fingerprint == "sha-256 AA:BB"
    assert sdp.parse("v=0\r\na=fingerprint:sha-1 cc\r\n").fingerprint == ""
    assert sdp.parse("v=0\r\n").ufrag == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o=- 1 1 IN IP4 127.0.0.1\r\n",
        "v=0\r\nnonsense\r\n",
        "v=0\r\nx\r\n",
        "v=0\r\nm=video 9\r\na=mid:0\r\n",
        "v=0\r\nm=video nine UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n",
        "v=0\r\nm=video 65536 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        "v=0\r\n" + "m=audio 9 X 0\r\na=mid:0\r\n" * 2,
        "v=0\r\n" + "".join(f"m=audio 9 X 0\r\na=mid:{n}\r\n" for n in range(513)),
        "v=0\r\n" + "a=x\r\n" * 200_000,
    ],
)
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(sdp.BadDescription):
        sdp.parse(text)


PIECES = st.sampled_from(
    ["v=0", "m=video 9 X 96", "m=audio 0 X 1 2", "a=mid:1", "a=mid:2", "a=rid:q send", "a=msid:",
     "a=simulcast:send", "a=simulcast:send ~q;;,", "a=rtpmap:96", "a=rtpmap:96 VP8/90000",
     "a=fmtp:96 ;=;", "a=ssrc:", "a=ssrc:9", "a=extmap:", "a=", "a=fingerprint:", "=",
     "a=ssrc-group:"]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=12))
def test_garbage_is_read_or_refused_and_nothing_else(lines: list[str]) -> None:
    try:
        found = sdp.parse("\r\n".join(["v=0", *lines]))
    except sdp.BadDescription:
        return
    for one in found.sections:
        one.codecs(), one.extensions(), one.rids(), one.ssrcs(), one.repairs(), one.msid
    assert isinstance(found.fingerprint + found.ufrag, str)
