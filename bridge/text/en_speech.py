"""English sentences about how people are heard: languages, consent, engines."""

from __future__ import annotations

SPEECH: dict[str, str] = {
    "who.opted_out": "Not written down, at their wish: {names}",
    "language.person_set": "I now listen to {name} for the language {spoken}.",
    "language.person_none": "I listen to {name} for the room’s language again: {spoken}.",
    "language.too_many": (
        "This room has set languages for too many people. Set the room’s instead: "
        "{prefix} language spoken en-GB."
    ),
    "language.unknown": (
        "No speech recognition of the server {server} knows the language {spoken}: what is said "
        "in it is not written down here. Ask the administrator of {server} for one, or choose "
        "another language."
    ),
    "opted.argument": (
        "Type {prefix} transcribe-me no: nothing you say is written down or shown as captions in "
        "this room any more; {prefix} transcribe-me no everywhere: in every room; "
        "{prefix} transcribe-me yes: again."
    ),
    "opted.out": (
        "From now on nothing that {name} says in this room is written down or shown as captions. "
        "What was written before stays until its deletion is asked for. "
        "To undo this: {prefix} transcribe-me yes."
    ),
    "opted.out_everywhere": (
        "From now on nothing that {name} says is written down or shown as captions by this "
        "service, in any room. What was written before stays until its deletion is asked for. "
        "To undo this: {prefix} transcribe-me yes everywhere."
    ),
    "opted.in": "What {name} says may be written down and shown as captions again.",
    "opted.still": (
        "{name} has opted out everywhere, so nothing of theirs is written down here either. "
        "To undo that: {prefix} transcribe-me yes everywhere."
    ),
    "wish.not_languages": (
        "“{field}” must name people by their ids and, for each, a language code such as fr or "
        "en-GB."
    ),
    # Before anything is listened to, and what becomes of it
    "consent.captions": (
        "What is said in this call is shown on screen as captions, so that everybody can follow. "
        "Nothing of it is kept. {engine} "
        "Not you: {prefix} transcribe-me no. To end it for everybody: {prefix} captions off."
    ),
    "consent.transcript": (
        "What is said in this call is written down in this room, as its record. {kept} {engine} "
        "Not you: {prefix} transcribe-me no. To end it for everybody: {prefix} transcript off."
    ),
    "consent.kept": "It is kept until this room deletes it.",
    "consent.kept_days": "It is deleted after {days} days.",
    "engine.here": "Speech is recognized on this organisation’s server {server}.",
    "engine.ours": "Speech is recognized on this organisation’s server {hosts}.",
    "engine.outside": "To recognize speech, the sound is sent to the service at {hosts}.",
    "scribe.engine_simple": (
        "The best speech recognition does not answer; a simpler one writes now, with more "
        "mistakes. I keep asking for the better one."
    ),
    "scribe.engine_down": (
        "The speech recognition does not answer: what is said now is missing from the text, where "
        "[…] stands for it. I keep trying; if it lasts, tell the administrator of {server}."
    ),
    "scribe.engine_back": "The speech recognition works as usual again.",
    "scribe.language": (
        "No speech recognition of the server {server} knows a language that is set here: what is "
        "said in it is not written down. To set another one: {prefix} language spoken en."
    ),
}
