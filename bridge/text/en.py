"""English sentences."""

from __future__ import annotations

from bridge.text.en_documents import DOCUMENTS
from bridge.text.en_speech import SPEECH
from bridge.text.en_summary import SUMMARY
from bridge.text.en_voices import VOICES

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
    "card.moved": "📞 The card of this call is further down.",
    "card.running": "📞 Video conference in progress",
    "card.ended": "📞 Video conference ended",
    "card.started_by": "Started by {name} at {time}",
    "card.join": "Join in the browser ({site}): {link}",
    "card.join_here": "Join in the browser ({site})",
    "card.join_client": "Or in Element: open this room and press the call button.",
    "card.waiting": "Waiting to be let in: {names}",
    "card.locked": "🔒 The call is locked: nobody new comes in.",
    "card.lobby": "Newcomers wait in the lobby until they are let in.",
    "card.unanswered": "Did not answer: {names}",
    "card.present": "Present: {names} ({people})",
    "card.nobody": "Nobody has joined yet.",
    "card.took_part": "Took part: {names} ({people}, {servers})",
    "card.no_one_came": "Nobody joined the call.",
    "card.lasted": "Duration: {duration}",
    "card.captions": "Captions: {state}",
    "card.captions_here": "Captions beside the call",
    "card.captions_beside": "Captions beside the call: {link}",
    "card.transcript": "Transcript: {state}",
    "card.transcript_notice": "What is said is transcribed in the thread below.",
    "card.recorded": "Transcript in the thread: {utterances}",
    "card.expired": "The transcript was deleted: the time for which this room keeps it is over.",
    "card.more": "{names} and {count} more",
    **DOCUMENTS,
    **SUMMARY,
    **SPEECH,
    **VOICES,
    # Answers to commands
    "hello": "Hello, I run video conferences in this room; type {prefix} help.",
    "hello.direct": (
        "With me, the two of you are three for your clients: your own call button may not ring any "
        "more. {prefix} start rings; if you do not need me here, remove me from the room."
    ),
    "hello.encrypted": (
        "Hello; this room is encrypted and I cannot read commands here: start the call with the "
        "call button. For help, in a room that is not encrypted: {prefix} help."
    ),
    "encrypted.unreadable": (
        "{name}, I cannot read your encrypted message: its key did not reach me. Send it once "
        "more; if that does not help, sign out of your app and in again, or use the call button."
    ),
    "help": (
        "What you can type:\n"
        "\n"
        "The call\n"
        "{prefix} start: start the call\n"
        "{prefix} ring: ring everybody again, or {prefix} ring @name\n"
        "{prefix} invite @name: invite into this room and call them\n"
        "{prefix} end: end the call for everybody\n"
        "{prefix} who: who is present\n"
        "{prefix} status: how the call is going\n"
        "\n"
        "What is written down\n"
        "{prefix} captions on / off: captions on screen\n"
        "{prefix} panel: captions beside the call (on / off: in this room)\n"
        "{prefix} transcript on / off: what is said, in this room\n"
        "{prefix} summary: have a machine sum the call up; {prefix} summary on / off\n"
        "{prefix} room-mic @name on / off: several people share that microphone\n"
        "{prefix} export odt: the call’s document (md, odt, docx, vtt, srt, json, csv)\n"
        "{prefix} language en / fr: language of my sentences\n"
        "{prefix} language spoken en-GB: language that is spoken\n"
        "{prefix} correct text: in reply to an utterance, or simply s/wrong/right/\n"
        "{prefix} delete: in reply, delete what was written down\n"
        "{prefix} voice V1 is name: who speaks at a shared microphone\n"
        "{prefix} my-words export / delete: what is written down of you here\n"
        "{prefix} language spoken me en-GB, or @name en-GB: the language of one person\n"
        "{prefix} transcribe-me no / yes: not what you say\n"
        "\n"
        "Who may be in the call\n"
        "{prefix} lock / unlock: nobody new comes in, or everybody again\n"
        "{prefix} lobby on / off: newcomers wait until somebody lets them in\n"
        "{prefix} publish moderators / everyone: who may speak and be seen\n"
        "{prefix} max 20 / none: how many people at once\n"
        "{prefix} admit @name: let in who waits\n"
        "{prefix} mute @name: switch their microphone off\n"
        "{prefix} remove @name: out of this call (not out of the room)\n"
        "\n"
        "In French: {prefix} aide"
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
    "hangup.weak": (
        "I have ended the call, but I cannot keep clients from coming back by themselves (I would "
        "need power level {level}, to change the power levels for a moment). Whoever is still in "
        "it: please hang up."
    ),
    "hangup.stuck": (
        "To end the call I raised the power level of {event_type} in this room, and I may not put "
        "it back any more. A moderator must set it to {before} again in the room’s power levels, "
        "or nobody can call (I would need power level {level})."
    ),
    "status.none": (
        "No call in progress. Captions: {captions}. Transcript: {transcript}. Entry: {entry}."
    ),
    "status.running": (
        "Call in progress for {duration}: {people} present. "
        "Captions: {captions}. Transcript: {transcript}. Entry: {entry}. {link}"
    ),
    "entry.open": "open to members",
    "entry.lobby": "through the lobby",
    "entry.locked": "locked",
    "who.none": "Nobody is present.",
    "who.some": "Present ({people}): {names}",
    "switch.argument": "Type {prefix} {command} on, or {prefix} {command} off.",
    "setting.refused": (
        "Only a moderator of the room, or the person who started the call, can change that. "
        "Please ask one of them."
    ),
    "captions.now": "Captions: {state}.",
    "captions.on": "The captions are on: what is said is shown on screen, and not kept.",
    "captions.off": "The captions are off.",
    "captions.encrypted": (
        "This room is encrypted, and so is the sound of its calls: I show no captions here. The "
        "administrator of {server} can switch encryption on for me."
    ),
    "panel.name": "Captions",
    "panel.link": "Captions beside the call, for members of this room: {link}",
    "panel.argument": (
        "To have them in this room, in Element on a computer: {prefix} panel on. To take them out: "
        "{prefix} panel off."
    ),
    "panel.on": (
        "The captions panel is in this room: in Element on a computer, open the room’s information "
        "and choose it among the extensions. To take it out: {prefix} panel off."
    ),
    "panel.off": "The captions panel is no longer in this room.",
    "panel.refused": (
        "Only who has power level {level} in this room can put the panel here or take it out. "
        "Please ask one of them; {prefix} panel gives its address to everybody."
    ),
    "panel.power": (
        "I may not do that: I need power level {level} in this room (for {event_type}). A "
        "moderator can give it to me in the room’s settings; {prefix} panel gives the address of "
        "the captions all the same."
    ),
    "panel.forbidden": (
        "This service shows no captions beside the calls of this room. They are on the join page "
        "of the call; the administrator of {server} can change that."
    ),
    "transcript.now": "Transcript: {state}.",
    "transcript.on": "The transcript is on: what is said will be written in this room.",
    "transcript.off": "The transcript is off.",
    "transcript.encrypted": (
        "This room is encrypted, and so is the sound of its calls: I write no transcript here. The "
        "administrator of {server} can switch encryption on for me."
    ),
    "export.none": (
        "There is no call with a transcript to export here yet: turn the transcript on with "
        "{prefix} transcript on, then start a call."
    ),
    "export.unknown": "No call is known by {what}. Give the id of a room or of a call.",
    "export.empty": (
        "Nothing was transcribed in this call; {prefix} export csv gives the attendance."
    ),
    "export.waiting": (
        "Several documents are already waiting to be posted here: ask again when they are."
    ),
    "export.argument": (
        "I do not know “{word}”. Type {prefix} export and a form: {forms}; add “with chat” for "
        "the messages written during the call."
    ),
    "export.reading": "I read the messages written during the call, then I post the document.",
    "language.now": "My language: {language_now}. Spoken language: {spoken}.",
    "language.argument": (
        "Type {prefix} language en or {prefix} language fr for my sentences, "
        "{prefix} language spoken en-GB for the language that is spoken, "
        "{prefix} language spoken me en-GB for your own."
    ),
    "language.set": "From now on I write English in this room.",
    "language.spoken_set": "I now listen for the language {spoken}.",
    "locked.on": (
        "The call is locked: nobody new comes in; who was in it may come back. "
        "To open it: {prefix} unlock."
    ),
    "locked.off": "The call is open again to the members of this room.",
    "lobby.now": "Lobby: {state}.",
    "lobby.on": (
        "The lobby is on: newcomers wait until somebody types {prefix} admit with their name."
    ),
    "lobby.off": "The lobby is off: members of this room come in at once.",
    "publish.now_everyone": "Publish: everyone.",
    "publish.now_moderators": "Publish: moderators.",
    "publish.argument": "Type {prefix} publish everyone, or {prefix} publish moderators.",
    "publish.everyone": "Everyone may speak and be seen.",
    "publish.moderators": (
        "Only moderators of this room and who started the call may speak and be seen; the others "
        "listen. To let everyone speak again: {prefix} publish everyone."
    ),
    "max.now": "Max: {count} people at once.",
    "max.now_none": "Max: none.",
    "max.argument": "Type {prefix} max and a number, 2 or more, or {prefix} max none.",
    "max.set": (
        "At most {count} people at once: beyond that nobody comes in; nobody is put out. "
        "To lift the limit: {prefix} max none."
    ),
    "max.none": "The number of people is no longer limited.",
    "person.missing": "Whom? Type {prefix} {command} and their name, or @name:server.",
    "person.unknown": (
        "I know nobody called “{word}” in this room. Type their full id: "
        "{prefix} {command} @name:server."
    ),
    "person.ambiguous": (
        "Several members are called “{word}”: {ids}. Type {prefix} {command} and one of these ids."
    ),
    "person.several": "One person at a time, please: {ids}. Type {prefix} {command} and one id.",
    "person.absent": "{name} is not in the call here. {prefix} who says who is.",
    "moderate.refused": (
        "Only a moderator of the room, or the person who started the call, can do that, and not "
        "to somebody with more power in the room. Please ask a moderator."
    ),
    "moderate.elsewhere": (
        "{name} is in the call through the server {site}, which has not done it. "
        "Ask a moderator whose account is on {site}."
    ),
    "admit.done": "{name} may come into the call now.",
    "mute.done": "{name}’s microphone is off. They can switch it on again.",
    "mute.nothing": "{name} has no microphone on.",
    "remove.done": (
        "{name} is out of this call and does not come back into it, unless somebody types "
        "{prefix} invite {user_id}. They remain a member of this room."
    ),
    "remove.later": (
        "{name} may not be in this call any more; the conference server does not answer yet, they "
        "are disconnected as soon as it does. They remain a member of this room."
    ),
    "ring.one": "I am ringing {name}.",
    "ring.already": "That is ringing already. If nobody answers, please try again in a minute.",
    "ring.nobody": "There is nobody to ring: everybody is in the call, or the room is empty.",
    "ring.present": "{name} is in the call already.",
    "ring.no_member": (
        "{name} is not in this room. To invite and ring them: {prefix} invite {user_id}."
    ),
    "ring.refused": (
        "This room has more than {most} people: ringing all of them takes the right to notify "
        "everybody (@room), for you and for me. Ring one person: {prefix} ring @name."
    ),
    "ring.missed": "📞 Missed call: nobody answered. To call again: {prefix} ring.",
    "ring.missed_by": "📞 {name} did not answer. To call again: {prefix} ring {name}.",
    "card.declined": "Declined: {names}",
    "invite.member": "{name} is a member of this room and may join the call.",
    "invite.done": "I have invited {name} into this room.",
    "invite.refused": "You may not invite people into this room. Please ask a moderator.",
    "invite.powerless": (
        "I may not invite people into this room: invite them yourself, or give me the right to."
    ),
    "invite.impossible": (
        "The server refuses to invite {name}. Check how the id is spelled (@name:server) and "
        "that they are not banned from this room."
    ),
    # What goes wrong
    "power.missing": (
        "I may not write this room's state (I would need power level {level}); "
        "the {prefix} commands work all the same."
    ),
    "wish.problem": "The room's conference setting has a mistake: {problem}",
    "wish.not_object": "it is not an object.",
    "wish.not_bool": "“{field}” must be true or false.",
    "wish.not_count": "“{field}” must be a whole number of at least 2.",
    "wish.not_choice": "“{field}” must be one of: {choices}. I apply the strictest.",
    "wish.not_language": "“{field}” must be one of the languages {choices}.",
    "wish.not_tag": "“{field}” must be a language code such as fr or en-GB.",
    "scribe.encrypted": (
        "In this encrypted call a scribe listens, at this room's wish: it is a participant of the "
        "call, your devices give it the call's keys, and on the server {server} it decrypts what "
        "is said. There the end-to-end encryption of the sound ends. What it writes in this room "
        "is encrypted. To end this: {prefix} transcript off and {prefix} captions off."
    ),
    "scribe.unasked": (
        "This call is encrypted, so nothing is written down unless this room asks for it: "
        "{prefix} transcript on. A scribe on the server {server} then gets the call's keys."
    ),
    "scribe.no_key": (
        "The scribe has no key for somebody's sound in this encrypted call: what they say is not "
        "written down. They should leave the call and join it again; if that does not help, their "
        "client may refuse its keys to devices that are not verified."
    ),
    "scribe.no_member": (
        "I may not be a participant of calls in this room, so nobody gives the scribe keys, and "
        "nothing is written down. Give me the right to send org.matrix.msc3401.call.member "
        "events, or switch it off: {prefix} transcript off."
    ),
    "scribe.interrupted": (
        "The transcript was interrupted from {since} to {until} of the call: what was said then is "
        "missing. Whoever spoke can repeat it, or write it here."
    ),
    "scribe.failed": "The transcript does not work at the moment; I keep trying.",
    "failed.command": "I could not carry out “{command}” (reference {reference}).",
    "failed.event": "An event of the call could not be handled (reference {reference}).",
    # Doors: what a person reads in a client or on the join page
    "not_member": "You are not a member of this room.",
    "room_closed": "Another room has taken this one's place: join the call there.",
    "no_bot": "This service holds no calls in this room: invite the conference bot to it first.",
    "call_ended": "This call has just been ended. To start a new one, try again in ten seconds.",
    "removed": "You were removed from this call. A moderator of the room can invite you again.",
    "locked": "This call is locked: a moderator of the room can open it again.",
    "waiting": "Waiting: a moderator of the room has to let you into the call.",
    "full": "This call is full. Try again when somebody has left it.",
    "lobby.knocked": (
        "{name} ({user_id}) is waiting to come into the call. "
        "To let them in: {prefix} admit {user_id}"
    ),
    "server_not_admitted": "This service is not open to accounts of the server {server}.",
    "too_many_calls": "The bot is in too many calls already; please try again a little later.",
    "homeserver_unavailable": "The Matrix server does not answer; please try again in a moment.",
    "media_unavailable": "The conference server does not answer; please try again in a moment.",
    "scribe_unavailable": "The transcript is not available at the moment.",
    # Corrections, deletions, voices
    "correct.argument": (
        "To correct what was written down, reply to that message with {prefix} correct and "
        "the right text, or with s/wrong/right/."
    ),
    "correct.target": (
        "That is no utterance of a transcript of mine, or it was deleted. Reply to the "
        "message you want to correct with {prefix} correct and the right text."
    ),
    "correct.refused": (
        "Only {name}, the person who started the call, or a moderator of the room can "
        "correct this. Please ask one of them."
    ),
    "correct.absent": "“{word}” is not in that message. Type it exactly as it is written there.",
    "correct.several": (
        "“{word}” is in that message {count} times. Add a word before or after it, or end "
        "with /g to replace every one."
    ),
    "correct.done": "Corrected. The documents of the call are made again.",
    "delete.argument": (
        "To delete what was written down, reply to that message with {prefix} delete."
    ),
    "delete.target": (
        "That is no utterance of a transcript of mine, or it is deleted already. Reply to "
        "the message you want to delete with {prefix} delete."
    ),
    "delete.refused": (
        "Only {name}, or somebody who may remove messages in this room, can delete this. "
        "Please ask a moderator."
    ),
    "delete.done": (
        "Deleted, in the room, in the documents and in my records. The documents are made "
        "again without it."
    ),
    "voice.argument": (
        "Reply to something the voice said with {prefix} voice is and the name, or type "
        "{prefix} voice V1 is and the name."
    ),
    "voice.target": (
        "That is no utterance of a transcript of mine, or it was deleted. Reply to something "
        "the voice said with {prefix} voice is and the name."
    ),
    "voice.none": (
        "That was not said at a microphone with several voices, or not by that one. Reply to "
        "something the voice said with {prefix} voice is and the name."
    ),
    "voice.unknown": (
        "The last call has no voice {voice}. Reply to something the voice said with {prefix} "
        "voice is and the name."
    ),
    "voice.several": (
        "Several microphones have a voice {voice}. Reply to something it said with {prefix} "
        "voice is and the name."
    ),
    "voice.refused": (
        "Only somebody who was in the call, or a moderator of the room, can say whose voice "
        "that is. Please ask one of them."
    ),
    "voice.done": "{voice} is {name}, in this call only. I change its messages and documents.",
    "my_words.argument": (
        "Type {prefix} my-words export for what I have written down of you in this room, or "
        "{prefix} my-words delete to have it deleted."
    ),
    "my_words.none": "I have nothing written down of you in this room.",
    "my_words.deleted": (
        "Deleted: {count} things you said, in the room, in the documents and in my records "
        "on {server}."
    ),
}
