"""The composition root: which part is given which. No decision is made here.

homeserver -> appservice port --+
media      -> /media/webhook  --+-> inbox -> rooms -> outbox -> sender -> homeserver
scribe     -> link            --+              |
                                               +---> reconciler -> media server, scribe
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY

from bridge.config import Settings
from bridge.crypto import Crypto, open_crypto
from bridge.errors import ColloqueError
from bridge.matrix import appservice, registration, wire
from bridge.matrix.admission import Admission
from bridge.matrix.catchup import CatchUp
from bridge.matrix.client import Homeserver
from bridge.matrix.contact import keep_in_touch
from bridge.matrix.delayed import DelayedEvents
from bridge.matrix.guarded import Guarded
from bridge.matrix.openid import OpenId
from bridge.matrix.outbox import Sender
from bridge.matrix.own_membership import DEVICE_ID, OwnMembership
from bridge.matrix.readers import Readers
from bridge.matrix.registration import Registration
from bridge.matrix.rtc_proxy import rtc_routes
from bridge.media.keys import ApiKey, api_key
from bridge.media.programs import programs
from bridge.media.server import MediaServer
from bridge.media.supervisor import Supervisor
from bridge.media.tokens import call_token
from bridge.peers.way import TO_DEVICE
from bridge.rooms.conductor import Conductor
from bridge.rooms.entrance import Entrance
from bridge.rooms.house import House, Stores
from bridge.rooms.worker import Rooms
from bridge.scribe.link import ScribeLink
from bridge.store.conferences import Conferences
from bridge.store.database import open_database
from bridge.upkeep.aliases import AliasRooms
from bridge.upkeep.callout import CallOut
from bridge.upkeep.chat import Chat
from bridge.upkeep.errands import Errands
from bridge.upkeep.forgetting import Telling
from bridge.upkeep.hangup import HangUp
from bridge.upkeep.hearing import Hearing, ScribeAccess, encrypted_calls
from bridge.upkeep.indexing import Indexing
from bridge.upkeep.janitor import Janitor
from bridge.upkeep.leaves import Leaves
from bridge.upkeep.media_keys import MediaKeys
from bridge.upkeep.model import Model, open_model
from bridge.upkeep.moderation import Hands, OtherSites
from bridge.upkeep.own_key import OwnKey
from bridge.upkeep.reconcile import Reconciler
from bridge.upkeep.retention import Retention
from bridge.upkeep.shredding import Shredding
from bridge.upkeep.sites import Sites
from bridge.upkeep.summaries import Summaries
from bridge.web.app import web_app
from bridge.web.archive import Archive
from bridge.web.challenges import Challenges
from bridge.web.feed import Feed
from bridge.web.health import Check

log = logging.getLogger(__name__)

SCRIBE_NAME = "Transcription"
"""What people in a call see of who writes it down."""


async def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then end what this bridge started."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with bridge_of(settings) as bridge, AsyncExitStack() as stack:
        await stack.enter_async_context(serving(bridge.appservice, settings.appservice.listen))
        await stack.enter_async_context(serving(bridge.web, settings.web.listen))
        await _until(stop, bridge.work())
        # Not in a `finally`: a bridge that fails leaves the calls running for the next one.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, bridge.supervisor.hurry)
        await bridge.supervisor.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """All parts of one bridge, wired."""

    settings: Settings
    homeserver: Homeserver
    sender: Sender
    crypto: Crypto | None
    catch_up: CatchUp
    conferences: Conferences
    rooms: Rooms
    reconciler: Reconciler
    errands: Errands
    summaries: Summaries
    sites: Sites
    leaves: Leaves
    shredding: Shredding
    retention: Retention
    janitor: Janitor
    indexing: Indexing
    alias_rooms: AliasRooms
    own_membership: OwnMembership
    own_key: OwnKey | None
    link: ScribeLink
    feed: Feed
    supervisor: Supervisor
    appservice: web.Application
    web: web.Application

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the bridge does."""
        encrypted = [self.crypto.run()] if self.crypto else []
        encrypted += [self.own_key.run()] if self.own_key else []
        return [
            *encrypted,
            self.supervisor.run(),
            self.rooms.run(),
            self.sender.run(),
            self.reconciler.run(),
            self.errands.run(),
            self.summaries.run(),
            self.sites.run(),
            self.leaves.run(),
            self.shredding.run(),
            self.retention.run(),
            self.janitor.run(),
            self.indexing.run(),
            self.alias_rooms.run(),
            self.own_membership.run(),
            self.link.run(),
            self.feed.run(),
            keep_in_touch(
                self.homeserver, self.sender, self.catch_up, self.conferences, self.crypto
            ),
        ]


@asynccontextmanager
async def bridge_of(settings: Settings) -> AsyncIterator[Bridge]:
    """Build every part over an open database; close what has to be closed."""
    granted = registration.read(settings.path(settings.appservice.registration))
    key = api_key(settings)
    async with AsyncExitStack() as stack:
        db = await open_database(settings)
        stack.push_async_callback(db.stop)
        homeserver = Homeserver(
            settings.homeserver.address, settings.homeserver.server_name, granted
        )
        stack.push_async_callback(homeserver.close)
        media = MediaServer(settings.media.api_url, key)
        stack.push_async_callback(media.close)
        openid = OpenId(settings)
        stack.push_async_callback(openid.close)
        guarded = Guarded(settings.federation)
        stack.push_async_callback(guarded.close)
        stores = Stores.over(db)
        crypto = await open_crypto(settings, granted, db, homeserver)
        delayed = DelayedEvents(homeserver, guarded, client_apis=settings.federation.client_apis)
        leaves = Leaves(stores.leaves, media, delayed)
        model = open_model(settings)
        if model:
            stack.push_async_callback(model.close)
        yield _wired(
            settings, granted, key, stores, homeserver, media, openid, leaves, crypto, model
        )


def _wired(
    settings: Settings,
    granted: Registration,
    key: ApiKey,
    stores: Stores,
    homeserver: Homeserver,
    media: MediaServer,
    openid: OpenId,
    leaves: Leaves,
    crypto: Crypto | None,
    model: Model | None,
) -> Bridge:
    house = House.of(
        settings, granted.bot(settings.homeserver.server_name), encryption=crypto is not None
    )
    sender = Sender(stores.db, homeserver, encryption=crypto)

    def handled(room_ids: Iterable[str]) -> None:
        for room_id in room_ids:
            sender.wake(room_id)
            reconciler.wake([room_id])
            errands.wake([room_id])
            sites.wake([room_id])
            feed.wake([room_id])

    conductor = Conductor(house, stores, homeserver, crypto=crypto)
    rooms = Rooms(stores, conductor, on_handled=handled, registry=REGISTRY)
    if crypto:
        crypto.on_unlocked = rooms.wake
    link = ScribeLink(
        settings.path(settings.scribe.socket),
        rooms.segments,
        rooms.session,
        lambda caption: feed.take(caption),
    )
    feed = Feed(
        stores,
        homeserver,
        service_url=house.service_url,
        sessions=lambda: link.sessions,
        wake=lambda room_ids: reconciler.wake(room_ids),
        shows=lambda conference: house.shows_captions(encrypted=conference.encrypted),
    )
    device_id = crypto.device_id if crypto else DEVICE_ID
    own = OwnMembership(homeserver, house.service_url, device_id=device_id)
    keys = MediaKeys(
        encrypted_calls(stores.conferences),
        stores.grants.of_user,
        lambda room_ids: reconciler.wake(room_ids),
    )
    own_key = OwnKey(crypto, own.identity) if crypto else None
    if crypto:
        crypto.on_to_device(wire.MEDIA_KEYS, keys.received)
    hearing = Hearing(
        house.bot,
        link,
        _scribe_access(settings, key),
        take=rooms.take,
        members=homeserver,
        place=own,
        keys=keys,
        own_key=own_key,
        watched=feed.watched,
    )
    reconciler = Reconciler(house, stores, media, hearing, take=rooms.take, members=homeserver)
    callout = CallOut(house, stores, own)
    hangup = HangUp(house, stores, homeserver)
    hands = Hands(stores, media)
    sites = Sites.of(
        house,
        stores,
        homeserver,
        take=rooms.take,
        hands=hands,
        device_id=device_id,
    )
    summaries = Summaries(house, stores, model)
    errands = Errands(
        stores,
        hands,
        OtherSites(stores, sites.links),
        homeserver,
        callout=callout,
        hangup=hangup,
        chat=Chat(house, stores.errands, homeserver, crypto=crypto),
        summaries=summaries,
        telling=Telling(stores.errands, sites.links),
        take=rooms.take,
    )
    admission = Admission(
        settings,
        key,
        homeserver=homeserver,
        grants=stores.grants,
        media=media,
        entrance=Entrance(house, stores, homeserver, take=rooms.take),
        leaves=leaves,
        registry=REGISTRY,
        # Who opted out is known to the scribe by this identity before they can speak.
        on_grant=lambda room_id: reconciler.wake([room_id]),
    )
    supervisor = Supervisor(
        programs(settings, key), settings.path(settings.data_dir), registry=REGISTRY
    )
    alias_rooms = AliasRooms(
        house, stores.alias_rooms, homeserver, access=settings.conference.alias_rooms
    )
    archive = Archive(
        house,
        stores,
        Readers(homeserver, settings.transcripts.readers),
        encrypted=settings.transcripts.encrypted_rooms_in_page,
    )
    challenges = Challenges.of(settings, house.bot, device_id)
    checks: Mapping[str, Check] = {
        "homeserver": homeserver.reachable,
        "media": media.reachable,
        "scribe": _answer(link),
    }
    return Bridge(
        settings=settings,
        homeserver=homeserver,
        sender=sender,
        crypto=crypto,
        catch_up=CatchUp(stores.db, homeserver, rooms.wake),
        conferences=stores.conferences,
        rooms=rooms,
        reconciler=reconciler,
        errands=errands,
        summaries=summaries,
        sites=sites,
        leaves=leaves,
        shredding=Shredding(stores.db, stores.redactions),
        retention=Retention(house, stores, take=rooms.take),
        alias_rooms=alias_rooms,
        janitor=Janitor(house, stores, media, take=rooms.take),
        indexing=Indexing(stores.search),
        own_membership=own,
        own_key=own_key,
        link=link,
        feed=feed,
        supervisor=supervisor,
        appservice=_appservice(
            settings, granted, stores, rooms, admission, sites, challenges, alias_rooms, crypto
        ),
        web=_web(
            settings,
            key,
            stores,
            rooms,
            admission,
            openid,
            feed,
            homeserver,
            archive,
            challenges,
            checks,
        ),
    )


def _appservice(
    settings: Settings,
    granted: Registration,
    stores: Stores,
    rooms: Rooms,
    admission: Admission,
    sites: Sites,
    challenges: Challenges,
    alias_rooms: AliasRooms,
    crypto: Crypto | None,
) -> web.Application:
    """What the homeserver's port answers."""
    app = appservice.routes(
        stores.inbox,
        granted,
        rooms.wake,
        server_name=settings.homeserver.server_name,
        on_to_device=_to_device(sites, challenges),
        take=crypto.take if crypto else None,
        make_room=alias_rooms.make,
    )
    app.add_routes(sites.routes())
    app.add_routes(rtc_routes(settings, granted.hs_token, admission))
    return app


def _web(
    settings: Settings,
    key: ApiKey,
    stores: Stores,
    rooms: Rooms,
    admission: Admission,
    openid: OpenId,
    feed: Feed,
    homeserver: Homeserver,
    archive: Archive,
    challenges: Challenges,
    checks: Mapping[str, Check],
) -> web.Application:
    """What people's port answers."""
    return web_app(
        settings,
        key=key,
        admission=admission,
        openid=openid,
        rooms=stores.grants,
        inbox=stores.inbox,
        on_commit=rooms.wake,
        feed=feed,
        members=homeserver,
        archive=archive,
        challenges=challenges,
        checks=checks,
        registry=REGISTRY,
    )


def _to_device(sites: Sites, challenges: Challenges) -> Callable[[dict[str, Any]], None]:
    """To-device messages in clear; those encrypted for the bot are `Crypto`'s."""

    def take(message: dict[str, Any]) -> None:
        if message.get("type") == TO_DEVICE:
            sites.to_device.take(message)
        elif message.get("type") == wire.SESSION:
            challenges.take(message)

    return take


def _answer(link: ScribeLink) -> Check:
    async def connected() -> bool:
        return link.connected

    return connected


def _scribe_access(settings: Settings, key: ApiKey) -> ScribeAccess:
    """A scribe reaches the media server where the bridge does, not through the proxy of people."""

    def token(room: str, identity: str) -> str:
        return call_token(
            key,
            identity=identity,
            room=room,
            now=int(time.time()),
            ttl_s=settings.media.token_ttl_s,
            name=SCRIBE_NAME,
            can_publish=False,  # it publishes no track; captions are data
            agent=True,
        )

    return ScribeAccess(url=settings.media.api_url.replace("http", "ws", 1), token=token)


@asynccontextmanager
async def serving(app: web.Application, listen: str) -> AsyncIterator[None]:
    """Serve an application at `host:port`. Raises OSError where that is taken."""
    host, _, port = listen.rpartition(":")
    # No access log: URLs of this service can hold tokens.
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        yield
    finally:
        await runner.cleanup()


async def _until(stop: asyncio.Event, work: list[Coroutine[Any, Any, None]]) -> None:
    """Run everything until `stop`, or until a part fails: then that is the bridge's failure."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in work]
            await stop.wait()
            for task in running:
                task.cancel()
    except* ColloqueError as errors:
        raise errors.exceptions[0] from None
