"""Relays: credentials as coturn computes them, in the join and in every resume."""

import base64
import hashlib
import hmac

from sfu.signal.relays import Relays
from tests.sfu.signal.stage import START, Stage, last, later, taken

URLS = ("turn:relay.example.org:3478?transport=udp", "turns:relay.example.org:443?transport=tcp")
RELAYS = Relays(urls=URLS, secret="shared", ttl_s=600)


def test_credentials_end_by_themselves() -> None:
    (server,) = RELAYS.servers("PA_1", 1_700_000_000.9)
    assert list(server.urls) == list(URLS)
    assert server.username == "1700000600:PA_1"
    # What coturn does with `static-auth-secret=shared`.
    expected = hmac.new(b"shared", b"1700000600:PA_1", hashlib.sha1).digest()
    assert base64.b64decode(server.credential) == expected
    assert "shared" not in repr(RELAYS)


def test_without_relays_clients_are_told_of_none() -> None:
    stage = Stage()
    session = stage.join("anne")
    assert not last(session, "join").join.ice_servers


def test_a_join_and_a_resume_bring_credentials_that_name_nobody() -> None:
    stage = Stage(relays=RELAYS)
    session = stage.join("@anne:example.org")
    (server,) = last(session, "join").join.ice_servers
    assert server.username == f"{int(START.wall) + 600}:{session.participant.sid}"
    stage.signalling.lost(session, later(1))
    assert stage.signalling.resume(session.participant.sid, session.claims, later(300)) is session
    (again,) = taken(session)[0].reconnect.ice_servers
    assert again.username == f"{int(START.wall) + 900}:{session.participant.sid}"
