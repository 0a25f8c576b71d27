"""The public web application: token doors, discovery, webhook, join page, health, metrics."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from bridge.config import Settings, zone_of
from bridge.matrix.admission import Admission
from bridge.matrix.answers import matrix_error
from bridge.matrix.openid import OpenId
from bridge.media.keys import ApiKey
from bridge.store.inbox import Inbox
from bridge.web import caption_door, discovery
from bridge.web.api_meetings import MeetingsApi
from bridge.web.api_search import SearchApi
from bridge.web.archive import Archive
from bridge.web.caption_door import CaptionDoor
from bridge.web.challenges import Challenges
from bridge.web.discovery import Discovery
from bridge.web.doors import CORS, DOORS, TokenDoors
from bridge.web.feed import Feed
from bridge.web.health import Check, Health
from bridge.web.page import Page
from bridge.web.sessions import Sessions
from bridge.web.webhook import RoomNames, Webhook

log = logging.getLogger(__name__)


def web_app(
    settings: Settings,
    *,
    key: ApiKey,
    admission: Admission,
    openid: OpenId,
    rooms: RoomNames,
    inbox: Inbox,
    on_commit: Callable[[set[str]], None],
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
    feed: Feed,
    members: caption_door.Rooms,
    archive: Archive,
    challenges: Challenges,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """Everything of the port behind the reverse proxy.

    `on_commit` is told the rooms that got an inbox entry. Serve it without an access log: what may
    be logged of a request, the handlers log themselves.
    """
    webhook = Webhook(key, rooms, inbox, on_commit, registry=registry, clock=clock)
    app = web.Application(middlewares=[_errors])
    app.add_routes(TokenDoors(admission, openid, clock=clock).routes())
    app.add_routes(Discovery(settings, clock=clock).routes())
    app.add_routes([web.post("/media/webhook", webhook.handle)])
    app.add_routes(Health(checks, registry).routes())
    sessions = Sessions(openid, challenges, clock=clock)
    app.add_routes(sessions.routes())
    app.add_routes(CaptionDoor(feed, sessions, members).routes())
    app.on_shutdown.append(feed.ended)
    app.add_routes(MeetingsApi(archive, sessions).routes())
    app.add_routes(SearchApi(archive, sessions, zone_of(settings.conference.time_zone)).routes())
    app.add_routes(Page(settings).routes())  # last: it takes every path
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON; one that nobody expected gets a reference to find it in the log by."""
    try:
        response = await handler(request)
    except web.HTTPNotFound:
        response = matrix_error(404, "M_UNRECOGNIZED", "Unrecognized request")
    except web.HTTPMethodNotAllowed as error:
        # The page's catch-all knows GET only: for another method its paths do not exist.
        status = 405 if "POST" in error.allowed_methods else 404
        allowed = {"Allow": ", ".join(sorted(error.allowed_methods))} if status == 405 else {}
        response = matrix_error(status, "M_UNRECOGNIZED", "Unrecognized request", allowed)
    except web.HTTPException as error:
        response = matrix_error(error.status, "M_UNKNOWN", error.reason)
    except Exception:  # the top of this request's task
        reference = secrets.token_hex(4)
        log.exception("%s %s failed [%s]", request.method, request.path, reference)
        response = matrix_error(500, "M_UNKNOWN", f"Internal error, reference {reference}")
    # Without CORS a browser shows a page none of these answers. Not to find a door is one too: that
    # is how clients learn what this service has.
    if request.path in DOORS or (response.status == 404 and request.method == "POST"):
        response.headers.update(CORS)
    elif request.path in discovery.PATHS:
        response.headers.update(discovery.CORS)
    elif request.path in caption_door.OPEN_TO_PAGES:
        response.headers.update(caption_door.CORS)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
