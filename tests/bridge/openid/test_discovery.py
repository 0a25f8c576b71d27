"""Server names, addresses and the steps of discovery."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.matrix.discovery import (
    Destination,
    Discovery,
    InvalidServerName,
    ServerName,
    SystemResolver,
    Unresolvable,
    is_public,
    parse_server_name,
)


class Dns:
    """A resolver that knows what it was told."""

    def __init__(self, addresses: dict[str, list[str]], **services: tuple[str, int]) -> None:
        self.known = addresses
        self.records = services
        self.asked: list[str] = []

    async def addresses(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.known.get(host, [])

    async def services(self, name: str) -> list[tuple[str, int]]:
        self.asked.append(name)
        return [self.records[name]] if name in self.records else []


class WellKnown:
    """Answers for /.well-known/matrix/server, by host."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[Destination] = []

    async def __call__(self, at: Destination, path: str) -> bytes | None:
        assert path == "/.well-known/matrix/server"
        self.asked.append(at)
        return self.answers.get(at.host.replace(".", "_"))


def delegation(server: str) -> bytes:
    return json.dumps({"m.server": server}).encode()


PUBLIC = "93.184.215.14"
OTHER = "93.184.215.99"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.org", ServerName("example.org", None, literal=False)),
        ("localhost:8448", ServerName("localhost", 8448, literal=False)),
        ("1.2.3.4", ServerName("1.2.3.4", None, literal=True)),
        ("1.2.3.4:80", ServerName("1.2.3.4", 80, literal=True)),
        ("[::1]:8448", ServerName("::1", 8448, literal=True)),
        ("[2001:db8::7]", ServerName("2001:db8::7", None, literal=True)),
    ],
)
def test_server_names(text: str, expected: ServerName) -> None:
    assert parse_server_name(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":8448", "a b", "a/b", "a@b", "a?b", "a#b", "a\\b", "a_b", "é.org", "example.org."),
        *("example.org:", "example.org:0", "example.org:65536", "example.org:123456", "-a.org"),
        *("127.1", "2130706433", "0x7f.1", "1.2.3", "1.2.3.4.5", "[1.2.3", "[example.org]", "::1"),
        *("a..b", "a-.org", "x" * 64 + ".org", "x." * 200 + "org", "a\n", "example.org:80\n", "[]"),
    ],
)
def test_what_is_no_server_name(text: str) -> None:
    with pytest.raises(InvalidServerName):
        parse_server_name(text)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        assert str(parse_server_name(text)) == text or ":" in text  # ports: leading zeroes
    except InvalidServerName:
        return


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1"),
        *("fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1"),
        *("2001:0:7f00:1::", "100::1", "4000::1"),
    ],
)
def test_addresses_that_are_not_asked(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "2a01:4f8::1", "2606:4700::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"],
)
def test_addresses_that_are_asked(address: str) -> None:
    assert is_public(address)


async def resolve(
    name: str, dns: Dns, well_known: WellKnown | None = None, **options: object
) -> Destination:
    discovery = Discovery(well_known or WellKnown(), resolver=dns, **options)  # type: ignore[arg-type]
    return await discovery.destination(name)


async def test_an_address_is_taken_as_it_is() -> None:
    dns = Dns({})
    assert await resolve(PUBLIC, dns) == Destination(PUBLIC, 8448, (PUBLIC,), PUBLIC)
    found = await resolve(f"{PUBLIC}:443", dns)
    assert (found.port, found.host_header, found.url) == (
        443,
        f"{PUBLIC}:443",
        f"https://{PUBLIC}:443",
    )
    assert dns.asked == []


async def test_a_port_means_no_well_known_file_and_no_service_record() -> None:
    dns, well_known = Dns({"a.org": [PUBLIC]}), WellKnown(a_org=delegation("evil.org"))
    found = await resolve("a.org:1234", dns, well_known)
    assert found == Destination("a.org", 1234, (PUBLIC,), "a.org:1234")
    assert (dns.asked, well_known.asked) == (["a.org"], [])


@pytest.mark.parametrize(
    ("delegated", "expected"),
    [
        ("m.org:77", Destination("m.org", 77, (OTHER,), "m.org:77")),
        (OTHER, Destination(OTHER, 8448, (OTHER,), OTHER)),
        (f"{OTHER}:77", Destination(OTHER, 77, (OTHER,), f"{OTHER}:77")),
        ("m.org", Destination("m.org", 8448, (OTHER,), "m.org")),
    ],
)
async def test_a_well_known_file_delegates(delegated: str, expected: Destination) -> None:
    dns = Dns({"a.org": [PUBLIC], "m.org": [OTHER]})
    assert await resolve("a.org", dns, WellKnown(a_org=delegation(delegated))) == expected


@pytest.mark.parametrize("service", ["_matrix-fed._tcp", "_matrix._tcp"])
@pytest.mark.parametrize("delegated", [True, False])
async def test_a_service_record_names_host_and_port_but_not_the_certificate(
    service: str, delegated: bool
) -> None:
    name = "m.org" if delegated else "a.org"
    dns = Dns({"a.org": [PUBLIC], "srv.org": [OTHER]}, **{f"{service}.{name}": ("srv.org", 9999)})
    well_known = WellKnown(a_org=delegation("m.org")) if delegated else WellKnown()
    assert await resolve("a.org", dns, well_known) == Destination(name, 9999, (OTHER,), name)


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b"null", b'{"m.server":3}', b'{"m.server":"a b"}', b"[" * 9999]
)
async def test_a_useless_well_known_file_is_as_none(answer: bytes) -> None:
    found = await resolve("a.org", Dns({"a.org": [PUBLIC]}), WellKnown(a_org=answer))
    assert found == Destination("a.org", 8448, (PUBLIC,), "a.org")


@pytest.mark.parametrize(
    ("name", "dns"),
    [
        ("127.0.0.1:8008", Dns({})),
        ("[::1]:8008", Dns({})),
        ("a.org:80", Dns({"a.org": ["10.0.0.7", "::1"]})),
        ("a.org", Dns({"a.org": ["169.254.169.254"]})),
        ("a.org:80", Dns({})),
        ("a.org", Dns({}, **{"_matrix._tcp.a.org": ("127.0.0.1", 22)})),
        ("a.org", Dns({"b.org": ["127.0.0.1"]}, **{"_matrix._tcp.a.org": ("b.org", 22)})),
    ],
)
async def test_nothing_private_is_a_destination(name: str, dns: Dns) -> None:
    with pytest.raises(Unresolvable):
        await resolve(name, dns)


async def test_a_delegation_to_a_private_address_is_refused() -> None:
    dns = Dns({"a.org": [PUBLIC]})
    with pytest.raises(Unresolvable):
        await resolve("a.org", dns, WellKnown(a_org=delegation("169.254.169.254:80")))


async def test_a_name_with_both_kinds_of_address_is_asked_at_the_public_ones() -> None:
    found = await resolve("a.org:80", Dns({"a.org": ["10.0.0.1", PUBLIC]}))
    assert found.addresses == (PUBLIC,)


async def test_the_delegation_is_remembered_and_the_addresses_are_not() -> None:
    now = [0.0]
    dns, well_known = Dns({"a.org": [PUBLIC]}), WellKnown(a_org=delegation("a.org:1"))
    discovery = Discovery(well_known, resolver=dns, clock=lambda: now[0])
    await discovery.destination("a.org")
    dns.known = {"a.org": ["127.0.0.1"]}
    with pytest.raises(Unresolvable):
        await discovery.destination("a.org")
    assert len(well_known.asked) == 1
    dns.known, now[0] = {"a.org": [PUBLIC]}, 3600.0
    await discovery.destination("a.org")
    assert len(well_known.asked) == 2


class _Zone(asyncio.DatagramProtocol):
    """A name server that knows some service records."""

    def __init__(self, *records: str) -> None:
        self.records = records

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        name = query.question[0].name
        if name.to_text() == "_matrix-fed._tcp.a.org.":
            answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "SRV", self.records))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


async def test_service_records_are_asked_for_and_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = _Zone("20 9 1 c.org.", "10 1 2 b.org.", "10 5 3 a.org.", "5 0 4 .")
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: zone, local_addr=("127.0.0.1", 0))
    ours = dns.asyncresolver.Resolver(configure=False)
    ours.nameservers, ours.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", ours)
    resolver = SystemResolver()
    assert await resolver.services("_matrix-fed._tcp.a.org") == [
        ("a.org", 3),
        ("b.org", 2),
        ("c.org", 1),
    ]
    assert await resolver.services("_matrix._tcp.a.org") == []
    assert await resolver.services("x" * 64 + ".org") == []
    transport.close()
    resolver.close()


async def test_the_system_resolver_knows_localhost_and_fails_quietly() -> None:
    resolver = SystemResolver()
    assert "127.0.0.1" in await resolver.addresses("localhost")
    assert await resolver.addresses("nothing.invalid") == []
    assert await resolver.addresses("x" * 70 + ".invalid") == []
    resolver.close()
