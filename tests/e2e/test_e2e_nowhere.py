"""A redacted utterance is nowhere: two homeservers, one bridge, a member of each looks for it.

Message, edits, documents, export, search, store (the database's files, byte by byte). Media server
and scribe are stood in for; homeservers, appservice, sender and store are real.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge.config import Transcripts
from bridge.dev.certificates import ensure_authority
from bridge.domain import search
from bridge.ids import media_room
from bridge.matrix import wire
from bridge.matrix.attachments import Altered, unseal
from bridge.store.grants import Grant
from bridge.store.search import Filter, Scope
from bridge.upkeep.shredding import Shredding
from tests.support.rooms_bridge import Bridge, synapse_with_bot
from tests.support.synapse import Person, Synapse

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

SECRET = "quicksilver"
FORMS = len(Transcripts().documents)
Event = dict[str, Any]


@dataclass
class Place:
    """A call that is over in a room of two homeservers."""

    bridge: Bridge
    folder: Path
    alice: Person
    bob: Person
    room_id: str

    async def until(
        self, person: Person, holds: Callable[[list[Event]], object], timeout_s: float = 30
    ) -> list[Event]:
        """What somebody's homeserver shows of the room, once that is so."""
        end = time.monotonic() + timeout_s
        while not holds(events := await person.messages(self.room_id)):
            assert time.monotonic() < end, [e["content"].get("body") for e in events]
            await asyncio.sleep(0.2)
        return events

    async def say(self, conference: str, segment: str, text: str, rev: int = 0) -> None:
        number = int(segment.removeprefix("s"))
        frame = {
            "type": "segment",
            "key": f"{segment}:{rev}",
            "conference": conference,
            "room_id": self.room_id,
            "segment": segment,
            "rev": rev,
            "identity": f"{self.alice.user_id}:D",
            "text": text,
            "language": "en",
            "start_ms": number * 10_000,
            "end_ms": number * 10_000 + 900,
            "words": [[word, number * 10_000, number * 10_000 + 9] for word in text.split()],
        }
        await self.bridge.rooms.segments([frame])

    async def found(self) -> list[str]:
        scope, terms = Scope(rooms=[self.room_id]), search.read_query(SECRET, ["en"])
        while await self.bridge.stores.search.refresh():
            pass
        hits = await self.bridge.stores.search.find(terms, scope, Filter(), limit=10)
        return [hit.segment for hit in hits]


@pytest_asyncio.fixture(loop_scope="module")
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with synapse_with_bot(tmp_path) as (near, granted):
        far = await Synapse.create(tmp_path / "far", authority=ensure_authority(tmp_path))
        try:
            alice, bob = await near.register("alice"), await far.register("bob")
            bridge = Bridge(tmp_path, near, granted)
            async with bridge.alive():
                room_id = await alice.create_room(
                    "Budget", invite=[bridge.bot, bob.user_id], power={bridge.bot: 50}
                )
                await bob.join(room_id, [near.server_name])
                yield Place(bridge, tmp_path, alice, bob, room_id)
        finally:
            await far.stop()


async def a_call(place: Place) -> None:
    """One utterance with the word, corrected once, and one without."""
    bridge, alice, room_id = place.bridge, place.alice, place.room_id
    grant = Grant(
        media_room=media_room(room_id),
        identity=f"{alice.user_id}:D",
        room_id=room_id,
        user_id=alice.user_id,
        device_id="D",
        granted_ms=1,
    )
    await place.until(alice, lambda events: "Hello, I run" in str(events))
    wish = {"transcript": True, "language": "en", "active": True}
    await alice.set_state(room_id, wire.CONFERENCE, wish)
    await bridge.bell.until(lambda: bridge.scribe.sessions)
    (conference,) = bridge.scribe.sessions
    await bridge.stores.grants.put(grant)
    await place.say(conference, "s1", "good morning")
    await place.say(conference, "s2", f"the {SECRET} of the ministry")
    # The thread's root shows its newest message, too: the messages themselves are meant.
    events = await place.until(
        place.bob, lambda events: any(SECRET in str(e["content"]) for e in events)
    )
    said = next(e for e in events if SECRET in str(e["content"]))
    relation = {"m.relates_to": {"m.in_reply_to": {"event_id": said["event_id"]}}}
    await alice.say(room_id, f"!visio correct the {SECRET} of our ministry", **relation)
    await place.until(place.bob, lambda events: f"* alice : the {SECRET} of our" in str(events))
    await alice.say(room_id, "!visio stop")
    await bridge.bell.until(lambda: ("delete", media_room(room_id)) in bridge.media.calls)
    await bridge.rooms.session({"conference": conference, "state": "stopped"})
    await place.until(place.bob, lambda events: len(documents(events)) == FORMS)


def documents(events: list[Event]) -> list[Event]:
    return [e["content"] for e in events if wire.TRANSCRIPT in e["content"]]


def by_the_bot(events: list[Event], bot: str) -> str:
    """What the bot's messages say; what people typed themselves is theirs."""
    return str([event for event in events if event["sender"] == bot])


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_a_redacted_utterance_is_nowhere(place: Place) -> None:
    await a_call(place)
    bridge, bot = place.bridge, place.bridge.bot
    before = await place.bob.messages(place.room_id)
    papers = {paper["filename"]: paper["file"] for paper in documents(before)}
    text = await place.bob.attachment(papers["transcript.md"])
    assert SECRET in text.decode()
    assert await place.found() == ["s2"]
    assert in_files(place) > 0

    # Alice removes the message, as any client does; and what she typed herself.
    mine = [e["event_id"] for e in before if SECRET in str(e["content"])]
    said = next(e for e in before if e["content"].get(wire.UTTERANCE, {}).get("segment") == "s2")
    typed = next(e for e in before if e["sender"] == place.alice.user_id and e["event_id"] in mine)
    for target in (typed, said):
        path = f"/_matrix/client/v3/rooms/{place.room_id}/redact/{target['event_id']}"
        await place.alice.request("PUT", f"{path}/{target['event_id'][1:9]}", {})

    # Messages, edits and documents: at both homeservers.
    for person in (place.alice, place.bob):
        events = await place.until(person, lambda events: SECRET not in by_the_bot(events, bot))
        await place.until(person, lambda events: not _still(events, papers))
        assert SECRET not in str(events)
        for event_id in mine:
            path = f"/_matrix/client/v3/rooms/{place.room_id}/event/{event_id}"
            assert SECRET not in str(await person.request("GET", path))
    # The files: what the media stores keep has no key any more.
    for sealed in papers.values():
        data = await place.bob.download(sealed["url"])
        assert SECRET.encode() not in data
        with pytest.raises(Altered):
            unseal(data[:-1], sealed)
    # New documents, without it.
    events = await place.until(place.bob, lambda events: len(documents(events)) == FORMS, 60)
    for paper in documents(events):
        assert paper[wire.TRANSCRIPT]["rev"] == 2
        assert SECRET.encode() not in await place.bob.attachment(paper["file"])
    # Export and search.
    await place.alice.say(place.room_id, "!visio my-words export")
    events = await place.until(place.bob, lambda events: "words.json" in str(events))
    export = next(e for e in events if e["content"].get("filename") == "words.json")
    words = json.loads(await place.bob.attachment(export["content"]["file"]))
    assert [one["text"] for one in words["utterances"]] == ["good morning"]
    assert await place.found() == []
    # The store, to the last byte.
    await eventually(lambda: _sent(bridge))
    await Shredding(bridge.stores.db, bridge.stores.redactions).look()
    assert in_files(place) == 0
    log = await bridge.stores.redactions.of_room(place.room_id)
    assert [(one.kind, one.items, one.by_user) for one in log] == [
        ("utterance", ["s2"], place.alice.user_id)
    ]


def in_files(place: Place) -> int:
    """How often the word stands in the database's files, its write-ahead log among them."""
    files = list(place.folder.glob("rooms.db*"))
    return sum(file.read_bytes().count(SECRET.encode()) for file in files)


def _still(events: list[Event], papers: dict[str, Event]) -> list[str]:
    keys = [sealed["key"]["k"] for sealed in papers.values()]
    return [key for key in keys if key in str(events)]


async def _sent(bridge: Bridge) -> bool:
    return not await bridge.stores.outbox.waiting()
