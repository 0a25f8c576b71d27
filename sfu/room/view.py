"""One incoming packet as its subscribers see it: sliced once, shared by all."""

from sfu.rtp import extension, packet, vp8
from sfu.rtp.packet import Header

ExtensionPlan = tuple[tuple[str, int], ...]
"""(uri, id) of what one subscriber wants copied; equal plans share the built block."""


class View:
    """A media packet of one layer. `number` and `epoch` come from the layer's Reception.

    `padding`: nothing but padding. libwebrtc probes the bandwidth with hundreds of these a second
    when RTX is not negotiated.
    """

    __slots__ = (
        "_blocks",
        "descriptor",
        "epoch",
        "extensions",
        "header",
        "key_frame",
        "layer",
        "now",
        "number",
        "padding",
        "payload",
        "raw_descriptor",
    )

    def __init__(
        self,
        data: bytes,
        header: Header,
        *,
        layer: int,
        video: bool,
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
        self.key_frame = False
        self.padding = video and not payload
        self.descriptor: vp8.Descriptor | None = None
        self.raw_descriptor = b""
        if video and not self.padding:
            self.descriptor = vp8.parse_descriptor(payload)
            self.key_frame = self.descriptor.key_frame
            self.raw_descriptor = payload[: self.descriptor.length]
            payload = payload[self.descriptor.length :]
        self.payload = payload

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
                elif uri in self.extensions:
                    elements.append((identifier, self.extensions[uri]))
            built = self._blocks[plan] = packet.build_extensions(elements)
        return built
