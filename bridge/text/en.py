"""English sentences."""

from __future__ import annotations

SENTENCES: dict[str, str] = {
    # Small words
    "on": "on",
    "off": "off",
    "people.none": "nobody",
    "people.one": "1 person",
    "people.many": "{count} people",
    "servers.none": "no server",
    "servers.one": "1 server",
    "servers.many": "{count} servers",
    "utterances.none": "no utterance",
    "utterances.one": "1 utterance",
    "utterances.many": "{count} utterances",
    "duration.seconds": "{seconds} s",
    "duration.minutes": "{minutes} min",
    "duration.hours": "{hours} h {minutes} min",
    # The call card
    "card.running": "📞 Video conference in progress",
    "card.ended": "📞 Video conference ended",
    "card.started_by": "Started by {name}",
    "card.join": "Join: {link}",
    "card.join_here": "Join in the browser",
    "card.present": "Present: {names} ({people})",
    "card.nobody": "Nobody has joined yet.",
    "card.took_part": "Took part: {names} ({people}, {servers})",
    "card.no_one_came": "Nobody joined the call.",
    "card.lasted": "Duration: {duration}",
    "card.captions": "Captions: {state}",
    "card.transcript": "Transcript: {state}",
    "card.transcript_notice": "What is said is transcribed in the thread below.",
    "card.recorded": "Transcript in the thread: {utterances}",
    "card.more": "{names} and {count} more",
    # Documents
    "document.title": "Video conference",
    # Answers to commands
    "hello": "Hello, I run video conferences in this room; type {prefix} help.",
    "hello.encrypted": (
        "Hello; this room is encrypted and I cannot read commands here: start the call with the "
        "call button. For help, in a room that is not encrypted: {prefix} help."
    ),
    "help": (
        "Commands:\n"
        "{prefix} start: start the call (démarrer)\n"
        "{prefix} stop: end the call (arrêter)\n"
        "{prefix} status: how the call is going (état)\n"
        "{prefix} who: who is present (qui)\n"
        "{prefix} transcript on / off: write down what is said, or not (transcription)\n"
        "{prefix} help: this help (aide)"
    ),
    "command.unknown": "I do not know the command “{word}”. Type {prefix} help.",
    "command.near": "I do not know the command “{word}”; did you mean {prefix} {near}?",
    "start.already": "A call is in progress already: {link}",
    "start.too_old": (
        "You asked {age} ago, while I could not be reached: I do not start the call. "
        "Please ask again if you still want it."
    ),
    "start.server_refused": "This service is not open to accounts of the server {server}.",
    "stop.none": "No call is in progress.",
    "stop.refused": "Only the person who started the call, or a moderator of the room, can end it.",
    "status.none": "No call in progress. Captions: {captions}. Transcript: {transcript}.",
    "status.running": (
        "Call in progress for {duration}: {people} present. "
        "Captions: {captions}. Transcript: {transcript}. {link}"
    ),
    "who.none": "Nobody is present.",
    "who.some": "Present ({people}): {names}",
    "transcript.now": "Transcript: {state}.",
    "transcript.on": "The transcript is on: what is said will be written in this room.",
    "transcript.off": "The transcript is off.",
    "transcript.refused": (
        "Only a moderator of the room, or the person who started the call, can change the "
        "transcript."
    ),
    "transcript.encrypted": (
        "This room is encrypted: I write no transcript here, it would not be encrypted."
    ),
    "transcript.argument": "Type {prefix} transcript on, or {prefix} transcript off.",
    # What goes wrong
    "power.missing": (
        "I may not write this room's state (I would need power level {level}); "
        "the {prefix} commands work all the same."
    ),
    "wish.problem": "The room's conference setting has a mistake: {problem}",
    "wish.not_object": "it is not an object.",
    "wish.not_bool": "“{field}” must be true or false.",
    "wish.not_language": "“{field}” must be one of the languages {choices}.",
    "wish.not_tag": "“{field}” must be a language code such as fr or en-GB.",
    "scribe.failed": "The transcript does not work at the moment; I keep trying.",
    "failed.command": "I could not carry out “{command}” (reference {reference}).",
    "failed.event": "An event of the call could not be handled (reference {reference}).",
    # Doors: what a person reads in a client or on the join page
    "not_member": "You are not a member of this room.",
    "server_not_admitted": "This service is not open to accounts of the server {server}.",
    "too_many_calls": "The bot is in too many calls already; please try again a little later.",
    "homeserver_unavailable": "The Matrix server does not answer; please try again in a moment.",
    "media_unavailable": "The conference server does not answer; please try again in a moment.",
    "scribe_unavailable": "The transcript is not available at the moment.",
}
