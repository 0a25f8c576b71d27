"""What the demo looks at, and the table it prints of it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.dev.person import MatrixError, Person
from bridge.dev.timeline import File, Timeline, Utterance

_ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence as it was spoken. `text` is None where only the speaker is known."""

    speaker: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """Something looked at, and what was seen."""

    name: str
    passed: bool
    detail: str = ""

    def row(self, width: int) -> str:
        """One line of the table."""
        mark = "ok  " if self.passed else "FAIL"
        return f"  {mark}  {self.name:<{width}}  {self.detail}".rstrip()


@dataclass(slots=True)
class Checks:
    """All that was looked at."""

    done: list[Check] = field(default_factory=list)

    def note(self, name: str, passed: bool, detail: str = "") -> None:
        """Add one."""
        self.done.append(Check(name, passed, detail))

    @property
    def passed(self) -> bool:
        """Whether everything was as it must be (and something was looked at)."""
        return bool(self.done) and all(check.passed for check in self.done)

    def table(self) -> str:
        """One line a check."""
        width = max((len(check.name) for check in self.done), default=0)
        return "\n".join(check.row(width) for check in self.done)


_Looks = Callable[[str, Sequence[str]], bool]


def _markdown(content: str, _speakers: Sequence[str]) -> bool:
    return content.startswith("# ")


def _webvtt(content: str, _speakers: Sequence[str]) -> bool:
    return content.startswith("WEBVTT") and "-->" in content


def _json(content: str, speakers: Sequence[str]) -> bool:
    json.loads(content)
    return all(speaker in content for speaker in speakers)


_DOCUMENTS: dict[str, _Looks] = {"md": _markdown, "vtt": _webvtt, "json": _json}
FORMS = _DOCUMENTS.keys()
"""Of the documents that are looked into."""


async def check_record(
    checks: Checks, timeline: Timeline, lines: Sequence[Line], reader: Person
) -> None:
    """Whether the timeline holds the call as it was: `reader` downloads from their own server."""
    seen = timeline.utterances
    speakers = [line.speaker for line in lines]
    attributed = _attributed(lines, seen)
    checks.note(
        "everything that was said is in bob's timeline",
        all(utterances for utterances in attributed),
        f"{len(seen)} utterances of {len(lines)} lines",
    )
    wrong = _wrong_speakers(lines, seen)
    checks.note(
        "each utterance carries the right speaker",
        bool(seen) and not wrong and set(speakers) == {said.speaker for said in seen},
        "; ".join(wrong),
    )
    keys = {(said.segment, said.rev) for said in seen}
    checks.note("no utterance is there twice", len(keys) == len(seen))
    starts = [said.start_ms for said in seen]
    ordered = starts == sorted(starts) and all(said.end_ms > said.start_ms for said in seen)
    checks.note("utterances stand in the order they were spoken", ordered)
    hanging = {said.thread for said in seen} | {file.thread for file in timeline.files}
    checks.note("they hang below the call card", hanging == {timeline.card})
    checks.note("the card says that the call is over", timeline.card_phase == "ended")
    for form, looks_right in _DOCUMENTS.items():
        await _check_file(checks, form, looks_right, timeline.files, speakers, reader)


async def _check_file(
    checks: Checks,
    form: str,
    looks_right: _Looks,
    files: Sequence[File],
    speakers: Sequence[str],
    reader: Person,
) -> None:
    name = f"transcript.{form} is readable from bob's homeserver"
    chosen = [file for file in files if file.format == form]
    if len(chosen) != 1:
        checks.note(name, False, f"{len(chosen)} such files")
        return
    try:
        content = (await reader.attachment(chosen[0].file)).decode()
        checks.note(name, looks_right(content, speakers), f"{len(content)} characters")
    except (MatrixError, ValueError) as error:
        checks.note(name, False, str(error))


def _attributed(lines: Sequence[Line], seen: Sequence[Utterance]) -> list[list[Utterance]]:
    """For each line the utterances it most likely became (a recording: any of its speaker)."""
    return [
        [
            said
            for said in seen
            if said.speaker == line.speaker
            and (line.text is None or _best(said, lines) == line.text)
        ]
        for line in lines
    ]


def _wrong_speakers(lines: Sequence[Line], seen: Sequence[Utterance]) -> list[str]:
    """Utterances whose words are another person's line."""
    owner = {line.text: line.speaker for line in lines if line.text is not None}
    return [
        f"“{said.text}” is not of {said.speaker}"
        for said in seen
        if (best := _best(said, lines)) is not None and owner[best] != said.speaker
    ]


def _best(said: Utterance, lines: Sequence[Line]) -> str | None:
    """The line these words resemble most, if they resemble one."""
    texts = [line.text for line in lines if line.text is not None]
    scored = [(_alike(said.text, text), text) for text in texts]
    score, best = max(scored, default=(0.0, ""))
    return best if score >= _ALIKE else None


def _alike(heard: str, line: str) -> float:
    """Share of the heard words that stand in the line, in its order (a line may come in parts)."""
    ours, theirs = heard.lower().split(), line.lower().split()
    blocks = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(ours))
