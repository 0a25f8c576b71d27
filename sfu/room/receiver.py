"""What one publisher's transport carries: streams found by SSRC, mid and rid (RFC 8843, 8852)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sfu.room.ports import Codec
from sfu.room.publication import Layer, Publication
from sfu.rtp import extension
from sfu.rtp.twcc import Recorder

MAX_STREAMS = 64  # SSRCs remembered per publisher
_IDENTITY = frozenset({extension.MID, extension.RID, extension.REPAIRED_RID})


@dataclass(frozen=True, slots=True)
class Stream:
    """One SSRC. `repair`: it carries RTX of the layer."""

    publication: Publication
    layer: Layer
    repair: bool


class StreamLimit(ValueError):
    """The publisher uses more SSRCs than are remembered."""


class Receiver:
    """The receive side of one peer."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.recorder = Recorder()
        self.payload_types: dict[int, Codec] = {}
        self.repairs: dict[int, int] = {}
        self.uses_transport_cc = False
        self.feedback_source = 0
        self.extensions: dict[int, str] = {}
        self._mids: dict[str, str] = {}
        self._ssrcs: dict[int, str] = {}
        self._origins: OrderedDict[int, dict[str, bytes]] = OrderedDict()

    def bind(
        self,
        *,
        extensions: dict[int, str],
        mids: dict[str, str],
        ssrcs: dict[int, str],
        payload_types: dict[int, Codec],
    ) -> None:
        """Take over a negotiation. Known streams stay: a re-offer repeats old sections."""
        self.extensions = dict(extensions)
        self._mids = dict(mids)
        self._ssrcs = dict(ssrcs)
        self.payload_types = dict(payload_types)
        self.repairs = {
            codec.rtx_payload_type: payload_type
            for payload_type, codec in payload_types.items()
            if codec.rtx_payload_type is not None
        }
        self.uses_transport_cc = extension.TRANSPORT_CC in extensions.values()

    def forget(self, publication: Publication) -> None:
        """Drop the streams of an ended publication."""
        self.streams = {
            ssrc: stream
            for ssrc, stream in self.streams.items()
            if stream.publication is not publication
        }

    def learn(
        self,
        ssrc: int,
        payload_type: int,
        values: dict[str, bytes],
        publications: Callable[[str], Publication | None],
        candidates: Iterable[Publication],
    ) -> Stream | None:
        """Find whose stream a new SSRC is; None if nothing tells. Raises StreamLimit."""
        repair = payload_type in self.repairs
        values = self._remembered(ssrc, values)
        publication = self._publication(ssrc, values, publications)
        if publication is None:
            publication = _only(candidates)
        if publication is None:
            return None
        layer = _layer(publication, values, repair=repair)
        if layer is None:
            return None
        if len(self.streams) >= MAX_STREAMS:
            raise StreamLimit(f"more than {MAX_STREAMS} SSRCs")
        if not repair and layer.ssrc is not None:  # this SSRC takes its place
            self.streams.pop(layer.ssrc, None)
        stream = self.streams[ssrc] = Stream(publication, layer, repair)
        return stream

    def _remembered(self, ssrc: int, values: dict[str, bytes]) -> dict[str, bytes]:
        """What the source told of itself, now or before.

        Senders stop to tell mid and rid once a report acknowledged the source (libwebrtc does);
        if its publication is replaced by another, the names are needed again.
        """
        told = {uri: value for uri, value in values.items() if uri in _IDENTITY}
        known = self._origins.pop(ssrc, {}) | told
        if known:
            self._origins[ssrc] = known
            if len(self._origins) > MAX_STREAMS:
                self._origins.popitem(last=False)
        return known

    def _publication(
        self,
        ssrc: int,
        values: dict[str, bytes],
        publications: Callable[[str], Publication | None],
    ) -> Publication | None:
        sid = self._ssrcs.get(ssrc)
        if sid is None:
            mid = values.get(extension.MID, b"").decode("ascii", "replace")
            sid = self._mids.get(mid)
        return None if sid is None else publications(sid)


def _layer(publication: Publication, values: dict[str, bytes], *, repair: bool) -> Layer | None:
    if len(publication.layers) == 1:
        return publication.layers[0]
    uri = extension.REPAIRED_RID if repair else extension.RID
    return publication.layer_of(values.get(uri, b"").decode("ascii", "replace"))


def _only(candidates: Iterable[Publication]) -> Publication | None:
    """The one publication that fits, if exactly one does and it has one layer."""
    fitting = list(candidates)
    if len(fitting) == 1 and len(fitting[0].layers) == 1:
        return fitting[0]
    return None
