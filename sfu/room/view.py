"""One incoming packet as its subscribers see it: sliced once, shared by all."""

from sfu.rtp import extension, packet, vp8
from sfu.rtp.packet import Header
from sfu.rtp.picture import Picture, Reader

ExtensionPlan = tuple[tuple[str, int], ...]
"""(uri, id) of what one subscriber wants copied; equal plans share the built block."""


NUMBER = {0xBE: 5, 0x10: 6}
"""Where the transport-wide number lies in an extension block, by the block's first octet: it is the
first element, of the one-byte or the two-byte form (RFC 8285)."""
_UNNUMBERED = bytes(2)

_NO_PICTURE = Picture(key_frame=False)


class View:
    """A media packet of one layer. `number` and `epoch` come from the layer's Reception.

    `reader` is that of the layer for video, None for audio. `padding`: nothing but padding.
    libwebrtc probes the bandwidth with hundreds of these a second when RTX is not negotiated.
    """

    __slots__ = (
        "_blocks",
        "epoch",
        "extensions",
        "header",
        "layer",
        "now",
        "number",
        "padding",
        "payload",
        "picture",
        "raw_descriptor",
    )

    def __init__(
        self,
        data: bytes,
        header: Header,
        *,
        layer: int,
        reader: Reader | None,
        extensions: dict[str, bytes],
        now: float,
    ) -> None:
        self.header = header
        self.layer = layer
        self.now = now
        self.number = 0
        self.epoch = 0
        self.extensions = extensions
        self._blocks: dict[ExtensionPlan, bytes] = {}
        payload = data[header.payload_start : header.payload_end]
        self.padding = reader is not None and not payload
        self.picture = _NO_PICTURE
        self.raw_descriptor = b""
        if reader is not None and payload:
            self.picture = reader.read(payload, extensions)
            if self.picture.vp8 is not None:  # the one descriptor that is rewritten
                length = self.picture.vp8.length
                self.raw_descriptor, payload = payload[:length], payload[length:]
        self.payload = payload

    @property
    def descriptor(self) -> vp8.Descriptor | None:
        """The VP8 descriptor."""
        return self.picture.vp8

    @property
    def key_frame(self) -> bool:
        """Whether a decoder can begin with this packet."""
        return self.picture.key_frame

    def block(self, plan: ExtensionPlan) -> bytes:
        """The extension block for a subscriber's plan, built once per packet and plan."""
        built = self._blocks.get(plan)
        if built is None:
            elements = []
            for uri, identifier in plan:
                if uri == extension.ABS_SEND_TIME:
                    # Stamped when the packet leaves in the same turn of the loop, and kept with
                    # it: a retransmission must be the same bytes (RFC 7714 section 8.1).
                    elements.append((identifier, extension.abs_send_time(self.now)))
                elif uri == extension.TRANSPORT_CC:
                    elements.append((identifier, _UNNUMBERED))
                elif uri in self.extensions:
                    elements.append((identifier, self.extensions[uri]))
            built = self._blocks[plan] = packet.build_extensions(elements)
        return built


def padding_block(plan: ExtensionPlan) -> bytes:
    """The extension block of a packet that is nothing but padding: the number alone."""
    return packet.build_extensions(
        [(number, _UNNUMBERED) for uri, number in plan if uri == extension.TRANSPORT_CC]
    )
