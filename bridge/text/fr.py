"""French sentences."""

from __future__ import annotations

SENTENCES: dict[str, str] = {
    # Small words
    "on": "activé",
    "off": "désactivé",
    "people.none": "personne",
    "people.one": "1 personne",
    "people.many": "{count} personnes",
    "servers.none": "aucun serveur",
    "servers.one": "1 serveur",
    "servers.many": "{count} serveurs",
    "utterances.none": "aucune intervention",
    "utterances.one": "1 intervention",
    "utterances.many": "{count} interventions",
    "duration.seconds": "{seconds} s",
    "duration.minutes": "{minutes} min",
    "duration.hours": "{hours} h {minutes} min",
    # The call card
    "card.running": "📞 Visioconférence en cours",
    "card.ended": "📞 Visioconférence terminée",
    "card.started_by": "Lancée par {name}",
    "card.join": "Rejoindre : {link}",
    "card.join_here": "Rejoindre dans le navigateur",
    "card.present": "En ligne : {names} ({people})",
    "card.nobody": "Personne n’est encore en ligne.",
    "card.took_part": "Ont participé : {names} ({people}, {servers})",
    "card.no_one_came": "Personne n’a rejoint l’appel.",
    "card.lasted": "Durée : {duration}",
    "card.captions": "Sous-titres : {state}",
    "card.transcript": "Transcription : {state}",
    "card.transcript_notice": "Ce qui est dit est transcrit dans le fil ci-dessous.",
    "card.recorded": "Transcription dans le fil : {utterances}",
    "card.more": "{names} et {count} autres",
    # Documents
    "document.title": "Visioconférence",
    # Answers to commands
    "hello": "Bonjour, je lance des visioconférences dans ce salon ; tapez {prefix} help.",
    "hello.encrypted": (
        "Bonjour ; ce salon est chiffré et je ne peux pas y lire de commandes : lancez l’appel "
        "avec le bouton d’appel. Pour l’aide, dans un salon non chiffré : {prefix} help."
    ),
    "help": (
        "Commandes :\n"
        "{prefix} start : lancer l’appel (démarrer)\n"
        "{prefix} stop : terminer l’appel (arrêter)\n"
        "{prefix} status : où en est l’appel (état)\n"
        "{prefix} who : qui est en ligne (qui)\n"
        "{prefix} transcript on / off : transcrire ce qui est dit, ou non (transcription)\n"
        "{prefix} help : cette aide (aide)"
    ),
    "command.unknown": "Je ne connais pas la commande « {word} ». Tapez {prefix} help.",
    "command.near": "Je ne connais pas la commande « {word} » ; vouliez-vous {prefix} {near} ?",
    "start.already": "Un appel est déjà en cours : {link}",
    "start.too_old": (
        "Votre demande date de {age} (je n’étais pas joignable) : je ne lance pas l’appel. "
        "Redemandez si vous le souhaitez toujours."
    ),
    "start.server_refused": "Ce service n’est pas ouvert aux comptes du serveur {server}.",
    "stop.none": "Aucun appel n’est en cours.",
    "stop.refused": (
        "Seule la personne qui a lancé l’appel, ou un modérateur du salon, peut le terminer."
    ),
    "status.none": "Aucun appel en cours. Sous-titres : {captions}. Transcription : {transcript}.",
    "status.running": (
        "Appel en cours depuis {duration} : {people} en ligne. "
        "Sous-titres : {captions}. Transcription : {transcript}. {link}"
    ),
    "who.none": "Personne n’est en ligne.",
    "who.some": "En ligne ({people}) : {names}",
    "transcript.now": "Transcription : {state}.",
    "transcript.on": "La transcription est activée : ce qui est dit sera écrit dans ce salon.",
    "transcript.off": "La transcription est désactivée.",
    "transcript.refused": (
        "Seuls un modérateur du salon ou la personne qui a lancé l’appel peuvent changer "
        "la transcription."
    ),
    "transcript.encrypted": (
        "Ce salon est chiffré : je n’y écris pas de transcription, elle ne le serait pas."
    ),
    "transcript.argument": "Tapez {prefix} transcript on, ou {prefix} transcript off.",
    # What goes wrong
    "power.missing": (
        "Je n’ai pas le droit d’écrire l’état de ce salon (il me faut le niveau {level}) ; "
        "les commandes {prefix} fonctionnent quand même."
    ),
    "wish.problem": "Le réglage de visioconférence du salon contient une erreur : {problem}",
    "wish.not_object": "ce n’est pas un objet.",
    "wish.not_bool": "« {field} » doit être vrai ou faux (true, false).",
    "wish.not_language": "« {field} » doit être l’une des langues {choices}.",
    "wish.not_tag": "« {field} » doit être un code de langue tel que fr ou en-GB.",
    "scribe.failed": "La transcription ne fonctionne pas pour le moment ; je continue d’essayer.",
    "failed.command": "Je n’ai pas pu traiter « {command} » (référence {reference}).",
    "failed.event": "Un événement de l’appel n’a pas pu être traité (référence {reference}).",
    # Doors: what a person reads in a client or on the join page
    "not_member": "Vous n’êtes pas membre de ce salon.",
    "server_not_admitted": "Ce service n’est pas ouvert aux comptes du serveur {server}.",
    "too_many_calls": "Le robot participe déjà à trop d’appels ; réessayez un peu plus tard.",
    "homeserver_unavailable": "Le serveur Matrix ne répond pas ; réessayez dans un instant.",
    "media_unavailable": "Le serveur de visioconférence ne répond pas ; réessayez dans un instant.",
    "scribe_unavailable": "La transcription n’est pas disponible pour le moment.",
}
