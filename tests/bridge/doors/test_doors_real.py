"""All doors on real parts: two federated homeservers, the sfu, the store, LiveKit clients.

Who is a member gets a token that the media server takes; who is not gets 403 from every door.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from livekit import rtc
from prometheus_client import CollectorRegistry

from bridge.config import Appservice, Federation, Media, Settings, Web
from bridge.config import Homeserver as HomeserverSettings
from bridge.ids import hashed_identity, media_room
from bridge.matrix import registration
from bridge.matrix.admission import Admission
from bridge.matrix.appservice import routes
from bridge.matrix.client import Homeserver
from bridge.matrix.delayed import DelayedEvents
from bridge.matrix.guarded import Guarded
from bridge.matrix.openid import OpenId
from bridge.matrix.rtc_proxy import rtc_routes
from bridge.media.keys import api_key
from bridge.media.programs import answers_http, webhook_url
from bridge.media.server import MediaServer
from bridge.rooms.entrance import Entrance
from bridge.rooms.house import House, Stores
from bridge.store.database import open_database
from bridge.store.grants import Grants
from bridge.store.inbox import Inbox
from bridge.store.leaves import Leaves as LeaveStore
from bridge.upkeep.leaves import Leaves
from bridge.web.app import web_app
from tests.support.captions import quiet_feed
from tests.support.library import archive_over, challenges
from tests.support.synapse import Person, Synapse, federated, free_ports

pytestmark = [pytest.mark.homeserver, pytest.mark.livekit, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Site:
    """What the tests drive."""

    settings: Settings
    homeserver: Homeserver
    near: Synapse
    far: Synapse
    inbox: Inbox
    grants: Grants
    http: aiohttp.ClientSession
    alice: Person = field(init=False)  # at the near server, made the room
    bob: Person = field(init=False)  # at the far server, joined it
    carol: Person = field(init=False)  # at the near server, not in it
    room: str = field(init=False)
    committed: asyncio.Queue[set[str]] = field(default_factory=asyncio.Queue)

    @property
    def page(self) -> str:
        return self.settings.web.public_url

    @property
    def media_room(self) -> str:
        return media_room(self.room)

    async def sfu_get(self, person: Person, **changes: Any) -> tuple[int, dict[str, Any]]:
        body = {
            "room": self.room,
            "openid_token": await person.openid_token(),
            "device_id": person.device_id,
            **changes,
        }
        return await self.post(f"{self.page}/sfu/get", body)

    async def get_token(self, person: Person, **changes: Any) -> tuple[int, dict[str, Any]]:
        member = {
            "id": "member-1",
            "claimed_user_id": person.user_id,
            "claimed_device_id": person.device_id,
        }
        body = {
            "room_id": self.room,
            "slot_id": "m.call#ROOM",
            "openid_token": await person.openid_token(),
            "member": member,
            **changes,
        }
        return await self.post(f"{self.page}/get_token", body)

    async def through_homeserver(self, person: Person) -> tuple[int, dict[str, Any]]:
        path = "/_matrix/client/unstable/io.element.msc4195/rtc/livekit/get_token"
        member = {"id": "member-2", "claimed_device_id": person.device_id}
        body = {
            "room_id": self.room,
            "slot_id": "m.call#ROOM",
            "url": self.settings.media.public_url,
            "member": member,
        }
        url = self.near.client_url + path
        return await self.post(url, body, {"Authorization": f"Bearer {person.access_token}"})

    async def post(
        self, url: str, body: object, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        async with self.http.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()


def claims(answer: dict[str, Any]) -> dict[str, Any]:
    """As Element Call reads a token: with `atob`."""
    payload = answer["jwt"].split(".")[1]
    decoded: dict[str, Any] = json.loads(
        base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    )
    return decoded


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("doors")
    async with contextlib.AsyncExitStack() as stack:
        near, far = await federated(folder / "homeservers")
        stack.push_async_callback(near.stop)
        stack.push_async_callback(far.stop)
        settings = _settings(folder, near)
        file = folder / "registration.yaml"
        file.write_text(registration.generate(settings))
        made = await _site(stack, settings, registration.read(file), near, far)
        await near.restart(registrations=[file])
        made.alice, made.carol = await near.register("alice"), await near.register("carol")
        made.bob = await far.register("bob")
        await made.homeserver.ensure_registered()
        guests = [made.bob.user_id, made.homeserver.user_id]
        made.room = await made.alice.create_room("Budget", invite=guests)
        await made.homeserver.join(made.room)
        await made.bob.join(made.room, via=[near.server_name])
        yield made


def _settings(folder: Path, near: Synapse) -> Settings:
    web_port, as_port, media_port, udp, tcp = free_ports(5)
    return dataclasses.replace(
        Settings(base=folder),
        homeserver=HomeserverSettings(address=near.client_url, server_name=near.server_name),
        appservice=Appservice(listen=f"127.0.0.1:{as_port}"),
        web=Web(listen=f"127.0.0.1:{web_port}", public_url=f"http://127.0.0.1:{web_port}"),
        media=Media(
            public_url=f"ws://127.0.0.1:{media_port}",
            api_url=f"http://127.0.0.1:{media_port}",
            rtc_udp_port=udp,
            rtc_tcp_port=tcp,
            bind=["127.0.0.1"],
            advertised_addresses=["127.0.0.1"],
        ),
        federation=Federation(allow_private_addresses=True, verify_certificates=False),
    )


async def _site(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    registered: registration.Registration,
    near: Synapse,
    far: Synapse,
) -> Site:
    """The bridge's doors, composed as bridge/app.py does it."""
    key = api_key(settings)
    database = await open_database(settings)
    stack.push_async_callback(database.stop)
    homeserver = Homeserver(settings.homeserver.address, near.server_name, registered)
    stack.push_async_callback(homeserver.close)
    media = MediaServer(settings.media.api_url, key)
    stack.push_async_callback(media.close)
    grants, inbox, registry = Grants(database), Inbox(database), CollectorRegistry()
    openid = OpenId(settings)
    stack.push_async_callback(openid.close)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    site = Site(settings, homeserver, near, far, inbox, grants, http)
    guarded = Guarded(settings.federation)
    stack.push_async_callback(guarded.close)
    admission = Admission(
        settings,
        key,
        homeserver=homeserver,
        grants=grants,
        media=media,
        entrance=Entrance(
            House.of(settings, homeserver.user_id),
            Stores.over(database),
            homeserver,
            take=lambda entries: inbox.commit(entries, now_ms=0),
        ),
        leaves=Leaves(LeaveStore(database), media, DelayedEvents(homeserver, guarded)),
        registry=registry,
    )
    app = web_app(
        settings,
        key=key,
        admission=admission,
        openid=openid,
        rooms=grants,
        inbox=inbox,
        on_commit=site.committed.put_nowait,
        checks={"media": media.reachable},
        registry=registry,
        feed=quiet_feed(database),
        members=homeserver,
        archive=archive_over(settings, database, homeserver),
        challenges=challenges(),
    )
    await _serve(stack, app, settings.web.listen)
    matrix = routes(inbox, registered, lambda _rooms: None, server_name=near.server_name)
    matrix.add_routes(rtc_routes(settings, registered.hs_token, admission))
    await _serve(stack, matrix, settings.appservice.listen)
    await _start_sfu(stack, settings, f"{key.key}: {key.secret}")
    return site


async def _serve(stack: contextlib.AsyncExitStack, app: web.Application, listen: str) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host, int(port)).start()


async def _start_sfu(stack: contextlib.AsyncExitStack, settings: Settings, keys: str) -> None:
    media = settings.media
    command = [sys.executable, "-m", "sfu", "--bind", "127.0.0.1", "--advertise", "127.0.0.1"]
    command += ["--port", media.api_url.rpartition(":")[2], "--webhook", webhook_url(settings)]
    command += ["--udp-port", str(media.rtc_udp_port), "--tcp-port", str(media.rtc_tcp_port)]
    process = _spawn(command, {"LIVEKIT_KEYS": keys})
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    async with asyncio.timeout(20):
        while not await answers_http(media.api_url):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)


def _spawn(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**os.environ, **environment})


async def test_a_member_gets_a_token_the_media_server_takes(site: Site) -> None:
    status, answer = await site.sfu_get(site.alice)
    assert status == 200, answer
    token = claims(answer)
    assert token["sub"] == f"{site.alice.user_id}:{site.alice.device_id}"
    assert token["video"]["room"] == site.media_room
    assert token["name"] == "alice"
    client = rtc.Room()
    await client.connect(answer["url"], answer["jwt"])
    try:
        assert client.local_participant.identity == token["sub"]
    finally:
        await client.disconnect()
    grant = await site.grants.of_identity(site.media_room, token["sub"])
    assert grant is not None
    assert (grant.user_id, grant.room_id) == (site.alice.user_id, site.room)


async def test_the_media_servers_news_of_it_is_in_the_inbox(site: Site) -> None:
    _, answer = await site.sfu_get(site.alice)
    client = rtc.Room()
    await client.connect(answer["url"], answer["jwt"])
    await client.disconnect()
    events: list[str] = []
    async with asyncio.timeout(10):
        while "participant_left" not in events:
            assert await site.committed.get() <= {site.room}
            database = site.inbox._db
            rows = await database.fetch("SELECT room_id, kind, payload FROM inbox ORDER BY seq")
            assert {(row["room_id"], row["kind"]) for row in rows if row["kind"] == "media"} == {
                (site.room, "media")
            }
            events = [json.loads(row["payload"])["event"] for row in rows if row["kind"] == "media"]
    assert "participant_joined" in events


async def test_a_member_of_another_homeserver_gets_one_too(site: Site) -> None:
    status, answer = await site.sfu_get(site.bob)
    assert status == 200, answer
    assert claims(answer)["sub"] == f"{site.bob.user_id}:{site.bob.device_id}"
    status, answer = await site.get_token(site.bob)
    assert status == 200, answer
    expected = hashed_identity(site.bob.user_id, site.bob.device_id, "member-1")
    assert claims(answer)["sub"] == expected


async def test_a_member_gets_one_through_the_homeserver(site: Site) -> None:
    status, answer = await site.through_homeserver(site.alice)
    assert status == 200, answer
    assert answer["url"] == site.settings.media.public_url
    expected = hashed_identity(site.alice.user_id, site.alice.device_id, "member-2")
    assert claims(answer)["sub"] == expected


async def test_who_is_not_in_the_room_gets_403_from_all_three_doors(site: Site) -> None:
    for door in (site.sfu_get, site.get_token, site.through_homeserver):
        status, answer = await door(site.carol)
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN"), door
        assert answer["error"] == "You are not a member of this room."
        assert "jwt" not in answer
    assert await site.grants.of_user(site.room, site.carol.user_id) == []


async def test_a_room_that_does_not_exist_is_one_nobody_is_in(site: Site) -> None:
    status, answer = await site.sfu_get(site.alice, room="!nowhere:example.org")
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_whoever_is_kicked_gets_none_from_then_on(site: Site) -> None:
    # The bot is not in this room: the homeserver answers for it all the same (MSC4502).
    room = await site.alice.create_room("Short", invite=[site.bob.user_id])
    await site.bob.join(room, via=[site.near.server_name])
    assert (await site.sfu_get(site.bob, room=room))[0] == 200
    await site.alice.kick(room, site.bob.user_id)
    assert (await site.sfu_get(site.bob, room=room))[0] == 403
    assert (await site.get_token(site.bob, room_id=room))[0] == 403


async def test_whoever_is_banned_or_only_in_another_room_gets_none(site: Site) -> None:
    room = await site.alice.create_room("Banned", invite=[site.bob.user_id])
    await site.bob.join(room, via=[site.near.server_name])
    assert (await site.get_token(site.bob, room_id=room))[0] == 200
    await site.alice.ban(room, site.bob.user_id)
    for person in (site.bob, site.carol):  # carol has a room of her own
        await site.carol.create_room("Carol's")
        assert (await site.sfu_get(person, room=room))[0] == 403
        assert (await site.get_token(person, room_id=room))[0] == 403


async def test_a_bad_openid_token_is_401(site: Site) -> None:
    good = await site.alice.openid_token()
    for changes in (
        {"access_token": "invented"},
        {"matrix_server_name": site.far.server_name},  # alice's token, said to be of the far server
        {"matrix_server_name": "127.0.0.1:1/x"},
    ):
        status, answer = await site.sfu_get(site.alice, openid_token={**good, **changes})
        assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED"), changes


async def test_claiming_to_be_somebody_else_is_401(site: Site) -> None:
    member = {"id": "x", "claimed_user_id": site.alice.user_id, "claimed_device_id": "D"}
    status, answer = await site.get_token(site.carol, member=member)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_the_homeserver_refuses_who_is_not_signed_in(site: Site) -> None:
    stranger = dataclasses.replace(site.alice, access_token="invented")
    status, _ = await site.through_homeserver(stranger)
    assert status == 401


async def test_a_homeserver_that_is_down_is_a_clear_503(site: Site) -> None:
    body = {
        "room": site.room,
        "device_id": site.alice.device_id,
        "openid_token": await site.alice.openid_token(),
    }
    await site.near.stop()
    try:
        status, answer = await site.post(f"{site.page}/sfu/get", body)
    finally:
        await site.near.start()
    assert (status, answer["errcode"]) == (503, "M_UNKNOWN")
    assert "does not answer" in answer["error"]
    assert (await site.post(f"{site.page}/sfu/get", body))[0] == 200
