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
SOURCE_RATE, SOURCE_BURST = 100.0, 200.0  # per second from one IP: an office joins at once
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


class Bucket:
    """A token bucket: `rate` a second, `burst` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """Limits what strangers may cost: STUN requests per source address and in all.

    Known clients do not pass here: an office behind one NAT, or a flood from forged addresses,
    must not cost a call its consent checks.
    """

    def __init__(self) -> None:
        self._sources: OrderedDict[str, Bucket] = OrderedDict()
        self._total = Bucket(TOTAL_RATE, TOTAL_BURST, 0.0)

    def admit(self, source: str, now: float) -> bool:
        """Whether one more request of `source` may be looked at."""
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = Bucket(SOURCE_RATE, SOURCE_BURST, now)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(source)
        return bucket.take(now) and self._total.take(now)
