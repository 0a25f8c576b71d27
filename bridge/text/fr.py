"""French sentences."""

from __future__ import annotations

from bridge.text.fr_documents import DOCUMENTS
from bridge.text.fr_speech import SPEECH
from bridge.text.fr_summary import SUMMARY
from bridge.text.fr_voices import VOICES

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
    "card.moved": "📞 La carte de cet appel est plus bas.",
    "card.running": "📞 Visioconférence en cours",
    "card.ended": "📞 Visioconférence terminée",
    "card.started_by": "Lancée par {name} à {time}",
    "card.join": "Rejoindre dans le navigateur ({site}) : {link}",
    "card.join_here": "Rejoindre dans le navigateur ({site})",
    "card.join_client": "Ou dans Element : ouvrez ce salon et utilisez le bouton d’appel.",
    "card.waiting": "En salle d’attente : {names}",
    "card.locked": "🔒 L’appel est verrouillé : plus personne de nouveau n’entre.",
    "card.lobby": "Les nouveaux passent par la salle d’attente.",
    "card.unanswered": "N’ont pas répondu : {names}",
    "card.present": "En ligne : {names} ({people})",
    "card.nobody": "Personne n’est encore en ligne.",
    "card.took_part": "Ont participé : {names} ({people}, {servers})",
    "card.no_one_came": "Personne n’a rejoint l’appel.",
    "card.lasted": "Durée : {duration}",
    "card.captions": "Sous-titres : {state}",
    "card.captions_here": "Sous-titres à côté de l’appel",
    "card.captions_beside": "Sous-titres à côté de l’appel : {link}",
    "card.transcript": "Transcription : {state}",
    "card.transcript_notice": "Ce qui est dit est transcrit dans le fil ci-dessous.",
    "card.recorded": "Transcription dans le fil : {utterances}",
    "card.expired": (
        "La transcription a été supprimée : la durée pendant laquelle ce salon la garde est passée."
    ),
    "card.more": "{names} et {count} autres",
    **DOCUMENTS,
    **SUMMARY,
    **SPEECH,
    **VOICES,
    # Answers to commands
    "hello": "Bonjour, je lance des visioconférences dans ce salon ; tapez {prefix} help.",
    "hello.direct": (
        "Avec moi, vos clients vous comptent à trois : votre bouton d’appel peut ne plus sonner. "
        "{prefix} démarrer fait sonner ; si je ne vous sers pas ici, retirez-moi du salon."
    ),
    "hello.encrypted": (
        "Bonjour ; ce salon est chiffré et je ne peux pas y lire de commandes : lancez l’appel "
        "avec le bouton d’appel. Pour l’aide, dans un salon non chiffré : {prefix} help."
    ),
    "encrypted.unreadable": (
        "{name}, je ne peux pas lire votre message chiffré : sa clé ne m’est pas parvenue. "
        "Renvoyez-le ; si cela ne suffit pas, déconnectez-vous de votre application puis "
        "reconnectez-vous, ou utilisez le bouton d’appel."
    ),
    "help": (
        "Ce que vous pouvez taper :\n"
        "\n"
        "L’appel\n"
        "{prefix} démarrer : lancer l’appel\n"
        "{prefix} sonner : appeler tout le monde de nouveau, ou {prefix} sonner @nom\n"
        "{prefix} inviter @nom : inviter dans ce salon et appeler\n"
        "{prefix} terminer : terminer l’appel pour tous\n"
        "{prefix} qui : qui est en ligne\n"
        "{prefix} état : où en est l’appel\n"
        "\n"
        "Ce qui est écrit\n"
        "{prefix} sous-titres on / off : sous-titres à l’écran\n"
        "{prefix} panneau : sous-titres à côté de l’appel (oui / non : dans ce salon)\n"
        "{prefix} transcription on / off : ce qui est dit, dans ce salon\n"
        "{prefix} résumé : faire résumer l’appel par une machine ; {prefix} résumé on / off\n"
        "{prefix} micro partagé @nom oui / non : plusieurs personnes partagent ce micro\n"
        "{prefix} exporter odt : le document de l’appel (md, odt, docx, vtt, srt, json, csv)\n"
        "{prefix} langue fr / en : langue de mes phrases\n"
        "{prefix} langue parlée fr : langue dans laquelle on parle\n"
        "{prefix} corriger texte : en réponse à une intervention, ou simplement s/faux/juste/\n"
        "{prefix} supprimer : en réponse, supprimer ce qui a été transcrit\n"
        "{prefix} voix V1 est nom : qui parle à un micro partagé\n"
        "{prefix} mes-paroles export / supprimer : ce qui est transcrit de vous ici\n"
        "{prefix} langue parlée moi fr, ou @nom fr : langue d’une seule personne\n"
        "{prefix} me transcrire non / oui : pas ce que vous dites\n"
        "\n"
        "Qui peut participer\n"
        "{prefix} verrouiller / déverrouiller : plus personne n’entre, ou tous de nouveau\n"
        "{prefix} salle d’attente on / off : les nouveaux attendent qu’on les laisse entrer\n"
        "{prefix} parole modérateurs / tous : qui peut parler et se montrer\n"
        "{prefix} maximum 20 / aucun : combien de personnes à la fois\n"
        "{prefix} admettre @nom : laisser entrer qui attend\n"
        "{prefix} couper le micro @nom : couper son micro\n"
        "{prefix} retirer @nom : hors de cet appel (pas du salon)\n"
        "\n"
        "En anglais : {prefix} help"
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
    "hangup.weak": (
        "J’ai terminé l’appel, mais je ne peux pas empêcher les clients d’y revenir d’eux-mêmes "
        "(il me faudrait le niveau {level}, pour changer les niveaux un instant). "
        "Si vous y êtes encore, raccrochez."
    ),
    "hangup.stuck": (
        "Pour terminer l’appel, j’ai relevé le niveau de {event_type} dans ce salon, et je n’ai "
        "plus le droit de le remettre. Un modérateur doit le remettre à {before} dans les niveaux "
        "du salon, sinon personne ne peut appeler (il me faudrait le niveau {level})."
    ),
    "status.none": (
        "Aucun appel en cours. Sous-titres : {captions}. Transcription : {transcript}. "
        "Entrée : {entry}."
    ),
    "status.running": (
        "Appel en cours depuis {duration} : {people} en ligne. "
        "Sous-titres : {captions}. Transcription : {transcript}. Entrée : {entry}. {link}"
    ),
    "entry.open": "ouverte aux membres",
    "entry.lobby": "par la salle d’attente",
    "entry.locked": "verrouillée",
    "who.none": "Personne n’est en ligne.",
    "who.some": "En ligne ({people}) : {names}",
    "switch.argument": "Tapez {prefix} {command} on, ou {prefix} {command} off.",
    "setting.refused": (
        "Seuls un modérateur du salon ou la personne qui a lancé l’appel peuvent changer cela. "
        "Demandez-le à l’un d’eux."
    ),
    "captions.now": "Sous-titres : {state}.",
    "captions.on": (
        "Les sous-titres sont activés : ce qui est dit s’affiche à l’écran et n’est pas gardé."
    ),
    "captions.off": "Les sous-titres sont désactivés.",
    "captions.encrypted": (
        "Ce salon est chiffré, et le son de ses appels aussi : je n’y affiche pas de sous-titres. "
        "L’administrateur de {server} peut activer le chiffrement pour moi."
    ),
    "panel.name": "Sous-titres",
    "panel.link": "Les sous-titres à côté de l’appel, pour les membres de ce salon : {link}",
    "panel.argument": (
        "Pour les avoir dans ce salon, dans Element sur ordinateur : {prefix} panneau oui. Pour "
        "les en retirer : {prefix} panneau non."
    ),
    "panel.on": (
        "Le panneau de sous-titres est dans ce salon : dans Element sur ordinateur, ouvrez les "
        "informations du salon et choisissez-le parmi les extensions. Pour le retirer : "
        "{prefix} panneau non."
    ),
    "panel.off": "Le panneau de sous-titres n’est plus dans ce salon.",
    "panel.refused": (
        "Seules les personnes qui ont le niveau de pouvoir {level} dans ce salon peuvent y mettre "
        "le panneau ou l’en retirer. Adressez-vous à l’une d’elles ; {prefix} panneau en donne "
        "l’adresse à tout le monde."
    ),
    "panel.power": (
        "Je n’en ai pas le droit : il me faut le niveau de pouvoir {level} dans ce salon (pour "
        "{event_type}). Un modérateur peut me le donner dans les paramètres du salon ; {prefix} "
        "panneau donne quand même l’adresse des sous-titres."
    ),
    "panel.forbidden": (
        "Ce service ne montre pas de sous-titres à côté des appels de ce salon. Ils sont sur la "
        "page de visioconférence ; l’administrateur de {server} peut changer cela."
    ),
    "transcript.now": "Transcription : {state}.",
    "transcript.on": "La transcription est activée : ce qui est dit sera écrit dans ce salon.",
    "transcript.off": "La transcription est désactivée.",
    "transcript.encrypted": (
        "Ce salon est chiffré, et le son de ses appels aussi : je n’y écris pas de transcription. "
        "L’administrateur de {server} peut activer le chiffrement pour moi."
    ),
    "export.none": (
        "Il n’y a pas encore d’appel transcrit à exporter ici : activez la transcription avec "
        "{prefix} transcription on, puis lancez un appel."
    ),
    "export.unknown": (
        "Aucun appel n’est connu sous {what}. Donnez l’identifiant d’un salon ou d’un appel."
    ),
    "export.empty": (
        "Rien n’a été transcrit pendant cet appel ; {prefix} export csv donne la présence."
    ),
    "export.waiting": (
        "Plusieurs documents attendent déjà d’être postés ici : redemandez quand ils y seront."
    ),
    "export.argument": (
        "Je ne connais pas « {word} ». Tapez {prefix} export et une forme : {forms} ; ajoutez "
        "« avec le tchat » pour les messages écrits pendant l’appel."
    ),
    "export.reading": "Je relis les messages écrits pendant l’appel, puis je poste le document.",
    "language.now": "Ma langue : {language_now}. Langue parlée : {spoken}.",
    "language.argument": (
        "Tapez {prefix} langue fr ou {prefix} langue en pour mes phrases, "
        "{prefix} langue parlée fr pour la langue dans laquelle on parle, "
        "{prefix} langue parlée moi fr pour la vôtre."
    ),
    "language.set": "J’écris désormais en français dans ce salon.",
    "language.spoken_set": "J’écoute maintenant la langue {spoken}.",
    "locked.on": (
        "L’appel est verrouillé : plus personne de nouveau n’entre ; qui y était peut revenir. "
        "Pour l’ouvrir : {prefix} déverrouiller."
    ),
    "locked.off": "L’appel est de nouveau ouvert aux membres de ce salon.",
    "lobby.now": "Salle d’attente : {state}.",
    "lobby.on": (
        "La salle d’attente est activée : les nouveaux attendent que quelqu’un tape "
        "{prefix} admettre et leur nom."
    ),
    "lobby.off": "La salle d’attente est désactivée : les membres du salon entrent directement.",
    "publish.now_everyone": "Parole : tous.",
    "publish.now_moderators": "Parole : modérateurs.",
    "publish.argument": "Tapez {prefix} parole tous, ou {prefix} parole modérateurs.",
    "publish.everyone": "Tous peuvent parler et se montrer.",
    "publish.moderators": (
        "Seuls les modérateurs du salon et la personne qui a lancé l’appel peuvent parler et se "
        "montrer ; les autres écoutent. Pour rendre la parole à tous : {prefix} parole tous."
    ),
    "max.now": "Maximum : {count} personnes à la fois.",
    "max.now_none": "Maximum : aucun.",
    "max.argument": ("Tapez {prefix} maximum et un nombre, 2 ou plus, ou {prefix} maximum aucun."),
    "max.set": (
        "Au plus {count} personnes à la fois : au-delà, plus personne n’entre ; personne n’est "
        "mis dehors. Pour lever la limite : {prefix} maximum aucun."
    ),
    "max.none": "Le nombre de personnes n’est plus limité.",
    "person.missing": "Qui ? Tapez {prefix} {command} et son nom, ou @nom:serveur.",
    "person.unknown": (
        "Je ne connais personne appelé « {word} » dans ce salon. Tapez son identifiant complet : "
        "{prefix} {command} @nom:serveur."
    ),
    "person.ambiguous": (
        "Plusieurs membres s’appellent « {word} » : {ids}. "
        "Tapez {prefix} {command} et l’un de ces identifiants."
    ),
    "person.several": (
        "Une personne à la fois : {ids}. Tapez {prefix} {command} et un seul identifiant."
    ),
    "person.absent": "{name} n’est pas dans l’appel ici. {prefix} qui dit qui est en ligne.",
    "moderate.refused": (
        "Seuls un modérateur du salon ou la personne qui a lancé l’appel peuvent faire cela, et "
        "pas à quelqu’un qui a plus de pouvoir dans le salon. Demandez à un modérateur."
    ),
    "moderate.elsewhere": (
        "{name} participe à l’appel par le serveur {site}, qui n’a pas donné suite. "
        "Demandez à un modérateur dont le compte est sur {site}."
    ),
    "admit.done": "{name} peut maintenant entrer dans l’appel.",
    "mute.done": "Le micro de {name} est coupé. Cette personne peut le rouvrir.",
    "mute.nothing": "{name} n’a pas de micro ouvert.",
    "remove.done": (
        "{name} est hors de cet appel et n’y revient pas, sauf si quelqu’un tape "
        "{prefix} inviter {user_id}. Cette personne reste membre du salon."
    ),
    "remove.later": (
        "{name} n’a plus sa place dans cet appel ; le serveur de visioconférence ne répond pas "
        "encore, la déconnexion se fera dès qu’il répond. Cette personne reste membre du salon."
    ),
    "ring.one": "J’appelle {name}.",
    "ring.already": "Cela sonne déjà. Si personne ne répond, réessayez dans une minute.",
    "ring.nobody": "Il n’y a personne à appeler : tous sont en ligne, ou le salon est vide.",
    "ring.present": "{name} est déjà dans l’appel.",
    "ring.no_member": (
        "{name} n’est pas dans ce salon. Pour l’inviter et l’appeler : {prefix} inviter {user_id}."
    ),
    "ring.refused": (
        "Ce salon a plus de {most} personnes : les faire toutes sonner demande le droit de "
        "prévenir tout le monde (@room), à vous et à moi. Pour une personne : {prefix} sonner @nom."
    ),
    "ring.missed": "📞 Appel manqué : personne n’a répondu. Pour rappeler : {prefix} sonner.",
    "ring.missed_by": "📞 {name} n’a pas répondu. Pour rappeler : {prefix} sonner {name}.",
    "card.declined": "Ont décliné : {names}",
    "invite.member": "{name} est membre de ce salon et peut rejoindre l’appel.",
    "invite.done": "J’ai invité {name} dans ce salon.",
    "invite.refused": (
        "Vous n’avez pas le droit d’inviter dans ce salon. Demandez à un modérateur."
    ),
    "invite.powerless": (
        "Je n’ai pas le droit d’inviter dans ce salon : invitez vous-même, ou donnez-moi ce droit."
    ),
    "invite.impossible": (
        "Le serveur refuse d’inviter {name}. Vérifiez l’identifiant (@nom:serveur) et que cette "
        "personne n’est pas bannie du salon."
    ),
    # What goes wrong
    "power.missing": (
        "Je n’ai pas le droit d’écrire l’état de ce salon (il me faut le niveau {level}) ; "
        "les commandes {prefix} fonctionnent quand même."
    ),
    "wish.problem": "Le réglage de visioconférence du salon contient une erreur : {problem}",
    "wish.not_object": "ce n’est pas un objet.",
    "wish.not_bool": "« {field} » doit être vrai ou faux (true, false).",
    "wish.not_count": "« {field} » doit être un nombre entier, 2 ou plus.",
    "wish.not_choice": "« {field} » doit être l’un de : {choices}. J’applique le plus strict.",
    "wish.not_language": "« {field} » doit être l’une des langues {choices}.",
    "wish.not_tag": "« {field} » doit être un code de langue tel que fr ou en-GB.",
    "scribe.encrypted": (
        "Dans cet appel chiffré, une transcription est à l’écoute, à la demande de ce salon : elle "
        "participe à l’appel, vos appareils lui donnent les clés, et elle déchiffre ce qui est dit "
        "sur le serveur {server}. Le chiffrement de bout en bout du son s’arrête là. Ce qu’elle "
        "écrit dans ce salon est chiffré. Pour y mettre fin : {prefix} transcription off et "
        "{prefix} sous-titres off."
    ),
    "scribe.unasked": (
        "Cet appel est chiffré : rien n’est transcrit tant que ce salon ne le demande pas "
        "({prefix} transcription on). Le serveur {server} reçoit alors les clés de l’appel."
    ),
    "scribe.no_key": (
        "Il me manque la clé du son d’une personne dans cet appel chiffré : ce qu’elle dit n’est "
        "pas transcrit. Qu’elle quitte l’appel et y revienne ; si cela ne suffit pas, son client "
        "refuse peut-être ses clés aux appareils non vérifiés."
    ),
    "scribe.no_member": (
        "Je n’ai pas le droit de participer aux appels de ce salon : personne ne me donne les "
        "clés, et rien n’est transcrit. Donnez-moi le droit d’envoyer les événements "
        "org.matrix.msc3401.call.member, ou arrêtez la transcription : {prefix} transcription off."
    ),
    "scribe.interrupted": (
        "La transcription a été interrompue de {since} à {until} de l’appel : ce qui a été dit "
        "alors manque. La personne qui parlait peut le répéter, ou l’écrire ici."
    ),
    "scribe.failed": "La transcription ne fonctionne pas pour le moment ; je continue d’essayer.",
    "failed.command": "Je n’ai pas pu traiter « {command} » (référence {reference}).",
    "failed.event": "Un événement de l’appel n’a pas pu être traité (référence {reference}).",
    # Doors: what a person reads in a client or on the join page
    "not_member": "Vous n’êtes pas membre de ce salon.",
    "room_closed": "Ce salon a été remplacé par un autre : rejoignez l’appel dans le nouveau.",
    "no_bot": (
        "Ce service ne tient pas d’appel dans ce salon : invitez-y d’abord le robot de "
        "visioconférence."
    ),
    "call_ended": (
        "Cet appel vient d’être terminé. Pour en lancer un autre, réessayez dans dix secondes."
    ),
    "removed": (
        "Vous avez été retiré de cet appel. Un modérateur du salon peut vous y inviter de nouveau."
    ),
    "locked": "Cet appel est verrouillé : un modérateur du salon peut le rouvrir.",
    "waiting": "En attente : un modérateur du salon doit vous laisser entrer dans l’appel.",
    "full": "Cet appel est complet. Réessayez quand quelqu’un l’aura quitté.",
    "lobby.knocked": (
        "{name} ({user_id}) attend à l’entrée de l’appel. "
        "Pour laisser entrer cette personne : {prefix} admit {user_id}"
    ),
    "server_not_admitted": "Ce service n’est pas ouvert aux comptes du serveur {server}.",
    "too_many_calls": "Le robot participe déjà à trop d’appels ; réessayez un peu plus tard.",
    "homeserver_unavailable": "Le serveur Matrix ne répond pas ; réessayez dans un instant.",
    "media_unavailable": "Le serveur de visioconférence ne répond pas ; réessayez dans un instant.",
    "scribe_unavailable": "La transcription n’est pas disponible pour le moment.",
    # Corrections, deletions, voices
    "correct.argument": (
        "Pour corriger ce qui a été transcrit, répondez à ce message par {prefix} corriger "
        "suivi du bon texte, ou par s/faux/juste/."
    ),
    "correct.target": (
        "Ce n’est pas une intervention d’une de mes transcriptions, ou elle a été supprimée. "
        "Répondez au message à corriger par {prefix} corriger suivi du bon texte."
    ),
    "correct.refused": (
        "Seul(e) {name}, la personne qui a lancé l’appel ou un modérateur du salon peut "
        "corriger ceci. Adressez-vous à l’un d’eux."
    ),
    "correct.absent": (
        "« {word} » n’est pas dans ce message. Recopiez-le exactement comme il y est écrit."
    ),
    "correct.several": (
        "« {word} » est {count} fois dans ce message. Ajoutez un mot avant ou après, ou "
        "terminez par /g pour tout remplacer."
    ),
    "correct.done": "Corrigé. Les documents de l’appel sont refaits.",
    "delete.argument": (
        "Pour supprimer ce qui a été transcrit, répondez à ce message par {prefix} supprimer."
    ),
    "delete.target": (
        "Ce n’est pas une intervention d’une de mes transcriptions, ou elle est déjà "
        "supprimée. Répondez au message à supprimer par {prefix} supprimer."
    ),
    "delete.refused": (
        "Seul(e) {name}, ou une personne qui peut retirer des messages dans ce salon, peut "
        "supprimer ceci. Adressez-vous à un modérateur."
    ),
    "delete.done": (
        "Supprimé, dans le salon, dans les documents et dans mes archives. Les documents "
        "sont refaits sans cela."
    ),
    "voice.argument": (
        "Répondez à une phrase de cette voix par {prefix} voix est suivi du nom, ou écrivez "
        "{prefix} voix V1 est suivi du nom."
    ),
    "voice.target": (
        "Ce n’est pas une intervention d’une de mes transcriptions, ou elle a été supprimée. "
        "Répondez à une phrase de la voix par {prefix} voix est suivi du nom."
    ),
    "voice.none": (
        "Cela n’a pas été dit à un micro à plusieurs voix, ou pas par celle-là. Répondez à "
        "une phrase de la voix par {prefix} voix est suivi du nom."
    ),
    "voice.unknown": (
        "Le dernier appel n’a pas de voix {voice}. Répondez à une phrase de la voix par "
        "{prefix} voix est suivi du nom."
    ),
    "voice.several": (
        "Plusieurs micros ont une voix {voice}. Répondez à une de ses phrases par {prefix} "
        "voix est suivi du nom."
    ),
    "voice.refused": (
        "Seule une personne présente à l’appel, ou un modérateur du salon, peut dire à qui "
        "est cette voix. Adressez-vous à l’une d’elles."
    ),
    "voice.done": (
        "{voice} est {name}, pour cet appel seulement. Je modifie ses messages et les documents."
    ),
    "my_words.argument": (
        "Écrivez {prefix} mes-paroles export pour obtenir ce que j’ai transcrit de vous dans "
        "ce salon, ou {prefix} mes-paroles supprimer pour le faire supprimer."
    ),
    "my_words.none": "Je n’ai rien transcrit de vous dans ce salon.",
    "my_words.deleted": (
        "Supprimé : {count} de vos interventions, dans le salon, dans les documents et dans "
        "mes archives sur {server}."
    ),
}
