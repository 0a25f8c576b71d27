"""Where a homeserver is reached, by its name (Matrix server-server API, "Server discovery").

The name comes from whoever asks for a token, so every step is one an attacker steers: the addresses
a name stands for are looked up once, checked, and only those checked addresses are connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.rdatatype

from bridge.matrix.limits import Recent

DEFAULT_PORT = 8448
WELL_KNOWN = "/.well-known/matrix/server"
_WELL_KNOWN_TTL_S = 3600.0  # shorter than the day the specification allows: moves are seen sooner
_WELL_KNOWN_FAILED_TTL_S = 60.0
_DNS_THREADS = 8


class InvalidServerName(ValueError):
    """The text is not a server name (Matrix appendices, "Server name")."""


class Unresolvable(Exception):
    """No address of this server may be asked, or none exists."""


@dataclass(frozen=True, slots=True)
class ServerName:
    """A parsed server name. `host` is without the brackets of IPv6."""

    host: str
    port: int | None
    literal: bool  # an IP address instead of a DNS name

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAME = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::(?P<port>[0-9]{1,5}))?"
)


def parse_server_name(name: str) -> ServerName:
    """Parse `host`, `host:port`, `1.2.3.4:port` or `[::1]:port`. Raises InvalidServerName."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidServerName("not a server name")
    host = found["host"].strip("[]")
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 0 < port < 65536:
        raise InvalidServerName("not a port")
    literal = _is_address(host)
    if not literal and (found["host"].startswith("[") or not _is_dns_name(host)):
        raise InvalidServerName("not a host name")
    return ServerName(host, port, literal)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_dns_name(host: str) -> bool:
    # 127.1 or 2130706433 are spellings of addresses to many resolvers; no DNS name ends in a
    # numeric label (RFC 1123 2.1).
    labels = host.split(".")
    return not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)


def is_public(address: str) -> bool:
    """Whether an address is of the public Internet, looking through IPv4 wrapped in IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or _translated(parsed)
        if inner is None:
            return parsed in _GLOBAL_UNICAST and parsed.is_global
        parsed = inner
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # 64:ff9b::/96 and 64:ff9b:1::/48 reach IPv4 through NAT64 (RFC 6052, RFC 8215); ::/96 is the
    # deprecated IPv4-compatible form.
    if int(address) >> 32 in (0x0064FF9B << 64, 0) or int(address) >> 80 == 0x0064FF9B0001:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class Resolver(Protocol):
    """DNS, as far as discovery needs it."""

    async def addresses(self, host: str) -> list[str]:
        """IPv4 and IPv6 addresses of a host name; empty where it has none."""

    async def services(self, name: str) -> list[tuple[str, int]]:
        """Targets and ports of an SRV record, best first; empty where it has none."""


class SystemResolver:
    """Addresses as the operating system finds them (/etc/hosts too), SRV records by dnspython.

    getaddrinfo cannot be cancelled, so it runs in threads of its own: names with slow servers,
    chosen by a stranger, cannot hold up what else the process does in threads.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="resolve")

    async def addresses(self, host: str) -> list[str]:
        """See Resolver."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, _getaddrinfo, host)
        except (OSError, UnicodeError):  # UnicodeError: not a name IDNA can write
            return []
        return list(dict.fromkeys(found))

    async def services(self, name: str) -> list[tuple[str, int]]:
        """See Resolver."""
        try:
            answer = await dns.asyncresolver.resolve(name, dns.rdatatype.SRV)
        except (dns.exception.DNSException, OSError, ValueError):
            return []
        # Lowest priority first, then highest weight: one question needs no load balancing.
        records = sorted(answer, key=lambda record: (record.priority, -record.weight))
        found = [(str(record.target).rstrip("."), record.port) for record in records]
        return [(target, port) for target, port in found if target]  # "." is "not here", RFC 2782

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Destination:
    """A server to ask: connect to one of `addresses` at `port`, speak TLS for `host`."""

    host: str
    port: int
    addresses: tuple[str, ...]
    host_header: str

    @property
    def url(self) -> str:
        """`https://host:port`."""
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


Fetch = Callable[[Destination, str], Awaitable[bytes | None]]
"""GET a path at a destination; the body of a 200, None for anything else."""


class Discovery:
    """Resolves server names; remembers what well-known files said, never addresses."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        resolver: Resolver,
        allowed: Callable[[str], bool] = is_public,
        well_known_port: int = 443,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._resolver = resolver
        self._allowed = allowed
        self._well_known_port = well_known_port
        self._clock = clock
        self._delegations: Recent[str, ServerName | None] = Recent(1000)

    async def destination(self, server_name: str) -> Destination:
        """Where to reach a homeserver. Raises InvalidServerName or Unresolvable."""
        name = parse_server_name(server_name)
        if name.literal or name.port is not None:
            return await self._at(name, name.host, name.port or DEFAULT_PORT)
        delegated = await self._delegated(name)
        if delegated is not None and (delegated.literal or delegated.port is not None):
            return await self._at(delegated, delegated.host, delegated.port or DEFAULT_PORT)
        return await self._by_service(delegated or name)

    async def _by_service(self, name: ServerName) -> Destination:
        # `_matrix` is the deprecated name of the record (before Matrix 1.8), still in wide use.
        for service in ("_matrix-fed", "_matrix"):
            for target, port in await self._resolver.services(f"{service}._tcp.{name.host}"):
                return await self._at(name, target, port)
        return await self._at(name, name.host, DEFAULT_PORT)

    async def at(self, name: ServerName, port: int) -> Destination:
        """Where a name itself is reached, without any delegation. Raises Unresolvable."""
        return await self._at(name, name.host, port)

    async def _at(self, name: ServerName, target: str, port: int) -> Destination:
        found = [target] if _is_address(target) else await self._resolver.addresses(target)
        addresses = tuple(address for address in found if self._allowed(address))
        if not addresses:
            raise Unresolvable("no address that may be asked" if found else "no address")
        return Destination(name.host, port, addresses, str(name))

    async def _delegated(self, name: ServerName) -> ServerName | None:
        now = self._clock()
        known, delegated = self._delegations.get(name.host, now)
        if known:
            return delegated
        delegated = await self._read_well_known(name)
        ttl = _WELL_KNOWN_FAILED_TTL_S if delegated is None else _WELL_KNOWN_TTL_S
        self._delegations.put(name.host, delegated, until=now + ttl)
        return delegated

    async def _read_well_known(self, name: ServerName) -> ServerName | None:
        """The delegation, None without a usable one: discovery then goes on with the name."""
        try:
            at = await self._at(name, name.host, self._well_known_port)
        except Unresolvable:
            return None
        body = await self._fetch(at, WELL_KNOWN)
        if body is None:
            return None
        try:
            return parse_server_name(json.loads(body)["m.server"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
