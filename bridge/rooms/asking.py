"""Somebody has asked for something by command: who, in which language, with which rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import text
from bridge.domain import policy
from bridge.domain.conference import Conference
from bridge.matrix import wire
from bridge.matrix.addressee import Unclear, addressee
from bridge.matrix.commands import Command
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand, Kind
from bridge.text import Language


class Asking:
    """One command inside the transaction of its message. `members`: names by Matrix id.

    `silent`: another site answers; what the command decides holds here all the same. `target`: the
    message it is about, and who sent that.
    """

    def __init__(
        self,
        ledger: Ledger,
        message: wire.IncomingMessage,
        command: Command,
        members: Mapping[str, str],
        *,
        silent: bool = False,
        target: str = "",
        target_sender: str = "",
    ) -> None:
        self.silent = silent
        self.target = target
        self.target_sender = target_sender
        self.ledger = ledger
        self.message = message
        self.command = command
        self.members = members

    @property
    def language(self) -> Language:
        """That of the command's word, else the room's."""
        return self.command.language or self.ledger.language

    @property
    def running(self) -> Conference | None:
        """The call that runs now."""
        return self.ledger.running

    @property
    def started_by(self) -> str:
        """Who started the call that runs, '' where none does."""
        return self.running.started_by if self.running else ""

    def say(self, key: str, **values: str | int) -> None:
        """Answer with a sentence."""
        if not self.silent:
            self.ledger.say(key, self.message, language=self.language, **values)

    def on_off(self, value: bool) -> str:
        """`on` or `off` in the asker's language."""
        return text.on_off(value, self.language)

    def may_change_wish(self) -> bool:
        """Whether they may write the room's wish; otherwise they are told who may."""
        allowed = policy.may_change_wish(
            self.message.sender,
            started_by=self.started_by,
            power=self.ledger.facts.power,
            event_type=wire.CONFERENCE,
        )
        if not allowed:
            self.say("setting.refused")
        return allowed

    def person(self) -> str | None:
        """Whom the command names; where that is not clear, they are told how to say it."""
        return self.person_named(self.command.arguments)

    def person_named(self, typed: str) -> str | None:
        """The same where only this part of what was typed names somebody."""
        found = addressee(self.message, typed, self.members, self.ledger.house.bot)
        if isinstance(found, str):
            return found
        self._unclear(found)
        return None

    def name(self, user_id: str) -> str:
        """How a person is called in answers."""
        return self.members.get(user_id) or self.ledger.facts.display_name(user_id)

    async def errand(self, kind: Kind, **content: Any) -> None:
        """Have something done outside; the answer comes with what became of it."""
        if self.silent:
            return
        await self.ledger.send_on_errand(
            Errand(
                id=f"{kind}:{self.message.event_id}",
                room_id=self.ledger.room_id,
                kind=kind,
                content={
                    **content,
                    "reply_to": self.message.event_id,
                    "thread_root": self.message.thread_root or "",
                    "language": self.language,
                    "asked_by": self.message.sender,
                },
                created_ms=self.ledger.now_ms,
            )
        )

    def _unclear(self, found: Unclear) -> None:
        verb = self.command.words.removesuffix(self.command.arguments).strip()
        self.say(found.key, word=found.word, ids=found.ids, command=verb)
