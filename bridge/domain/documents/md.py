"""The record as Markdown: a page to read anywhere."""

from __future__ import annotations

from bridge.domain.documents.page import (
    Attendance,
    Block,
    Fact,
    Heading,
    Remark,
    Speech,
    blocks,
    presence,
    voices,
)
from bridge.domain.documents.presence import Person
from bridge.domain.documents.record import Language, Record, clock, one_line
from bridge.text import say


def markdown(record: Record, language: Language) -> str:
    """Heading, who was there, one paragraph a turn."""
    lines: list[str] = []
    before: Block | None = None
    for block in blocks(record, language):
        if before is not None and not (isinstance(before, Fact) and isinstance(block, Fact)):
            lines.append("")
        lines += _block(block, record, language)
        before = block
    return "\n".join(lines).rstrip("\n") + "\n"


def _block(block: Block, record: Record, language: Language) -> list[str]:
    match block:
        case Heading(level, text):
            return [f"{'#' * level} {escaped(text)}"]
        case Fact(label, text):
            return [f"- {_labelled(f'**{label}**', language)}{escaped(text)}"]
        case Remark(text):
            return [f"*{text}*"]
        case Attendance(_, people):
            return [line for person in people for line in _person(record, person, language)]
    return _speech(block, language)


def _speech(speech: Speech, language: Language) -> list[str]:
    beside = f" *({', '.join(speech.marks)})*" if speech.marks else ""
    said = escaped(" ".join(text for text, _ in speech.parts))
    return [_labelled(f"**{escaped(speech.name)}** [{speech.at}]{beside}", language) + said]


def _person(record: Record, person: Person, language: Language) -> list[str]:
    who = person.who
    account = f"`{_code(who.user_id)}`, {escaped(one_line(who.server))}"
    line = f"- {escaped(one_line(who.name))} ({account})"
    more = []
    if person.stays:
        times = presence(record, person, language)
        more.append(say("document.was_there", language, times=times))
    if person.spoken_ms:
        more.append(say("document.spoke", language, time=clock(person.spoken_ms)))
    if more:
        line = _labelled(line, language) + say("document.then", language).join(more)
    return [line, *(_voice(*voice, language) for voice in voices(record, person, language))]


def _voice(name: str, spoken_ms: int, language: Language) -> str:
    spoke = say("document.spoke", language, time=clock(spoken_ms))
    return _labelled(f"  - {escaped(name)}", language) + spoke


def _labelled(label: str, language: Language) -> str:
    return say("document.label", language, label=label)


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~"})


def escaped(line: str) -> str:
    """A line that no Markdown reader takes for markup, an image or HTML."""
    marked = line.translate(_MARKS)
    return f"\\{marked}" if marked[:1] in {"-", "+"} else marked


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")
