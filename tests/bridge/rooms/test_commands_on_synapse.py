"""Every command in French and in English, in one real room after the other on a real Synapse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import Refused
from bridge.ids import media_room
from bridge.matrix import commands, wire
from bridge.matrix.registration import Registration
from bridge.media.server import MediaTrack
from bridge.rooms import news
from bridge.store.grants import Grant
from tests.support.rooms_bridge import Bridge
from tests.support.synapse import Person, Synapse

pytestmark = pytest.mark.homeserver
MICROPHONE = (MediaTrack("TR", "audio", "MICROPHONE", False),)


class Chat:
    """Somebody types, and reads what the bot answers to just that message."""

    def __init__(self, bridge: Bridge, person: Person, room_id: str, language: str) -> None:
        self.bridge = bridge
        self.person = person
        self.room_id = room_id
        self.language = language
        self.typed: set[str] = set()

    async def ask(self, words: str, answer: str) -> None:
        """Type a command; `answer` is the beginning of what comes back."""
        command = commands.parse(f"!visio {words}", "!visio")
        assert command is not None
        assert command.language in {self.language, None}
        self.typed.add(command.verb)
        event_id = await self.person.say(self.room_id, f"!visio {words}")
        said = await self.person.wait_for(self.room_id, lambda e: _answers(e, event_id), timeout=30)
        assert said["content"]["body"].startswith(answer), said["content"]["body"]

    async def see(self, words: str) -> None:
        """Wait for the bot to say this, in a message or an edit."""
        self.typed.update({"start"} if "📞" in words else ())
        await self.person.wait_for(
            self.room_id, lambda e: words in str(e["content"].get("body")), timeout=30
        )

    async def type(self, words: str) -> None:
        """Type a command that is answered by what happens."""
        command = commands.parse(f"!visio {words}", "!visio")
        assert command is not None
        self.typed.add(command.verb)
        await self.person.say(self.room_id, f"!visio {words}")

    async def wish(self, field: str, value: object) -> None:
        """Wait for the room's wish to hold this."""
        await self.person.wait_for(
            self.room_id,
            lambda e: e["type"] == wire.CONFERENCE and e["content"].get(field) == value,
            timeout=30,
        )

    async def joins(self, person: Person) -> None:
        """Somebody comes into the media with a grant and an open microphone."""
        identity, sid = f"{person.user_id}:D", f"PA-{person.user_id}-{self.room_id}"
        await self.bridge.stores.grants.put(
            Grant(
                media_room=media_room(self.room_id),
                identity=identity,
                room_id=self.room_id,
                user_id=person.user_id,
                device_id="D",
                granted_ms=2**52,
            )
        )
        name = media_room(self.room_id)
        self.bridge.media.enter(identity, sid, 2**52, name, MICROPHONE)
        entry = news.seen_joined(self.room_id, identity=identity, sid=sid, joined_ms=2**52)
        await self.bridge.rooms.take([entry])


def _answers(event: dict[str, Any], event_id: str) -> bool:
    relation = event["content"].get("m.relates_to", {})
    return bool(relation.get("m.in_reply_to", {}).get("event_id") == event_id)


async def walk_english(chat: Chat, bob: Person, carol: Person) -> None:
    await chat.ask("help", "What you can type:")
    await chat.ask("status", "No call in progress.")
    await chat.ask("who", "Nobody is present.")
    await chat.ask("language en", "From now on I write English")
    await chat.ask("language spoken en-GB", "I now listen for the language en-GB.")
    await chat.ask("transcribe-me no", "From now on nothing that alice says in this room")
    await chat.ask("transcribe-me yes", "What alice says may be written down")
    await chat.ask("captions on", "The captions are on")
    await chat.ask("transcript on", "The transcript is on")
    await chat.ask("publish everyone", "Everyone may speak")
    await chat.ask("max 20", "At most 20 people at once")
    await chat.wish("max_participants", 20)
    await chat.ask("summary on", "No model is configured here")
    await chat.ask("export pdf", "I do not know “pdf”.")
    await chat.ask("correct something", "To correct what was written down")
    await chat.ask("delete", "To delete what was written down")
    await chat.ask("voice", "Reply to something the voice said")
    await chat.ask("room-mic", "No microphone is marked as shared.")
    await chat.ask("my-words export", "I have nothing written down of you")
    await chat.ask("panel", "Captions beside the call")
    await chat.ask("transcribe-me yes", "")
    await chat.ask("mute Bob", "No call is in progress.")
    await chat.type("start")
    await chat.see("📞 Video conference in progress")
    await chat.ask("start", "A call is in progress already")
    await chat.joins(bob)
    await chat.see("Present: bob")
    await chat.ask("who", "Present (1 person): bob")
    await chat.ask("ring", "There is nobody to ring")
    await chat.ask("mute bob", "bob’s microphone is off.")
    await chat.ask("lock", "The call is locked")
    await chat.wish("locked", True)
    await chat.ask("unlock", "The call is open again")
    await chat.ask("lobby on", "The lobby is on")
    await chat.ask(f"invite {carol.user_id}", f"I have invited {carol.user_id}")
    await carol.join(chat.room_id)
    await knock(chat, carol)
    await chat.see("is waiting to come into the call")
    await chat.ask("admit", "carol may come into the call now.")
    await chat.ask(f"remove {bob.user_id}", "bob is out of this call")
    await chat.ask("statsu", "I do not know the command “statsu”; did you mean !visio stat")
    await chat.type("end")
    await chat.see("Video conference ended")


async def walk_french(chat: Chat, bob: Person, carol: Person) -> None:
    await chat.ask("aide", "Ce que vous pouvez taper :")
    await chat.ask("état", "Aucun appel en cours.")
    await chat.ask("qui", "Personne n’est en ligne.")
    await chat.ask("langue français", "J’écris désormais en français")
    await chat.ask("langue parlée fr", "J’écoute maintenant la langue fr.")
    await chat.ask("me transcrire non", "Désormais, rien de ce que dit alice dans ce salon")
    await chat.ask("me transcrire oui", "Ce que dit alice peut de nouveau")
    await chat.ask("sous-titres oui", "Les sous-titres sont activés")
    await chat.ask("transcription on", "La transcription est activée")
    await chat.ask("parole tous", "Tous peuvent parler")
    await chat.ask("maximum 20", "Au plus 20 personnes")
    await chat.ask("résumé", "Il n’y a pas encore d’appel transcrit")
    await chat.ask("exporter pdf", "Je ne connais pas « pdf ».")
    await chat.ask("corriger quelque chose", "Pour corriger ce qui a été transcrit")
    await chat.ask("supprimer", "Pour supprimer ce qui a été transcrit")
    await chat.ask("voix", "Répondez à une phrase de cette voix")
    await chat.ask("micro partagé", "Aucun micro n’est signalé comme partagé.")
    await chat.ask("mes-paroles export", "Je n’ai rien transcrit de vous")
    await chat.ask("panneau", "Les sous-titres à côté de l’appel")
    await chat.ask("me transcrire oui", "")
    await chat.ask("couper le micro Bob", "Aucun appel n’est en cours.")
    await chat.type("démarrer")
    await chat.see("📞 Visioconférence en cours")
    await chat.ask("lancer", "Un appel est déjà en cours")
    await chat.joins(bob)
    await chat.see("En ligne : bob")
    await chat.ask("sonner", "Il n’y a personne à appeler")
    await chat.ask("couper le micro de bob", "Le micro de bob est coupé.")
    await chat.ask("verrouiller", "L’appel est verrouillé")
    await chat.wish("locked", True)
    await chat.ask("déverrouiller", "L’appel est de nouveau ouvert")
    await chat.ask("salle d’attente on", "La salle d’attente est activée")
    await chat.ask(f"inviter {carol.user_id}", f"J’ai invité {carol.user_id}")
    await carol.join(chat.room_id)
    await knock(chat, carol)
    await chat.see("attend")
    await chat.ask("admettre carol", "carol peut maintenant entrer")
    await chat.ask(f"retirer {bob.user_id}", "bob est hors de cet appel")
    await chat.ask("verouiler", "Je ne connais pas la commande « verouiler » ; vouliez-vous")
    await chat.type("terminer")
    await chat.see("Visioconférence terminée")


async def knock(chat: Chat, person: Person) -> None:
    with pytest.raises(Refused) as refused:
        await chat.bridge.entrance.allow(chat.room_id, person.user_id)
    assert refused.value.key == "waiting"


async def test_every_command_in_both_languages(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice, bob, carol = await asyncio.gather(
        *(server.ensure_person(name, f"a password of {name}") for name in ("alice", "bob", "carol"))
    )
    bridge = Bridge(tmp_path, server, granted)
    chats = []
    async with bridge.alive(), asyncio.TaskGroup() as walks:
        for language, walk in (("en", walk_english), ("fr", walk_french)):
            room_id = await alice.create_room(
                "Budget", invite=[bridge.bot, bob.user_id], power={bridge.bot: 100}
            )
            await bob.join(room_id)
            await alice.wait_for(
                room_id, lambda e: "video conferences in" in str(e["content"].get("body"))
            )
            chat = Chat(bridge, alice, room_id, language)
            chats.append(chat)
            walks.create_task(walk(chat, bob, carol))
    for chat in chats:
        assert chat.typed >= set(commands.VERBS) - {"unknown"}, chat.language


async def test_a_call_started_in_a_direct_chat_rings_and_is_missed_or_declined(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await server.ensure_person("alice", "a password of alice")
    bob = await server.ensure_person("bob", "a password of bob")
    bridge = Bridge(tmp_path, server, granted)
    async with bridge.alive():
        room_id = await alice.create_room(
            "", invite=[bob.user_id], power={bridge.bot: 50}, is_direct=True
        )
        await bob.join(room_id)
        await alice.invite(room_id, bridge.bot)
        await alice.wait_for(
            room_id, lambda e: "your own call button" in str(e["content"].get("body")), timeout=30
        )
        await alice.say(room_id, "!visio start")
        ring = await bob.wait_for(room_id, lambda e: e["type"] == wire.RTC_NOTIFICATION, timeout=30)
        assert ring["content"]["notification_type"] == "ring"
        assert ring["content"]["m.mentions"] == {"user_ids": [bob.user_id]}
        # What it refers to is a membership of the bot that holds now.
        key = f"_{bridge.bot}_COLLOQUE_m.call"
        assert (await bob.state(room_id, wire.CALL_MEMBER, key))["m.call.intent"] == "video"
        relation = {"rel_type": "m.reference", "event_id": ring["event_id"]}
        await bob.send(room_id, wire.RTC_DECLINE, {"m.relates_to": relation})
        await alice.wait_for(
            room_id, lambda e: "Declined: bob" in str(e["content"].get("body")), timeout=30
        )
        async with asyncio.timeout(30):
            while await bob.state(room_id, wire.CALL_MEMBER, key):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
