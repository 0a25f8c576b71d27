"""`/api/meetings`: the meetings somebody may read, one of them, and its documents (docs/api.md)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web

from bridge.domain.documents import FORMS, Record
from bridge.domain.documents.presence import Person, people
from bridge.domain.transcript import Spoken, Turn, label, turns
from bridge.matrix.admission import BadAsk
from bridge.web.archive import Archive, Opened
from bridge.web.sessions import NotThere, Sessions

_PAGE = 30
_CURSOR = re.compile(r"(\d{1,15})\.([^\s]{1,255})")
_DOCUMENT = {
    # A document is to be kept or opened elsewhere: never shown as a page of this origin.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class MeetingsApi:
    """Handlers. Every request asks anew who may read."""

    def __init__(self, archive: Archive, sessions: Sessions) -> None:
        self._archive = archive
        self._guarded = sessions.guarded

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD."""
        return [
            web.get("/api/meetings", self._guarded(self._list)),
            web.get("/api/meetings/{conference}", self._guarded(self._one)),
            web.get("/api/meetings/{conference}/document.{form}", self._guarded(self._document)),
        ]

    async def _list(self, request: web.Request, user_id: str) -> web.Response:
        room_id = request.query.get("room", "")
        shelf = await self._archive.shelf(user_id, room_id)
        opened = await self._archive.page(shelf, _before(request), _PAGE + 1)
        page = opened[:_PAGE]
        last = page[-1].meeting if len(opened) > _PAGE else None
        answer = {
            "meetings": [_entry(one) for one in page],
            "next": f"{last.started_ms}.{last.conference}" if last else None,
            "complete": shelf.complete,
        }
        return web.json_response(answer)

    async def _one(self, request: web.Request, user_id: str) -> web.Response:
        opened = await self._opened(request, user_id)
        if opened.withheld:
            return web.json_response(_entry(opened))
        recorded = await self._archive.record(opened)
        messages = await self._archive.messages(opened)
        answer = web.json_response({**_entry(opened), **_contents(recorded, opened, messages)})
        answer.enable_compression()
        return answer

    async def _document(self, request: web.Request, user_id: str) -> web.Response:
        form = FORMS.get(request.match_info["form"])
        opened = await self._opened(request, user_id)
        if form is None:
            raise NotThere("no such form")
        recorded = await self._archive.record(opened)
        # Packing an office document of a long meeting takes a while: not while others wait.
        language = opened.conference.language
        body = await asyncio.to_thread(form.write, recorded, language)
        if not body:
            raise NotThere("nothing to write")
        name = f"{recorded.local(recorded.started_ms):%Y-%m-%d}-{form.file_name}"
        headers = {**_DOCUMENT, "Content-Disposition": f'attachment; filename="{name}"'}
        charset = "utf-8" if form.media_type.startswith("text/") else None
        return web.Response(
            body=body, content_type=form.media_type, charset=charset, headers=headers
        )

    async def _opened(self, request: web.Request, user_id: str) -> Opened:
        return await self._archive.open(user_id, request.match_info["conference"])


def _before(request: web.Request) -> tuple[int, str]:
    text = request.query.get("before", "")
    if not text:
        return 2**62, ""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise BadAsk("`before` must be the `next` of an earlier answer", "M_INVALID_PARAM")
    return int(found[1]), found[2]


def _entry(opened: Opened) -> dict[str, Any]:
    """What a list says of a meeting: nothing that was said, and of a withheld one not who spoke."""
    meeting = opened.meeting
    entry: dict[str, Any] = {
        "conference": meeting.conference,
        "room": {"id": meeting.room_id, "name": meeting.room_name},
        "title": meeting.title,
        "started_ms": meeting.started_ms,
        "ended_ms": meeting.ended_ms,
        "language": meeting.language,
        "encrypted": meeting.encrypted,
        "withheld": opened.withheld,
        "event_id": meeting.root,
    }
    if not opened.withheld:
        entry["people"] = len(opened.conference.people)
    return entry


def _contents(recorded: Record, opened: Opened, messages: dict[str, str]) -> dict[str, Any]:
    language = opened.conference.language
    spoken = [utterance for turn in turns(recorded.utterances) for utterance in turn.utterances]
    return {
        "started_ms": recorded.started_ms,
        "ended_ms": recorded.ended_ms,
        "missing": list(recorded.missing),
        "engines": sorted({utterance.engine for utterance in spoken if utterance.engine}),
        "forms": [{"form": form.name, "file_name": form.file_name} for form in FORMS.values()],
        "people": [_person(recorded, person, language) for person in people(recorded)],
        "turns": [_turn(recorded, turn, messages, language) for turn in turns(recorded.utterances)],
    }


def _person(recorded: Record, person: Person, language: str) -> dict[str, Any]:
    who = person.who
    return {
        "user_id": who.user_id,
        "name": who.name,
        "server": who.server,
        "stays": [list(stay) for stay in person.stays],
        "present_ms": person.present_ms,
        "spoken_ms": person.spoken_ms,
        "voices": [
            {"name": _voice(recorded, who.user_id, who.name, voice, language), "spoken_ms": spoken}
            for voice, spoken in person.voices
        ],
    }


def _voice(recorded: Record, user_id: str, name: str, voice: str, language: str) -> str:
    return label(name, voice, recorded.voices.get((user_id, voice), ""), language)


def _turn(recorded: Record, turn: Turn, messages: dict[str, str], language: str) -> dict[str, Any]:
    return {
        "speaker": turn.speaker,
        "name": recorded.label(turn, "en" if language == "en" else "fr"),
        "start_ms": turn.start_ms,
        "end_ms": turn.end_ms,
        "overlaps": turn.overlaps,
        "utterances": [_utterance(said, messages) for said in turn.utterances],
    }


def _utterance(said: Spoken, messages: dict[str, str]) -> dict[str, Any]:
    return {
        "segment": said.segment,
        "text": said.text,
        "language": said.language,
        "start_ms": said.start_ms,
        "end_ms": said.end_ms,
        "editor": said.editor,
        "event_id": messages.get(said.segment),
    }
