"""French words of the documents of a record."""

from __future__ import annotations

DOCUMENTS: dict[str, str] = {
    "document.title": "Visioconférence",
    "document.heading": "Transcription\u00a0: {title}",
    "document.label": "{label}\u00a0: ",
    "document.room": "Salon",
    "document.date": "Date",
    "document.date_form": "%d/%m/%Y, %Hh%M",
    "document.time_form": "%Hh%M",
    "document.from_to": "{began} à {ended} ({zone})",
    "document.duration": "Durée",
    "document.participants": "Participants",
    "document.conversation": "Échanges",
    "document.nothing": "Aucune parole n’a été transcrite.",
    "document.overlap": "en même temps",
    "document.corrected": "corrigé",
    "document.written": "tchat",
    "document.notice": "Texte produit par une machine\u202f: il peut contenir des erreurs.",
    "document.engine": "Reconnaissance vocale",
    "document.corrections": "Corrigé par",
    "document.interruption": (
        "Transcription interrompue de {since} à {until}\u202f: ce qui a été dit manque."
    ),
    "document.missing": "Manque ce qui a été dit chez",
    "document.chat": "Tchat",
    "document.chat_whole": "les messages écrits pendant l’appel sont repris à leur heure",
    "document.chat_unread": (
        "les messages écrits pendant l’appel sont repris à leur heure\u202f; {count} manquent, "
        "je n’ai pas pu les lire"
    ),
    "document.name": "Nom",
    "document.account": "Compte",
    "document.server": "Serveur",
    "document.presence": "Présence",
    "document.talk_time": "Temps de parole",
    "document.stay": "{began} à {ended}",
    "document.spoke": "a parlé {time}",
    "document.was_there": "présence {times}",
    "document.then": "\u202f; ",
    "document.attendance_hint": (
        "Qui a pris part à l’appel, de quelle heure à quelle heure, et combien de temps chacun "
        "a parlé."
    ),
}
