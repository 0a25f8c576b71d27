"""The page of captions beside a room's call: its address, and the widget that shows it. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bridge.text import Language, say

WIDGET_ID = "eu.colloque.captions"
"""State key. One for the room, whichever site's bridge wrote it."""


def link(public_url: str, room_id: str) -> str:
    """Address of the room's captions, for people."""
    return f"{public_url.rstrip('/')}/captions#/room/{quote(room_id, safe='')}"


def widget(public_url: str, bot: str, language: Language) -> dict[str, Any]:
    """Content of the state event, as Element Web reads it: clients fill in what begins with `$`.

    All of it stands in the fragment, which no server on the way sees. Who reads is not in it: the
    page asks the client for a proof (MSC1960).
    """
    client = "theme=$org.matrix.msc2873.client_theme&lang=$org.matrix.msc2873.client_language"
    name = say("panel.name", language)
    return {
        "id": WIDGET_ID,
        "type": "m.custom",
        "name": name,
        "url": f"{public_url.rstrip('/')}/captions#/room/$matrix_room_id?{client}",
        "data": {"title": name},
        "creatorUserId": bot,
        "waitForIframeLoad": True,
    }
