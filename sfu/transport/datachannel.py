"""The data channels of one association, by label."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport

logger = logging.getLogger(__name__)

MAX_BUFFERED = 1024 * 1024  # bytes waiting in one channel
MAX_MESSAGE = 65536  # what our SDP announces
MAX_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class _Wish:
    label: str
    ordered: bool
    max_retransmits: int | None


class DataChannels:
    """Channels of either side; a newer channel takes the place of an older one of its label."""

    def __init__(
        self,
        opened: Callable[[str], None],
        received: Callable[[str, bytes], None],
        overrun: Callable[[str], None],
    ) -> None:
        self._opened = opened
        self._received = received
        self._overrun = overrun
        self._sctp: RTCSctpTransport | None = None
        self._wishes: list[_Wish] = []
        self._channels: dict[str, RTCDataChannel] = {}
        self._accepted = 0

    def attach(self, sctp: RTCSctpTransport) -> None:
        """SCTP begins: take the client's channels, open our own."""
        self._sctp = sctp
        sctp.on("datachannel", self._accept)
        for wish in self._wishes:
            self._create(sctp, wish)
        self._wishes.clear()

    def open(self, label: str, *, ordered: bool, max_retransmits: int | None) -> None:
        """Open a channel, now or as soon as there is SCTP. Raises ValueError beyond the bound."""
        if len(self._wishes) + len(self._channels) >= MAX_CHANNELS:
            raise ValueError(f"more than {MAX_CHANNELS} data channels")
        wish = _Wish(label, ordered, max_retransmits)
        if self._sctp is None:
            self._wishes.append(wish)
        else:
            self._create(self._sctp, wish)

    def send(self, label: str, payload: bytes) -> bool:
        """False: not open, too long, or the buffer is full."""
        channel = self._channels.get(label)
        if channel is None or channel.readyState != "open" or len(payload) > MAX_MESSAGE:
            return False
        if channel.bufferedAmount + len(payload) > MAX_BUFFERED:
            return False
        channel.send(payload)
        return True

    def _create(self, sctp: RTCSctpTransport, wish: _Wish) -> None:
        parameters = RTCDataChannelParameters(
            label=wish.label, ordered=wish.ordered, maxRetransmits=wish.max_retransmits
        )
        channel = RTCDataChannel(sctp, parameters)
        channel.on("open", lambda: self._opened(wish.label))
        self._listen(wish.label, channel)

    def _accept(self, channel: RTCDataChannel) -> None:
        self._accepted += 1
        if self._accepted > MAX_CHANNELS:
            self._overrun("too_many_channels")
            return
        self._listen(channel.label, channel)
        self._opened(channel.label)

    def _listen(self, label: str, channel: RTCDataChannel) -> None:
        self._channels[label] = channel

        def message(data: bytes | str) -> None:
            payload = data.encode() if isinstance(data, str) else data
            if len(payload) <= MAX_MESSAGE:
                self._received(label, payload)
            else:
                self._overrun("message_too_long")

        channel.on("message", message)
