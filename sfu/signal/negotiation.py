"""Answers to clients' offers, and our own offers to the subscriber side of a dual connection.

What is told of a section is decided before (a `Receive`, a `Send`, or nothing); here it only
becomes text. One codec per section is kept: opus for audio, the track's own (with RTX upward) for
video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfu.room.ports import MEDIA_TYPES, Codec
from sfu.rtp.extension import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    DEPENDENCY_DESCRIPTOR,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
)
from sfu.signal.sdp import Description, Format, Section, parameters

_KNOWN = {
    "audio": frozenset({MID, AUDIO_LEVEL, TRANSPORT_CC, ABS_SEND_TIME}),
    "video": frozenset(
        {MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME, DEPENDENCY_DESCRIPTOR}
    ),
}
CODECS = {
    kind: tuple(mime.removeprefix(f"{kind}/") for mime in MEDIA_TYPES if mime.startswith(kind))
    for kind in ("audio", "video")
}
"""What is forwarded: names as in an rtpmap, the usual one first."""

_FEEDBACK_UP = {
    "audio": ("transport-cc", "nack"),
    "video": ("transport-cc", "ccm fir", "nack", "nack pli"),
}
_FEEDBACK_DOWN = {
    "audio": ("transport-cc", "nack"),
    "video": ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"),
}

OFFERED = {
    "audio": Format(
        payload_type=111,
        name="opus",
        clock_rate=48000,
        channels=2,
        fmtp="minptime=10;useinbandfec=1",
    ),
    "video": Format(payload_type=96, name="VP8", clock_rate=90000),
}
"""Codecs of our own offers where no track says otherwise, under the numbers libwebrtc uses."""

_OFFERED_NUMBERS = {"vp8": 96, "vp9": 98, "h264": 102, "av1": 45}

OFFERED_EXTENSIONS = {
    "audio": {1: AUDIO_LEVEL, 2: ABS_SEND_TIME, 3: TRANSPORT_CC, 4: MID},
    "video": {2: ABS_SEND_TIME, 3: TRANSPORT_CC, 4: MID, 5: DEPENDENCY_DESCRIPTOR},
}
SCTP_PORT = 5000
MAX_DATA_MESSAGE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Ice:
    """Our side of one association, as it stands in a description."""

    ufrag: str
    pwd: str
    fingerprint: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """The client sends a track here; `codec` is the one of its formats that is kept."""

    codec: Format | None = None
    stereo: bool = False
    dtx: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """We send a track here. `stream` and `track` make the msid, `ssrc` is ours; `codec` is the
    publisher's."""

    stream: str
    track: str
    ssrc: int
    stereo: bool = False
    codec: Codec | None = None


Plan = Receive | Send | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSection:
    """One section of our own offer, kept at its place for the life of the connection."""

    kind: str
    mid: str
    send: Send | None = None


def wanted_codec(section: Section, name: str = "") -> Format | None:
    """The offered format of this name, else the client's favourite of those this server forwards;
    None if there is none."""
    usable = [codec for codec in section.codecs() if _forwarded(section.kind, codec)]
    named = (codec for codec in usable if codec.name.lower() == name.lower())
    return next(named, next(iter(usable), None))


def matching_codec(section: Section, sent: Codec | None) -> Format | None:
    """The offered format that decodes what a publisher sends; None if there is none."""
    if sent is None:
        return wanted_codec(section)
    name = sent.mime.rpartition("/")[2]
    same = [codec for codec in section.codecs() if codec.name.lower() == name]
    wanted = _profile(name, parameters(sent.fmtp))
    profiles = [(codec, _profile(name, codec.parameters)) for codec in same]
    fitting = [codec for codec, profile in profiles if profile == wanted]
    # Constraint flags apart, a decoder of an H.264 profile takes each of its variants.
    loosely = [codec for codec, profile in profiles if profile[:4] == wanted[:4]]
    return next(iter([*fitting, *loosely]), None)


def _forwarded(kind: str, codec: Format) -> bool:
    names = [name.lower() for name in CODECS.get(kind, ())]
    return codec.name.lower() in names and _packetized(codec)


def _packetized(codec: Format) -> bool:
    """H.264 must be packetized in mode 1, which all clients offer: mode 0 forbids large frames."""
    return codec.name.lower() != "h264" or codec.parameters.get("packetization-mode") == "1"


def _profile(name: str, said: Mapping[str, str]) -> str:
    """What a decoder must be able to do, as far as the codec's name does not say it."""
    match name:
        case "h264":
            # RFC 6184: profile_idc and constraints; the level is negotiated on its own.
            mode = said.get("packetization-mode", "0")
            return f"{mode} {said.get('profile-level-id', '42000a').lower()[:4]}"
        case "vp9":
            return said.get("profile-id", "0")
        case "av1":
            return said.get("profile", "0")
    return ""


def repair_codec(section: Section, codec: Format) -> Format | None:
    """The RTX format (RFC 4588) offered for `codec`."""
    apt = str(codec.payload_type)
    return next(
        (c for c in section.codecs() if c.name.lower() == "rtx" and c.parameters.get("apt") == apt),
        None,
    )


def extensions(section: Section, codec: Format | None) -> dict[int, str]:
    """The offered header extensions this server reads or writes with a codec.

    The dependency descriptor goes with AV1 alone: Chromium would send it with VP8 too, where its
    numbers of one simulcast layer do not continue those of another.
    """
    known = _KNOWN.get(section.kind, frozenset())
    return _suited({n: uri for n, uri in section.extensions().items() if uri in known}, codec)


def _suited(table: Mapping[int, str], codec: Format | None) -> dict[int, str]:
    described = codec is not None and codec.name.lower() == "av1"
    return {n: uri for n, uri in table.items() if described or uri != DEPENDENCY_DESCRIPTOR}


def answer(offer: Description, plans: Mapping[str, Plan], ice: Ice) -> Description:
    """The answer to a client's offer; `plans` by mid, sections without one become inactive."""
    sections = [_answer_section(section, plans.get(section.mid)) for section in offer.sections]
    live = [section for section in sections if not section.stopped]
    for section in live:
        section.attributes[:0] = _transport(ice, "passive")
    if live:
        live[0].attributes += _candidates(ice)
    mixed = offer.value("extmap-allow-mixed") is not None
    return Description(_head(live, 2, mixed=mixed), sections)


def offer(sections: Sequence[OfferSection], ice: Ice, version: int) -> Description:
    """An offer for the subscriber connection of a dual client; `version` grows with each."""
    written = [_offer_section(section) for section in sections]
    for section in written:
        section.attributes[:0] = _transport(ice, "actpass")
    written[0].attributes += _candidates(ice)
    return Description(_head(written, version, mixed=True), written)


def _head(live: Sequence[Section], version: int, *, mixed: bool) -> list[str]:
    mids = " ".join(section.mid for section in live)
    head = ["v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite"]
    head += [f"a=group:BUNDLE {mids}"] if live else []
    head += ["a=extmap-allow-mixed"] if mixed else []
    return [*head, "a=msid-semantic: WMS *"]


def _transport(ice: Ice, setup: str) -> list[str]:
    return [
        f"ice-ufrag:{ice.ufrag}",
        f"ice-pwd:{ice.pwd}",
        f"fingerprint:{ice.fingerprint}",
        f"setup:{setup}",
    ]


def _candidates(ice: Ice) -> list[str]:
    return [*(f"candidate:{value}" for value in ice.candidates), "end-of-candidates"]


def _answer_section(offered: Section, plan: Plan) -> Section:
    if offered.stopped or not offered.formats:
        formats = offered.formats[:1] or ["0"]
        rejected = [f"mid:{offered.mid}", "inactive"]
        return Section(offered.kind, 0, offered.protocol, formats, rejected, ["c=IN IP4 0.0.0.0"])
    if offered.kind == "application":
        return _application(offered.mid, offered.protocol, offered.formats)
    return _media_answer(offered, plan)


def _application(mid: str, protocol: str, formats: list[str]) -> Section:
    attributes = [
        f"mid:{mid}",
        f"sctp-port:{SCTP_PORT}",
        f"max-message-size:{MAX_DATA_MESSAGE}",
    ]
    return Section("application", 9, protocol, formats, attributes, ["c=IN IP4 0.0.0.0"])


def _media_answer(offered: Section, plan: Plan) -> Section:
    codec = _kept(offered, plan)
    if codec is None:
        plan, codec = None, next(iter(offered.codecs()), None)
    up = isinstance(plan, Receive)
    direction = "recvonly" if up else "sendonly" if plan else "inactive"
    # Extensions stand on placeholder sections too: Chromium refuses simulcast on one section if
    # another of the bundle did not negotiate RID.
    lines = [f"mid:{offered.mid}", *_extmaps(extensions(offered, codec)), direction, "rtcp-mux"]
    lines += ["rtcp-rsize"] if "rtcp-rsize" in offered.attributes else []
    formats = offered.formats[:1]
    if codec is not None:
        repair = repair_codec(offered, codec) if up else None
        formats = [str(c.payload_type) for c in (codec, repair) if c is not None]
        lines += _codec_lines(offered.kind, codec, plan) + (_repair_lines(repair, codec))
    lines += _layers(offered) if up else _source(plan) if isinstance(plan, Send) else []
    return Section(offered.kind, 9, offered.protocol, formats, lines, ["c=IN IP4 0.0.0.0"])


def _kept(offered: Section, plan: Plan) -> Format | None:
    if isinstance(plan, Send):
        return matching_codec(offered, plan.codec)
    return (plan.codec if plan else None) or wanted_codec(offered)


def _extmaps(table: Mapping[int, str]) -> list[str]:
    return [f"extmap:{number} {uri}" for number, uri in table.items()]


def _codec_lines(kind: str, codec: Format, plan: Plan) -> list[str]:
    number = codec.payload_type
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    lines = [f"rtpmap:{number} {codec.name}/{codec.clock_rate}{channels}"]
    fmtp = _opus_fmtp(plan) if codec.name.lower() == "opus" else codec.fmtp
    lines += [f"fmtp:{number} {fmtp}"] if fmtp else []
    feedback = _FEEDBACK_DOWN if isinstance(plan, Send) else _FEEDBACK_UP
    return lines + [f"rtcp-fb:{number} {wish}" for wish in feedback.get(kind, ())]


def _repair_lines(repair: Format | None, codec: Format) -> list[str]:
    if repair is None:
        return []
    number = repair.payload_type
    return [f"rtpmap:{number} rtx/{repair.clock_rate}", f"fmtp:{number} apt={codec.payload_type}"]


def _opus_fmtp(plan: Plan) -> str:
    words = ["minptime=10", "useinbandfec=1"]
    if isinstance(plan, Receive) and plan.dtx:
        words.append("usedtx=1")
    if plan is not None and plan.stereo:
        words += ["stereo=1"] if isinstance(plan, Receive) else ["stereo=1", "sprop-stereo=1"]
    return ";".join(words)


def _layers(offered: Section) -> list[str]:
    rids = offered.rids()
    if not rids:
        return []
    return [*(f"rid:{rid} recv" for rid in rids), f"simulcast:recv {';'.join(rids)}"]


def _source(send: Send) -> list[str]:
    msid = f"{send.stream} {send.track}"
    return [
        f"msid:{msid}",
        f"ssrc:{send.ssrc} cname:{send.stream}",
        f"ssrc:{send.ssrc} msid:{msid}",
    ]


def _offered_codec(wanted: OfferSection) -> Format:
    sent = wanted.send.codec if wanted.send else None
    if sent is None or wanted.kind == "audio":
        return OFFERED[wanted.kind]
    name = sent.mime.rpartition("/")[2]
    return Format(
        payload_type=_OFFERED_NUMBERS[name],
        name=next(known for known in CODECS["video"] if known.lower() == name),
        clock_rate=sent.clock_rate,
        fmtp=sent.fmtp,
    )


def _offer_section(wanted: OfferSection) -> Section:
    if wanted.kind == "application":
        return _application(wanted.mid, "UDP/DTLS/SCTP", ["webrtc-datachannel"])
    codec = _offered_codec(wanted)
    table = _suited(OFFERED_EXTENSIONS[wanted.kind], codec)
    lines = [f"mid:{wanted.mid}", *_extmaps(table)]
    lines += ["sendonly" if wanted.send else "inactive", "rtcp-mux", "rtcp-rsize"]
    # An inactive section says of its codec what a sending one says, so that it can be used again.
    lines += _codec_lines(wanted.kind, codec, wanted.send or Send(stream="", track="", ssrc=0))
    lines += _source(wanted.send) if wanted.send else []
    formats = [str(codec.payload_type)]
    return Section(wanted.kind, 9, "UDP/TLS/RTP/SAVPF", formats, lines, ["c=IN IP4 0.0.0.0"])
