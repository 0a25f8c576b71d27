"""ICE-lite (RFC 8445 section 2.5): answer authenticated binding requests, nothing else.

A lite agent gathers no candidates of the client and sends no checks; whoever knows the password
proves the address they write from.
"""

import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass

from aioice import stun

MAX_STUN_LENGTH = 1024
SOURCE_RATE, SOURCE_BURST = 50.0, 200.0  # requests per second from one IP: an office behind a NAT
TOTAL_RATE, TOTAL_BURST = 2000.0, 4000.0
MAX_SOURCES = 4096


class Refused(ValueError):
    """A STUN message that is not answered; the message is the name of the reason."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One ufrag/pwd pair of ours."""

    ufrag: str
    pwd: str

    @classmethod
    def generate(cls) -> "Credentials":
        """Fresh, unguessable: 48 bits of ufrag, 192 bits of pwd (RFC 8445 asks 24 and 128)."""
        return cls(secrets.token_hex(6), secrets.token_hex(24))


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """A parsed binding request, not yet authenticated."""

    message: stun.Message
    ufrag: str
    use_candidate: bool

    def authenticate(self, credentials: Credentials) -> None:
        """Raise Refused unless it was made with our password."""
        if not self.message.check_message_integrity(credentials.pwd.encode()):
            raise Refused("stun_bad_integrity")

    def response(self, address: tuple[str, int], credentials: Credentials) -> bytes:
        """The success response, telling the client the address it writes from."""
        answer = stun.Message(
            stun.Method.BINDING,
            stun.Class.RESPONSE,
            transaction_id=self.message.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": address},
        )
        answer.add_message_integrity(credentials.pwd.encode())
        return bytes(answer)


def parse_request(data: bytes) -> BindingRequest:
    """Read a binding request; raises Refused with the name of what is wrong."""
    if len(data) > MAX_STUN_LENGTH:
        raise Refused("stun_too_long")
    try:
        message = stun.parse_message(data)
    except (ValueError, struct.error):  # aioice lets both through
        raise Refused("stun_malformed") from None
    if (message.message_method, message.message_class) != (
        stun.Method.BINDING,
        stun.Class.REQUEST,
    ):
        raise Refused("stun_not_a_request")
    username = message.attributes.get("USERNAME", "")
    local, separator, _ = username.partition(":")
    if not separator:
        raise Refused("stun_no_username")
    return BindingRequest(message, local, "USE-CANDIDATE" in message.attributes)


class _Bucket:
    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.at = now

    def take(self, rate: float, burst: float, now: float) -> bool:
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Gate:
    """Limits what strangers may cost: STUN requests per source address and in all."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._total = _Bucket(TOTAL_BURST, 0.0)

    def admit(self, source: str, now: float) -> bool:
        """Whether one more request of `source` may be looked at."""
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = _Bucket(SOURCE_BURST, now)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(source)
        return bucket.take(SOURCE_RATE, SOURCE_BURST, now) and self._total.take(
            TOTAL_RATE, TOTAL_BURST, now
        )
