"""The address of whoever asks, also through the reverse proxy."""

from __future__ import annotations

import ipaddress

from aiohttp import web


def client_address(request: web.Request) -> str:
    """The client's address; of IPv6 the /64, since one client has a whole one to choose from.

    `X-Forwarded-For` is believed only from a machine of our own network (loopback or private), and
    of it only the last entry: the one that our proxy wrote. The others are the client's to invent.
    """
    peer = _parsed(request.remote or "")
    if peer is not None and (peer.is_loopback or peer.is_private):
        forwarded = request.headers.getall("X-Forwarded-For", [])
        last = _parsed(forwarded[-1].rpartition(",")[2].strip()) if forwarded else None
        peer = last or peer
    if peer is None:
        return ""
    if isinstance(peer, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(peer) >> 64 << 64, 64)))
    return str(peer)


def came_through_proxy(request: web.Request) -> bool:
    """Whether a reverse proxy passed the request on: then it is from outside."""
    return any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "Via"))


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
