"""What a check found: keys of sentences and the values in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "warning", "failed", "not_checked"]
_ORDER: tuple[Outcome, ...] = ("ok", "not_checked", "warning", "failed")

Value = str | int


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing a probe has to say. `key` names its sentence; a bad one has a remedy too."""

    outcome: Outcome
    key: str
    values: Mapping[str, Value] = field(default_factory=dict)


def ok(key: str = "fine", /, **values: Value) -> Remark:
    """All is well; what was seen."""
    return Remark("ok", key, values)


def warning(key: str, /, **values: Value) -> Remark:
    """It works, or some of it does, but somebody should look."""
    return Remark("warning", key, values)


def failed(key: str, /, **values: Value) -> Remark:
    """It does not work."""
    return Remark("failed", key, values)


def unchecked(key: str, /, **values: Value) -> Remark:
    """It could not be looked at, or there is nothing to look at."""
    return Remark("not_checked", key, values)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `seconds`: how long it took."""

    check: str
    remarks: tuple[Remark, ...]
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """That of the worst remark."""
        return max((remark.outcome for remark in self.remarks), key=_ORDER.index)

    @property
    def stands(self) -> bool:
        """Whether checks that build on this one make sense."""
        return self.outcome in {"ok", "warning"}


def exit_status(findings: Sequence[Finding]) -> int:
    """0: nothing failed. 1: something did."""
    return int(any(finding.outcome == "failed" for finding in findings))
