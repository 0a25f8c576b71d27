"""Commands about what was written down: correct, delete, name a voice, one's own words.

Who reads a message of the bot wants to change it: only its sender could edit it. So they reply to
it, or link to it. Each bridge acts on the messages of its own bot, and only who has them answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bridge.domain import policy, revision
from bridge.domain.conference import Conference
from bridge.matrix.addressee import addressee
from bridge.matrix.commands import folded
from bridge.matrix.wire import EVENT_LINK
from bridge.rooms import forgetting, record
from bridge.rooms.asking import Asking
from bridge.store.outbox import Outgoing
from bridge.store.shown import Message, documents_mark
from bridge.store.utterances import Utterance

MAX_NAME = 80
_VOICE = re.compile(r"(?:v|voix|voice)?\s*([1-9][0-9]{0,2})(?:\s+|$)(.*)", re.IGNORECASE)
_IS = re.compile(r"(?:is|est|=|:)\s+(.*)", re.IGNORECASE)
_EXPORT = frozenset({"export", "exporter", "telecharger"})
_DELETE = frozenset({"delete", "supprimer", "effacer"})


async def correct(asking: Asking) -> None:
    """`correct <new text>`, `corriger s/old/new/`, or a reply that is `s/old/new/`."""
    typed = EVENT_LINK.sub("", asking.command.arguments).strip()
    found = await _target(asking)
    if found is None:
        return
    conference, message, said = found
    speaker = said[0].speaker
    if not policy.may_correct(
        asking.message.sender,
        speaker=speaker,
        started_by=conference.started_by,
        power=asking.ledger.facts.power,
    ):
        _answer(asking, "correct.refused", name=said[0].display_name)
        return
    old = [utterance.text for utterance in said]
    new = _corrected(asking, old, typed)
    if new is not None:
        await _revise(asking, conference, message, said, new)


async def delete(asking: Asking) -> None:
    """`delete`, `supprimer`, as a reply: the message, its edits, documents, the store."""
    found = await _target(asking)
    if found is None:
        return
    _, _, said = found
    power, by = asking.ledger.facts.power, asking.message.sender
    if policy.may_delete(by, speaker=said[0].speaker, power=power):
        await forgetting.forget(
            asking.ledger, [utterance.segment for utterance in said], by=by, why="asked"
        )
        _answer(asking, "delete.done")
    else:
        _answer(asking, "delete.refused", name=said[0].display_name)


async def voice(asking: Asking) -> None:
    """`voice V1 is Anne Martin`, `voix 1 est @anne:a.example`, as a reply or alone."""
    number, name = _voice_and_name(EVENT_LINK.sub("", asking.command.arguments).strip())
    found = await _voice(asking, number)
    if found is None:
        return
    conference, spoken = found
    name = _person_name(asking, name)
    if not name:
        _answer(asking, "voice.argument")
    elif not policy.may_name_voices(
        asking.message.sender,
        speaker=spoken.speaker,
        started_by=conference.started_by,
        present=[stay.user_id for stay in conference.people],
        power=asking.ledger.facts.power,
    ):
        _answer(asking, "voice.refused")
    else:
        await _name(asking, conference, spoken, name)


async def my_words(asking: Asking) -> None:
    """`my-words export`, `mes-paroles supprimer`: what was written down of oneself in this room."""
    what = folded(asking.command.arguments)
    if what in _DELETE:
        await _delete_mine(asking)
    elif what in _EXPORT:
        await _export_mine(asking)
    else:
        asking.say("my_words.argument")


# ---- what is meant

Found = tuple[Conference, Message, list[Utterance]]


async def _target(asking: Asking) -> Found | None:
    """The utterances that the command is about; where there are none, it is said what to do."""
    ledger, stores = asking.ledger, asking.ledger.stores
    message = None
    if asking.target:
        message = await stores.shown.of_event(ledger.conn, ledger.room_id, asking.target)
    latest = await stores.utterances.latest(ledger.conn, message.segments) if message else []
    said = [utterance for utterance in latest if utterance.text]
    conference = await ledger.recall(said[0].conference) if said else None
    if message is None or conference is None:
        _no_target(asking)
        return None
    return conference, message, said


def _no_target(asking: Asking) -> None:
    # Another site's: its bridge answers. A reply "s/…/…/" between people is none of our business.
    theirs = asking.target_sender in asking.ledger.facts.bridges.values()
    if theirs or (asking.command.verb == "correct" and not asking.command.words):
        return
    asking.say(f"{asking.command.verb}.{'target' if asking.target else 'argument'}")


def _answer(asking: Asking, key: str, **values: str | int) -> None:
    """Said by the site whose message it is, whoever asked."""
    asking.ledger.say(key, asking.message, language=asking.language, **values)


def _corrected(asking: Asking, old: Sequence[str], typed: str) -> list[str] | None:
    """The new text of each utterance; None where it is not clear, which is said."""
    whole = " ".join(old)
    wanted = revision.substitution(typed)
    if wanted is None:
        if not typed:
            _answer(asking, "correct.argument")
            return None
        return revision.spread(old, typed)
    count = wanted.count(whole)
    if count == 0:
        _answer(asking, "correct.absent", word=wanted.old)
        return None
    if count > 1 and not wanted.everywhere:
        _answer(asking, "correct.several", word=wanted.old, count=count)
        return None
    if not wanted.apply(whole).strip():
        _answer(asking, "correct.argument")
        return None
    return revision.spread(old, wanted.apply(whole))


async def _revise(
    asking: Asking,
    conference: Conference,
    message: Message,
    said: Sequence[Utterance],
    new: Sequence[str],
) -> None:
    changed = [
        replace(
            utterance,
            rev=utterance.rev + 1,
            text=text,
            words=revision.retimed(utterance.words, text),
            editor=asking.message.sender,
        )
        for utterance, text in zip(said, new, strict=True)
        if text != utterance.text
    ]
    if changed:
        await asking.ledger.revise(conference, message, changed)
    _answer(asking, "correct.done")


# ---- voices


def _voice_and_name(typed: str) -> tuple[str, str]:
    numbered = _VOICE.fullmatch(typed)
    number, rest = (f"V{numbered[1]}", numbered[2]) if numbered else ("", typed)
    said = _IS.fullmatch(rest.strip())
    return number, (said[1] if said else rest).strip()


def _person_name(asking: Asking, typed: str) -> str:
    """As typed; of a member who is named by id or mention, what they are called."""
    if typed.startswith("@") or asking.message.pills:
        person = addressee(asking.message, typed, asking.members, asking.ledger.house.bot)
        if isinstance(person, str):
            return asking.name(person)[:MAX_NAME]
    return " ".join(typed.split())[:MAX_NAME]


async def _voice(asking: Asking, number: str) -> tuple[Conference, Utterance] | None:
    """Something that was said by the voice that is meant."""
    if asking.target:
        found = await _target(asking)
        if found is None:
            return None
        conference, _, said = found
        spoken = [u for u in said if u.voice and number in {"", u.voice}]
        if not spoken:
            _answer(asking, "voice.none")
        return (conference, spoken[0]) if spoken else None
    return await _last_voice(asking, number)


async def _last_voice(asking: Asking, number: str) -> tuple[Conference, Utterance] | None:
    """The voice of that number in the newest call, where only one microphone has one."""
    ledger = asking.ledger
    conference = ledger.conferences[0] if ledger.conferences and number else None
    said = (
        await ledger.stores.utterances.of_conference(conference.id, ledger.conn)
        if conference
        else []
    )
    spoken = {u.speaker: u for u in said if u.voice == number}
    if conference is not None and len(spoken) == 1:
        return conference, next(iter(spoken.values()))
    if len(spoken) > 1:
        _answer(asking, "voice.several", voice=number)
    elif not number:
        asking.say("voice.argument")
    elif not ledger.facts.bridges:
        # Where there are other sites, theirs may be meant: who has it answers.
        asking.say("voice.unknown", voice=number)
    return None


async def _name(asking: Asking, conference: Conference, spoken: Utterance, name: str) -> None:
    ledger, by = asking.ledger, asking.message.sender
    await ledger.name_voice(conference, spoken, name, by)
    _answer(asking, "voice.done", voice=spoken.voice, name=name)


# ---- one's own


async def _delete_mine(asking: Asking) -> None:
    ledger, by = asking.ledger, asking.message.sender
    count = await forgetting.erase(ledger, by)
    if count or not asking.silent:
        _answer(asking, "my_words.deleted" if count else "my_words.none", count=count)


async def _export_mine(asking: Asking) -> None:
    ledger, by = asking.ledger, asking.message.sender
    said = await ledger.stores.utterances.of_speaker(ledger.conn, by, ledger.room_id)
    if not said:
        asking.say("my_words.none", count=0)
        return
    ledger.add(
        Outgoing(
            room_id=ledger.room_id,
            txn_id=f"words:{asking.message.event_id}",
            kind="file",
            content=record.own_words_message(asking.message),
            blob=record.own_words(by, said),
            media_type="application/json",
            file_name="words.json",
            segments=tuple(
                dict.fromkeys(documents_mark(utterance.conference) for utterance in said)
            ),
        )
    )
