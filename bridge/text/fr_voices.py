"""French sentences about microphones that several people share."""

from __future__ import annotations

VOICES: dict[str, str] = {
    "room_mic.on": (
        "{name} est une salle où plusieurs personnes partagent un micro : leurs voix sont "
        "distinguées, « voix 1 », « voix 2 »… Pendant qu’elles parlent, c’est une estimation ; "
        "elle est revue à la fin."
    ),
    "room_mic.without": (
        "Le serveur {server} ne sait pas distinguer les voix : ce qui se dit à ses micros reste "
        "sous un seul nom. Son administrateur peut y remédier : réglage diarization.model_dir."
    ),
    "room_mic.off": "{name} est de nouveau une seule personne devant son micro.",
    "room_mic.now": "Micros partagés : {names}.",
    "room_mic.none": "Aucun micro n’est signalé comme partagé.",
    "room_mic.argument": (
        "Tapez {prefix} micro partagé @nom oui si plusieurs personnes partagent le micro de cette "
        "personne, {prefix} micro partagé @nom non sinon ; sans nom, c’est le vôtre."
    ),
    "room_mic.many": (
        "Tant de micros ne peuvent pas être signalés comme partagés ; retirez-en un d’abord."
    ),
    "wish.not_people": (
        "« {field} » doit être une liste d’identifiants Matrix tels que @nom:serveur."
    ),
}
