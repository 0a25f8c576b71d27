"""The record as captions: WebVTT with voices and words, and SRT for players that know no other.

WebVTT follows https://www.w3.org/TR/webvtt1/ (voice spans, cue timestamps, escapes of `&`, `<` and
`>`). SRT has no specification; what every player reads is written.
"""

from __future__ import annotations

from bridge.domain.documents.record import Language, Record, interruption, one_line
from bridge.domain.transcript import Spoken, current
from bridge.text import say


def webvtt(record: Record, language: Language) -> str:
    """One cue an utterance, its speaker as a voice span, with the time of each word where known.

    Cue times count from the conference's start; a cue lasts at least 1 ms, as WebVTT demands.
    """
    head = [
        "WEBVTT",
        "",
        f"NOTE {_note(say('document.heading', language, title=record.title))}",
        _note(_labelled("room", record.room_name, language)),
        say("document.notice", language),
    ]
    if record.missing:
        head.append(_note(_labelled("missing", ", ".join(record.missing), language)))
    head += [interruption(*lost, language) for lost in record.interruptions]
    head.append("")
    return "\n".join(head + [_cue(record, u, language) for u in current(record.utterances)])


def srt(record: Record, language: Language) -> str:
    """One numbered cue an utterance, with the speaker's name before the text."""
    cues = [
        f"{number}\n{_times(u, ',')}\n{_plain(record, u, language)}\n"
        for number, u in enumerate(current(record.utterances), 1)
    ]
    return "\n".join(cues)


def _cue(record: Record, utterance: Spoken, language: Language) -> str:
    # An annotation cannot hold a line break or `>` (escaped); an empty one would be no name.
    name = _escaped(record.label(utterance, language))
    said = _timed(utterance) or _escaped(utterance.text)
    spoken = _escaped(utterance.language)
    if spoken and spoken.partition("-")[0].lower() != language:
        said = f"<lang {spoken}>{said}</lang>"
    # Not the segment's id: a cue identifier is free text that a page may show to people.
    return f"{_times(utterance, '.')}\n<v {name}>{said}</v>\n"


def _timed(utterance: Spoken) -> str:
    """The words, each but the first after its time; '' where the times are not those of the text.

    A timestamp must lie within the cue and after the one before it (WebVTT 4.2.2).
    """
    words = [one_line(word) for word, _, _ in utterance.words]
    if not words or " ".join(words) != one_line(utterance.text):
        return ""
    parts, last = [_escaped(words[0])], max(0, utterance.start_ms)
    for word, (_, start_ms, _) in zip(words[1:], utterance.words[1:], strict=True):
        in_order = last < start_ms < utterance.end_ms
        stamp = f"<{_stamp(start_ms, '.')}>" if in_order else ""
        last = start_ms if in_order else last
        parts.append(f"{stamp}{_escaped(word)}")
    return " ".join(parts)


def _plain(record: Record, utterance: Spoken, language: Language) -> str:
    name = one_line(record.label(utterance, language))
    line = say("document.label", language, label=name) + one_line(utterance.text)
    # Players take these for markup, and have no escape for them.
    return line.replace("-->", "->").translate(str.maketrans("<>{}", "‹›()"))


def _times(utterance: Spoken, mark: str) -> str:
    end = max(utterance.end_ms, utterance.start_ms + 1)
    return f"{_stamp(utterance.start_ms, mark)} --> {_stamp(end, mark)}"


def _stamp(milliseconds: int, mark: str) -> str:
    at = max(0, milliseconds)
    hours, rest = divmod(at, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def _labelled(key: str, text: str, language: Language) -> str:
    return say("document.label", language, label=say(f"document.{key}", language)) + text


def _escaped(text: str) -> str:
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace(">", "&gt;")  # so `-->` cannot occur either


def _note(text: str) -> str:
    return one_line(text).replace("-->", "->")
