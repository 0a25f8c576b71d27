"""Who may do what, from the room's own power levels. Pure.

Matrix rules: https://spec.matrix.org/v1.16/rooms/v12/#authorization-rules. From room version 12
the creators stand above every level; before it, the creator has 100 until the room says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

MODERATOR = 50
_ABOVE_ALL = 2**53
_HIGHEST = 2**53 - 1  # canonical JSON knows no larger number
_HYDRA = "org.matrix.hydra."  # room versions that led to 12


@dataclass(frozen=True, slots=True)
class Power:
    """A room's power levels: the contents of m.room.power_levels and m.room.create.

    `creator` is the sender of m.room.create. Contents are taken as they come: anyone with the
    power to can write nonsense into them, which then counts as the specified default.
    """

    levels: Mapping[str, Any] | None
    create: Mapping[str, Any]
    creator: str

    def of(self, user_id: str) -> int:
        """The power level of a user."""
        if self._creators_above_all() and user_id in self._creators():
            return _ABOVE_ALL
        if self.levels is None:
            return 100 if user_id == self.creator else 0
        default = _level(self.levels.get("users_default"), 0)
        return _level(_mapping(self.levels.get("users")).get(user_id), default)

    def needed_for_state(self, event_type: str) -> int:
        """The power level it takes to send a state event of this type."""
        if self.levels is None:
            return 0
        default = _level(self.levels.get("state_default"), MODERATOR)
        return _level(_mapping(self.levels.get("events")).get(event_type), default)

    def may_send_state(self, user_id: str, event_type: str) -> bool:
        """Whether the room lets this user write state of this type."""
        return self.of(user_id) >= self.needed_for_state(event_type)

    def level_above_others(self, user_id: str, event_type: str) -> int | None:
        """A level of this state type that keeps out as many others as this user can keep out.

        None where they cannot change levels, or could keep out nobody who is not kept out now.
        """
        if self.levels is None or not self.may_send_state(user_id, "m.room.power_levels"):
            return None
        users = _mapping(self.levels.get("users"))
        others = [self.of(other) for other in users if other != user_id]
        highest = max([_level(self.levels.get("users_default"), 0), *others])
        level = min(self.of(user_id), highest + 1, _HIGHEST)
        return level if level > self.needed_for_state(event_type) else None

    def named(self, name: str, default: int) -> int:
        """The level one of the room's own rights takes: `invite`, `kick`, `redact`."""
        return default if self.levels is None else _level(self.levels.get(name), default)

    def may_invite(self, user_id: str) -> bool:
        """Whether the room lets this user invite others."""
        return self.of(user_id) >= self.named("invite", 0)

    def may_call_everyone(self, user_id: str) -> bool:
        """Whether the room lets this user notify all its members at once (`@room`)."""
        levels = _mapping(self.levels)
        needed = _level(_mapping(levels.get("notifications")).get("room"), MODERATOR)
        return self.of(user_id) >= needed

    def _creators_above_all(self) -> bool:
        version = str(self.create.get("room_version", "1"))
        return version.startswith(_HYDRA) or (version.isascii() and _number(version) >= 12)

    def _creators(self) -> set[str]:
        additional = self.create.get("additional_creators")
        more = additional if isinstance(additional, list) else []
        return {self.creator, *(user for user in more if isinstance(user, str))}


def may_stop(user_id: str, *, started_by: str, power: Power) -> bool:
    """The one who started a call ends it, or a moderator."""
    return user_id == started_by or power.of(user_id) >= MODERATOR


def may_moderate(user_id: str, person: str, *, started_by: str, power: Power) -> bool:
    """Mute or remove somebody in a call: who started it, or who may remove members of the room.

    Never somebody who stands above oneself in the room.
    """
    moderates = user_id == started_by or power.of(user_id) >= power.named("kick", MODERATOR)
    return moderates and power.of(person) <= power.of(user_id)


def may_correct(user_id: str, *, speaker: str, started_by: str, power: Power) -> bool:
    """Change what was written down of somebody: they, who started the call, or a moderator."""
    return user_id in {speaker, started_by} or power.of(user_id) >= MODERATOR


def may_delete(user_id: str, *, speaker: str, power: Power) -> bool:
    """Delete it: the speaker, or who may remove other people's messages in the room."""
    return user_id == speaker or power.of(user_id) >= power.named("redact", MODERATOR)


def may_name_voices(
    user_id: str, *, speaker: str, started_by: str, present: Collection[str], power: Power
) -> bool:
    """Say who spoke at a shared microphone: who was in the call, or who may correct."""
    corrects = may_correct(user_id, speaker=speaker, started_by=started_by, power=power)
    return corrects or user_id in present


def may_change_wish(user_id: str, *, started_by: str, power: Power, event_type: str) -> bool:
    """By command, nobody changes what they could not change by writing the state event.

    Except, while their own call runs, the one who started it.
    """
    return user_id == started_by or power.may_send_state(user_id, event_type)


def server_admitted(server: str, allowed: Sequence[str], own: str) -> bool:
    """Whether `federation.allow_servers` names this server (`*`, exact, or `*.example.org`).

    People of the bridge's own homeserver are always admitted.
    """
    return server == own or any(fnmatchcase(server.lower(), pattern.lower()) for pattern in allowed)


def _level(value: object, default: int) -> int:
    # Rooms before version 10 may hold levels as text.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,16}\s*", value):
        return int(value)
    return default


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(version: str) -> int:
    return int(version) if version.isdigit() and len(version) < 10 else 0
