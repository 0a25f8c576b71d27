"""The development homeserver: it starts, federates, keeps its data, and says what is wrong."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest

from tests.support.synapse import HomeserverError, MatrixError, Synapse

pytestmark = pytest.mark.homeserver


async def test_two_servers_share_a_room(federation: list[Synapse]) -> None:
    first, second = federation
    alice = await first.register(f"alice{secrets.token_hex(3)}")
    bob = await second.register(f"bob{secrets.token_hex(3)}")
    room = await alice.create_room("Budget", invite=[bob.user_id])
    await bob.join(room, via=[first.server_name])
    said = await alice.say(room, "hello")
    heard = await bob.wait_for(room, lambda event: event["event_id"] == said)
    assert heard["sender"] == alice.user_id
    assert await bob.members(room) == sorted([alice.user_id, bob.user_id])


async def test_what_calls_need_is_switched_on(homeserver: Synapse) -> None:
    alice = await homeserver.register(f"alice{secrets.token_hex(3)}")
    features = (await alice.request("GET", "/_matrix/client/versions"))["unstable_features"]
    assert features["org.matrix.msc4140"]
    assert features["org.matrix.msc4354"]
    # No transport is configured here; the route itself (MSC4143) is there.
    path = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
    assert await alice.request("GET", path) == {}


async def test_rooms_of_yesterday_are_found_again(tmp_path: Path) -> None:
    server = await Synapse.create(tmp_path)
    try:
        alice = await server.ensure_person("alice", "secret", "LAPTOP")
        room = await alice.create_room("Budget")
        await server.kill()
        assert server.pid is None
        await server.start()
        again = await server.ensure_person("alice", "secret", "LAPTOP")
        assert (again.user_id, again.device_id) == (alice.user_id, "LAPTOP")
        assert await again.joined_rooms() == [room]
        with pytest.raises(MatrixError) as refused:
            await server.login("alice", "wrong")
        assert refused.value.errcode == "M_FORBIDDEN"
    finally:
        await server.stop()
    assert server.pid is None


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Synapse(tmp_path, client_port=port, federation_port=1, authority=tmp_path)
        with pytest.raises(HomeserverError, match=f"port {port} is taken"):
            await server.start()


async def test_a_missing_installation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLOQUE_SYNAPSE_PYTHON", str(tmp_path / "python"))
    with pytest.raises(HomeserverError, match="Synapse is not installed"):
        await Synapse.create(tmp_path)


async def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "registration.yaml"
    broken.write_text("id: no url here")
    with pytest.raises(HomeserverError, match=r"Synapse did not start: .*as_token.*homeserver.log"):
        await Synapse.create(tmp_path / "data", registrations=[broken])
