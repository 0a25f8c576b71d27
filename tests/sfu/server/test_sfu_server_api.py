"""RoomService driven by `livekit-api`, webhooks verified by it, real clients in the room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from livekit import api, rtc
from livekit.protocol import models
from livekit.protocol.webhook import WebhookEvent

from tests.sfu.server.server_process import KEY, SECRET, Sfu, connected, free_port, running, token

pytestmark = pytest.mark.livekit
LIMIT_S = 20.0


@pytest.fixture
async def server(sfu: Sfu) -> AsyncIterator[api.RoomService]:
    client = sfu.api()
    yield client.room
    await client.aclose()  # type: ignore[no-untyped-call]


async def until(condition: object) -> None:
    """Wait until a callable (of clients' local state) is true."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.02)


async def publish(client: rtc.Room) -> str:
    track = rtc.LocalAudioTrack.create_audio_track("mic", rtc.AudioSource(48000, 1))
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    return (await client.local_participant.publish_track(track, options)).sid


async def test_rooms_are_made_listed_changed_and_deleted(
    server: api.RoomService, sfu: Sfu, room: str
) -> None:
    made = await server.create_room(
        api.CreateRoomRequest(name=room, metadata="first", max_participants=1, empty_timeout=60)
    )
    assert made.sid.startswith("RM_")
    assert (made.metadata, made.max_participants, made.empty_timeout) == ("first", 1, 60)
    listed = await server.list_rooms(api.ListRoomsRequest(names=[room]))
    assert [r.sid for r in listed.rooms] == [made.sid]
    alice = await connected(sfu, "alice", room)
    with pytest.raises(rtc.ConnectError):
        await connected(sfu, "bob", room)
    changed = await server.update_room_metadata(
        api.UpdateRoomMetadataRequest(room=room, metadata="second")
    )
    assert changed.metadata == "second"
    await until(lambda: alice.metadata == "second")
    await server.delete_room(api.DeleteRoomRequest(room=room))
    await until(lambda: not alice.isconnected())
    listed = await server.list_rooms(api.ListRoomsRequest(names=[room]))
    assert not listed.rooms


async def test_participants_are_listed_changed_muted_and_removed(
    server: api.RoomService, sfu: Sfu, room: str
) -> None:
    alice = await connected(sfu, "alice", room)
    bob = await connected(sfu, "bob", room)
    sid = await publish(alice)
    await until(lambda: bob.remote_participants["alice"].track_publications)
    listed = await server.list_participants(api.ListParticipantsRequest(room=room))
    assert {p.identity for p in listed.participants} == {"alice", "bob"}
    who = api.RoomParticipantIdentity(room=room, identity="alice")
    info = await server.get_participant(who)
    assert info.state == models.ParticipantInfo.State.ACTIVE
    assert [t.sid for t in info.tracks] == [sid]

    muted = await server.mute_published_track(
        api.MuteRoomTrackRequest(room=room, identity="alice", track_sid=sid, muted=True)
    )
    assert muted.track.muted
    await until(lambda: alice.local_participant.track_publications[sid].muted)

    updated = await server.update_participant(
        api.UpdateParticipantRequest(
            room=room, identity="alice", name="Alice B.", attributes={"role": "minister"}
        )
    )
    assert updated.name == "Alice B."
    seen = bob.remote_participants["alice"]
    await until(lambda: seen.name == "Alice B." and seen.attributes == {"role": "minister"})

    got: asyncio.Queue[rtc.DataPacket] = asyncio.Queue()
    bob.on("data_received", got.put_nowait)
    for kind in (models.DataPacket.Kind.RELIABLE, models.DataPacket.Kind.LOSSY):
        await server.send_data(
            api.SendDataRequest(
                room=room, data=b"notice", kind=kind, topic="t", destination_identities=["bob"]
            )
        )
        async with asyncio.timeout(LIMIT_S):
            packet = await got.get()
        assert (packet.data, packet.topic, packet.participant) == (b"notice", "t", None)

    await server.remove_participant(who)
    await until(lambda: not alice.isconnected())
    await until(lambda: "alice" not in bob.remote_participants)
    await bob.disconnect()


async def test_the_server_subscribes_somebody(server: api.RoomService, sfu: Sfu, room: str) -> None:
    alice, bob = await connected(sfu, "alice", room), rtc.Room()
    await bob.connect(sfu.ws, token("bob", room), rtc.RoomOptions(auto_subscribe=False))
    sid = await publish(alice)
    seen = bob.remote_participants["alice"].track_publications
    await until(lambda: sid in seen)
    assert seen[sid].track is None
    await server.update_subscriptions(
        api.UpdateSubscriptionsRequest(room=room, identity="bob", track_sids=[sid], subscribe=True)
    )
    await until(lambda: seen[sid].track is not None)
    await alice.disconnect()
    await bob.disconnect()


async def test_who_was_removed_does_not_come_back_with_the_old_token(
    server: api.RoomService, sfu: Sfu, room: str
) -> None:
    old = token("alice", room)
    alice, bob = rtc.Room(), await connected(sfu, "bob", room)
    await alice.connect(sfu.ws, old)
    await server.remove_participant(api.RoomParticipantIdentity(room=room, identity="alice"))
    await until(lambda: not alice.isconnected())
    with pytest.raises(rtc.ConnectError):
        await rtc.Room().connect(sfu.ws, old)
    started = int(time.time())
    await until(lambda: int(time.time()) > started)
    again = await connected(sfu, "alice", room)
    await again.disconnect()
    await bob.disconnect()


async def test_rights_withdrawn_by_the_server_take_the_track_away(
    server: api.RoomService, sfu: Sfu, room: str
) -> None:
    alice, bob = await connected(sfu, "alice", room), await connected(sfu, "bob", room)
    await publish(alice)
    await until(lambda: bob.remote_participants["alice"].track_publications)
    await server.update_participant(
        api.UpdateParticipantRequest(
            room=room,
            identity="alice",
            permission=models.ParticipantPermission(can_subscribe=True, can_publish=False),
        )
    )
    await until(lambda: not bob.remote_participants["alice"].track_publications)
    await alice.disconnect()
    await bob.disconnect()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("get_participant", "not_found"),
        ("remove_participant", "not_found"),
    ],
)
async def test_what_is_not_there(server: api.RoomService, room: str, call: str, code: str) -> None:
    with pytest.raises(api.TwirpError) as failure:
        await getattr(server, call)(api.RoomParticipantIdentity(room=room, identity="nobody"))
    assert failure.value.code == code


def admin(**grants: object) -> str:
    return api.AccessToken(KEY, SECRET).with_grants(api.VideoGrants(**grants)).to_jwt()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "authorization", "body", "status", "code"),
    [
        ("ListRooms", "", "{}", 401, "unauthenticated"),
        ("ListRooms", "Basic abc", "{}", 401, "unauthenticated"),
        ("ListRooms", f"Bearer {admin(room_admin=True, room='r')}", "{}", 403, "permission_denied"),
        (
            "ListParticipants",
            f"Bearer {admin(room_admin=True, room='r')}",
            '{"room": "other"}',
            403,
            "permission_denied",
        ),
        ("ListRooms", f"Bearer {admin(room_list=True)}", "{", 400, "malformed"),
        ("NoSuchThing", f"Bearer {admin(room_list=True)}", "{}", 404, "bad_route"),
        ("CreateRoom", f"Bearer {admin(room_create=True)}", "{}", 400, "invalid_argument"),
        ("DeleteRoom", f"Bearer {admin(room_create=True)}", '{"room": "x"}', 404, "not_found"),
        (
            "UpdateRoomMetadata",
            f"Bearer {admin(room_admin=True, room='absent')}",
            '{"room": "absent"}',
            404,
            "not_found",
        ),
    ],
)
async def test_refusals_are_twirp_errors(
    sfu: Sfu, method: str, authorization: str, body: str, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    url = f"{sfu.http}/twirp/livekit.RoomService/{method}"
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=body, headers=headers) as got,
    ):
        assert got.status == status
        assert (await got.json())["code"] == code


async def test_json_is_answered_with_json(sfu: Sfu, room: str) -> None:
    headers = {"Content-Type": "application/json"}
    headers["Authorization"] = f"Bearer {admin(room_create=True, room_admin=True, room=room)}"
    url = f"{sfu.http}/twirp/livekit.RoomService"
    async with aiohttp.ClientSession(headers=headers) as client:
        async with client.post(f"{url}/CreateRoom", json={"name": room}) as got:
            assert (await got.json())["name"] == room
        data = {"room": room, "data": "A" * 40_000}
        async with client.post(f"{url}/SendData", json=data) as got:
            assert got.status == 412


class Inbox:
    """Takes webhooks; refuses the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        self.events: asyncio.Queue[WebhookEvent] = asyncio.Queue()
        self.failures = failures
        self._receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/webhook+json"
        if self.failures > 0:
            self.failures -= 1
            return web.Response(status=503)
        body = await request.text()
        self.events.put_nowait(self._receiver.receive(body, request.headers["Authorization"]))
        return web.Response()

    async def names(self, count: int) -> list[str]:
        async with asyncio.timeout(LIMIT_S):
            return [(await self.events.get()).event for _ in range(count)]


async def test_webhooks_tell_the_story_in_order_and_again_if_refused(room: str) -> None:
    inbox = Inbox(failures=2)
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with running("--webhook", f"http://127.0.0.1:{port}/hook") as sfu:
        alice = await connected(sfu, "alice", room)
        sid = await publish(alice)
        assert await inbox.names(2) == ["room_started", "participant_joined"]
        async with asyncio.timeout(LIMIT_S):
            published = await inbox.events.get()
        assert (published.event, published.track.sid) == ("track_published", sid)
        assert (published.room.name, published.participant.identity) == (room, "alice")
        assert published.id
        await alice.local_participant.unpublish_track(sid)
        await alice.disconnect()
        assert await inbox.names(2) == ["track_unpublished", "participant_left"]
        client = sfu.api()
        await client.room.delete_room(api.DeleteRoomRequest(room=room))
        await client.aclose()  # type: ignore[no-untyped-call]
        assert await inbox.names(1) == ["room_finished"]
    await runner.cleanup()
