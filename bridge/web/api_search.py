"""`/api/search`: what was said in all the meetings somebody may read (docs/api.md)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

from aiohttp import web

from bridge.domain.search import LONGEST_QUERY, Term, snippet
from bridge.domain.transcript import label
from bridge.matrix.admission import BadAsk
from bridge.matrix.answers import matrix_error
from bridge.store.database import DATABASE_ERRORS
from bridge.store.search import Filter, Hit
from bridge.web.archive import Archive
from bridge.web.sessions import Sessions

log = logging.getLogger(__name__)

_PAGE = 20
_DEEPEST = 1000


class SearchApi:
    """The handler. `zone`: where the days of `from` and `to` begin."""

    def __init__(self, archive: Archive, sessions: Sessions, zone: tzinfo) -> None:
        self._archive = archive
        self._sessions = sessions
        self._zone = zone

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD."""
        return [web.get("/api/search", self._sessions.guarded(self._search))]

    async def _search(self, request: web.Request, user_id: str) -> web.Response:
        query, offset = request.query.get("q", ""), _offset(request)
        if len(query) > LONGEST_QUERY:
            raise BadAsk(f"`q` is longer than {LONGEST_QUERY} characters", "M_INVALID_PARAM")
        only = self._filter(request)
        shelf = await self._archive.shelf(user_id, only.room)
        try:
            terms, hits = await self._archive.find(
                shelf, query, only, limit=_PAGE + 1, offset=offset
            )
        except DATABASE_ERRORS as error:
            log.warning("a search failed: %s", type(error).__name__)
            return matrix_error(503, "M_UNKNOWN", "The search took too long, or could not be made.")
        if not terms:
            raise BadAsk("`q` holds nothing to look for", "M_INVALID_PARAM")
        answer = {
            "results": [_result(hit, terms) for hit in hits[:_PAGE]],
            "next": offset + _PAGE if len(hits) > _PAGE else None,
            "complete": shelf.complete,
        }
        return web.json_response(answer)

    def _filter(self, request: web.Request) -> Filter:
        first, last = self._day(request, "from"), self._day(request, "to")
        return Filter(
            room=request.query.get("room", "")[:255],
            who=request.query.get("who", "")[:255],
            from_ms=0 if first is None else _ms(first),
            to_ms=2**62 if last is None else _ms(last + timedelta(days=1)),
        )

    def _day(self, request: web.Request, name: str) -> datetime | None:
        text = request.query.get(name, "")
        if not text:
            return None
        try:
            day = datetime.strptime(text, "%Y-%m-%d").date()
            begun = datetime.combine(day, time(), self._zone)
            _ms(begun + timedelta(days=1))
        except (ValueError, OverflowError) as error:
            raise BadAsk(f"`{name}` must be a day such as 2026-11-23", "M_INVALID_PARAM") from error
        return begun


def _offset(request: web.Request) -> int:
    text = request.query.get("offset", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > _DEEPEST:
        raise BadAsk(f"`offset` must be a number up to {_DEEPEST}", "M_INVALID_PARAM")
    return int(text)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _result(hit: Hit, terms: Sequence[Term]) -> dict[str, Any]:
    pieces = snippet(hit.text, hit.language, terms)
    name = hit.display_name or hit.speaker
    return {
        "conference": hit.conference,
        "segment": hit.segment,
        "room": {"id": hit.room_id, "name": hit.room_name},
        "title": hit.title,
        "meeting_started_ms": hit.started_ms,
        "speaker": hit.speaker,
        "name": label(name, hit.voice, hit.voice_name, hit.meeting_language),
        "said_ms": hit.said_ms or hit.started_ms + hit.start_ms,
        "language": hit.language,
        "snippet": [{"text": piece.text, "found": piece.found} for piece in pieces],
        "event_id": hit.event_id,
    }
