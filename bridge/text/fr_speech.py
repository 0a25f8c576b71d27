"""Les phrases sur l’écoute : langues, consentement, moteurs."""

from __future__ import annotations

SPEECH: dict[str, str] = {
    "who.opted_out": "Non transcrites, à leur demande : {names}",
    "language.person_set": "J’écoute désormais {name} dans la langue {spoken}.",
    "language.person_none": "J’écoute de nouveau {name} dans la langue du salon : {spoken}.",
    "language.too_many": (
        "Ce salon a réglé la langue de trop de personnes. Réglez plutôt celle du salon : "
        "{prefix} langue parlée fr."
    ),
    "language.unknown": (
        "Aucune reconnaissance vocale du serveur {server} ne connaît la langue {spoken} : ce qui "
        "s’y dit n’est pas écrit ici. Demandez-en une à l’administrateur de {server}, ou "
        "choisissez une autre langue."
    ),
    "opted.argument": (
        "Écrivez {prefix} me transcrire non : rien de ce que vous dites n’est plus écrit ni "
        "sous-titré dans ce salon ; {prefix} me transcrire non partout : dans aucun salon ; "
        "{prefix} me transcrire oui : de nouveau."
    ),
    "opted.out": (
        "Désormais, rien de ce que dit {name} dans ce salon n’est écrit ni sous-titré. "
        "Ce qui a été écrit avant reste jusqu’à ce que sa suppression soit demandée. "
        "Pour revenir en arrière : {prefix} me transcrire oui."
    ),
    "opted.out_everywhere": (
        "Désormais, rien de ce que dit {name} n’est écrit ni sous-titré par ce service, dans "
        "aucun salon. Ce qui a été écrit avant reste jusqu’à ce que sa suppression soit demandée. "
        "Pour revenir en arrière : {prefix} me transcrire oui partout."
    ),
    "opted.in": "Ce que dit {name} peut de nouveau être écrit et sous-titré.",
    "opted.still": (
        "{name} a choisi de ne l’être nulle part : rien n’est donc écrit ici non plus. "
        "Pour revenir en arrière : {prefix} me transcrire oui partout."
    ),
    "wish.not_languages": (
        "« {field} » doit nommer des personnes par leur identifiant et, pour chacune, un code de "
        "langue comme fr ou en-GB."
    ),
    # Avant que quoi que ce soit soit écouté, et ce qu'il en advient
    "consent.captions": (
        "Ce qui se dit dans cet appel s’affiche en sous-titres, pour que chacun puisse suivre. "
        "Rien n’en est conservé. {engine} "
        "Pas vous : {prefix} me transcrire non. Pour tout arrêter : {prefix} sous-titres off."
    ),
    "consent.transcript": (
        "Ce qui se dit dans cet appel est écrit dans ce salon, pour en garder la trace. {kept} "
        "{engine} "
        "Pas vous : {prefix} me transcrire non. Pour tout arrêter : {prefix} transcription off."
    ),
    "consent.kept": "Le texte est conservé jusqu’à ce que ce salon le supprime.",
    "consent.kept_days": "Le texte est supprimé après {days} jours.",
    "engine.here": "La parole est reconnue sur le serveur de cette organisation, {server}.",
    "engine.ours": "La parole est reconnue sur le serveur de cette organisation, {hosts}.",
    "engine.outside": "Pour reconnaître la parole, le son est envoyé au service {hosts}.",
    "scribe.engine_simple": (
        "La meilleure reconnaissance vocale ne répond pas ; une plus simple écrit à sa place, "
        "avec plus de fautes. Je continue de demander la meilleure."
    ),
    "scribe.engine_down": (
        "La reconnaissance vocale ne répond pas : ce qui se dit maintenant manque dans le texte, "
        "où […] le remplace. Je continue d’essayer ; si cela dure, prévenez l’administrateur de "
        "{server}."
    ),
    "scribe.engine_back": "La reconnaissance vocale fonctionne de nouveau normalement.",
    "scribe.language": (
        "Aucune reconnaissance vocale du serveur {server} ne connaît une langue réglée ici : ce "
        "qui s’y dit n’est pas écrit. Pour en régler une autre : {prefix} langue parlée fr."
    ),
}
