"""The doctor asks the relays that the media server names, as a client would."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.protocol.rtc import ICEServer, JoinResponse

from bridge.config import Media
from bridge.doctor.findings import Remark
from bridge.doctor.media import relays_of, turn
from bridge.doctor.relays import Relay, allocation
from bridge.doctor.signalling import join
from bridge.doctor.visit import Visit
from tests.sfu.server.server_process import running, token
from tests.support.turn import relay

SECRET = "a-secret-of-the-relay"


def visit(*servers: ICEServer, told: tuple[str, ...] = ()) -> Visit:
    """A visit that has come as far as the join."""
    joined = SimpleNamespace(response=JoinResponse(ice_servers=servers))
    settings = SimpleNamespace(media=Media(turn_urls=list(told)))
    return cast("Visit", SimpleNamespace(joined=joined, settings=settings))


def told(answer: Any) -> list[str]:
    found = [answer] if isinstance(answer, Remark) else answer
    return [one.key for one in found]


@pytest.mark.livekit
async def test_what_the_sfu_hands_out_opens_the_relay(tmp_path: Path) -> None:
    file = tmp_path / "turn.secret"
    file.write_text(f"{SECRET}\n")
    async with relay(SECRET) as serving:
        url = f"turn:127.0.0.1:{serving.port}"
        with running("--turn-url", url, "--turn-secret-file", str(file)) as sfu:
            joined = await join(sfu.ws, token("anne", "relays"))
            await joined.close()
        assert told(await turn(visit(*joined.response.ice_servers))) == ["turn.some"]
        (username,) = serving.served
        assert username.endswith(f":{joined.response.participant.sid}")
        assert serving.allocations == []


async def test_a_relay_with_another_secret_refuses() -> None:
    async with relay("another") as serving:
        url = f"turn:127.0.0.1:{serving.port}?transport=udp"
        server = ICEServer(urls=[url], username="4102444800:x", credential="wrong")
        (remark,) = cast("list[Remark]", await turn(visit(server)))
        assert remark.key == "turn.refused"
        assert remark.values["reason"] == "401 Unauthorized"


async def test_a_relay_that_is_not_there_is_silent() -> None:
    gone = await allocation(Relay("turn:127.0.0.1:1?transport=tcp", "u", "c"), 5)
    assert gone.kind == "silent"
    assert (await allocation(Relay("turns:127.0.0.1:1", "u", "c"), 5)).kind == "silent"
    async with relay(SECRET) as serving:
        port = serving.port
    quiet = await allocation(Relay(f"turn:127.0.0.1:{port}", "u", "c"), 0.3)
    assert quiet.kind == "silent"
    assert (await allocation(Relay("nonsense", "u", "c"), 1)).kind == "silent"


async def test_none_and_forgotten_ones() -> None:
    assert told(await turn(visit())) == ["turn.none"]
    assert told(await turn(visit(told=("turn:x",)))) == ["turn.not_told"]
    assert relays_of([ICEServer(urls=["stun:x"])]) == []
