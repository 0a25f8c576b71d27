"""English words of the documents of a record."""

from __future__ import annotations

DOCUMENTS: dict[str, str] = {
    "document.title": "Video conference",
    "document.heading": "Transcript: {title}",
    "document.label": "{label}: ",
    "document.room": "Room",
    "document.date": "Date",
    "document.date_form": "%Y-%m-%d, %H:%M",
    "document.time_form": "%H:%M",
    "document.from_to": "{began} to {ended} ({zone})",
    "document.duration": "Duration",
    "document.participants": "Participants",
    "document.conversation": "Conversation",
    "document.nothing": "No speech was transcribed.",
    "document.overlap": "at the same time",
    "document.corrected": "corrected",
    "document.written": "chat",
    "document.notice": "Text written by a machine: it may contain errors.",
    "document.engine": "Speech recognition",
    "document.corrections": "Corrected by",
    "document.interruption": (
        "Transcript interrupted from {since} to {until}: what was said is missing."
    ),
    "document.missing": "Missing is what was said at",
    "document.chat": "Chat",
    "document.chat_whole": "messages written during the call stand at their time",
    "document.chat_unread": (
        "messages written during the call stand at their time; {count} are missing, "
        "I could not read them"
    ),
    "document.name": "Name",
    "document.account": "Account",
    "document.server": "Server",
    "document.presence": "Present",
    "document.talk_time": "Time spoken",
    "document.stay": "{began} to {ended}",
    "document.spoke": "spoke {time}",
    "document.was_there": "present {times}",
    "document.then": "; ",
    "document.attendance_hint": (
        "Who took part in the call, from when to when, and how long each of them spoke."
    ),
}
