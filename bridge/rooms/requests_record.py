"""Commands about the record of a call: `export odt`, `exporter md avec le tchat`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from bridge.config import DocumentForm
from bridge.domain import documents
from bridge.domain.conference import Conference
from bridge.matrix.commands import folded
from bridge.rooms import record
from bridge.rooms.asking import Asking
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand

_FORMS: Mapping[str, DocumentForm] = {
    **{form: form for form in get_args(DocumentForm)},
    "markdown": "md",
    "opendocument": "odt",
    "libreoffice": "odt",
    "word": "docx",
    "webvtt": "vtt",
    "attendance": "csv",
    "presence": "csv",
    "presences": "csv",
}
_CHAT = frozenset({"chat", "tchat", "messages", "discussion"})
_BETWEEN = frozenset({"with", "avec", "the", "le", "la", "les", "and", "et", "en", "as", "in"})
_WITHOUT_WORDS: frozenset[DocumentForm] = frozenset({"csv"})
"""Forms that say something of a call in which nothing was said."""
_DEFAULT: DocumentForm = "odt"
MOST_WAITING = 24
"""Documents of a room that may wait to be sent: nobody fills the bridge's disk by asking."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export. `unknown`: a word that is neither a form nor the chat."""

    forms: tuple[DocumentForm, ...]
    chat: bool = False
    unknown: str = ""


def wanted(arguments: str) -> Wanted:
    """Read `odt and vtt with chat`, `md avec le tchat`; without a form, an OpenDocument."""
    forms: dict[DocumentForm, None] = {}
    chat = False
    for word in arguments.replace(",", " ").split():
        plain = folded(word).removeprefix(".")
        form = _FORMS.get(plain)
        if form is not None:
            forms[form] = None
        elif plain in _CHAT:
            chat = True
        elif plain not in _BETWEEN:
            return Wanted((), unknown=word[:40])
    return Wanted(tuple(forms) or (_DEFAULT,), chat)


async def export(asking: Asking) -> None:
    """The call below whose card it is asked, else the last one, as documents in its thread.

    The site that posts the record does it, whoever asks: it has what was said at the others.
    """
    asked = wanted(asking.command.arguments)
    c = await asking.ledger.call_below(asking.message.thread_root)
    if asked.unknown:
        asking.say("export.argument", word=asked.unknown, forms=", ".join(documents.FORMS))
    elif c is None:
        asking.say("export.none")
    elif c.leading:
        asking.silent = False
        await _export(asking, c, asked)


async def with_chat(ledger: Ledger, errand: Errand) -> None:
    """The same with what was written during the call, once that has been read."""
    content = errand.content
    c = await ledger.recall(content["conference"])
    if c is None:
        return  # deleted meanwhile
    recorded = replace(
        await ledger.recorded(c),
        chat=tuple(_written(ledger, c, message) for message in content.get("chat", ())),
        chat_unread=int(content.get("unread", 0)),
    )
    await _post(ledger, c, recorded, content["forms"], content["reply_to"])


async def _export(asking: Asking, c: Conference, asked: Wanted) -> None:
    ledger = asking.ledger
    recorded = await ledger.recorded(c)
    said = any(utterance.text.strip() for utterance in recorded.utterances)
    forms = asked.forms if said else [form for form in asked.forms if form in _WITHOUT_WORDS]
    if not forms:
        asking.say("export.empty")
    elif await ledger.papers_waiting() + len(forms) > MOST_WAITING:
        asking.say("export.waiting")
    elif asked.chat:
        await asking.errand(
            "export",
            conference=c.id,
            forms=list(forms),
            root=await ledger.root_of(c),
            began_ms=c.began_ms,
            ended_ms=c.ended_ms or ledger.now_ms,
        )
        asking.say("export.reading")
    else:
        await _post(ledger, c, recorded, forms, asking.message.event_id)


async def _post(
    ledger: Ledger,
    c: Conference,
    recorded: documents.Record,
    forms: Sequence[DocumentForm],
    asked: str,
) -> None:
    # Named as all documents of the call are: what is deleted later is deleted in these too.
    question = hashlib.sha256(asked.encode()).hexdigest()[:12]
    for form in forms:
        txn = f"doc:{c.id}:{form}:{question}"
        ledger.add(await record.row(c, recorded, c.documents_rev, form, txn))


def _written(ledger: Ledger, c: Conference, message: Mapping[str, Any]) -> documents.Written:
    names = {stay.user_id: stay.display_name for stay in c.people}
    author = message["author"]
    return documents.Written(
        event_id=message["event_id"],
        author=author,
        display_name=names.get(author) or message["name"] or ledger.facts.display_name(author),
        text=message["text"],
        at_ms=message["at_ms"],
    )
