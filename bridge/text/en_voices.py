"""English sentences about microphones that several people share."""

from __future__ import annotations

VOICES: dict[str, str] = {
    "room_mic.on": (
        "{name} is a room with several people at one microphone: their voices are told apart as "
        "“voice 1”, “voice 2”… While they speak this is a guess; it is looked at again at the end."
    ),
    "room_mic.without": (
        "The server {server} cannot tell voices apart, so what people say at its microphones goes "
        "under one name. Its administrator can change that: setting diarization.model_dir."
    ),
    "room_mic.off": "{name} is one person at one microphone again.",
    "room_mic.now": "Shared microphones: {names}.",
    "room_mic.none": "No microphone is marked as shared.",
    "room_mic.argument": (
        "Type {prefix} room-mic @name on where several people share that person’s microphone, "
        "{prefix} room-mic @name off where not; without a name it is your own."
    ),
    "room_mic.many": "So many microphones cannot be marked as shared; take one back first.",
    "wish.not_people": "“{field}” must be a list of Matrix ids such as @name:server.",
}
