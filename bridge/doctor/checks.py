"""The path of a call, check by check. A name's first part is its section in the report."""

from __future__ import annotations

from bridge.doctor import (
    configuration,
    doors,
    engines,
    federation,
    finding_us,
    homeserver,
    media,
    parts,
    room,
    sealed,
    voices,
    web,
)
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Check

CHECKS: tuple[Check[Visit], ...] = (
    Check("config.readable", configuration.readable),
    Check("config.addresses", configuration.addresses, ("config.readable",)),
    Check("config.disk", configuration.disk, ("config.readable",)),
    Check("config.database", configuration.database, ("config.readable",)),
    Check("config.key", configuration.media_key, ("config.readable",)),
    Check("registration.readable", configuration.registered, ("config.readable",)),
    Check("registration.complete", configuration.complete, ("registration.readable",)),
    Check("bridge.web", parts.running, ("config.readable",)),
    Check("bridge.appservice", parts.appservice, ("registration.readable",)),
    Check("homeserver.reachable", homeserver.reachable, ("registration.readable",)),
    Check("homeserver.version", homeserver.version, ("homeserver.reachable",)),
    Check("homeserver.token", homeserver.token, ("homeserver.reachable",)),
    Check("homeserver.bot", homeserver.bot, ("homeserver.token",)),
    Check("homeserver.features", homeserver.features, ("homeserver.token",)),
    Check(
        "homeserver.ping",
        homeserver.ping,
        ("homeserver.token", "bridge.appservice"),
        patience_s=70,  # Synapse's own patience is a minute
    ),
    Check("homeserver.room", homeserver.room, ("homeserver.bot",), patience_s=30),
    Check("homeserver.delays", homeserver.delays, ("homeserver.room",)),
    Check("homeserver.rates", homeserver.rates, ("homeserver.delays",)),
    Check("homeserver.joined", homeserver.is_joined, ("homeserver.room",)),
    Check("homeserver.public", homeserver.public, ("homeserver.reachable",)),
    Check("discovery.transports", finding_us.transports, ("homeserver.token",)),
    Check("discovery.client", finding_us.client, ("config.readable",)),
    Check("discovery.server", finding_us.server, ("config.readable",)),
    Check("web.public", web.public, ("bridge.web",)),
    Check("web.certificates", web.certificates, ("config.readable",), patience_s=30),
    Check("web.routes", web.routes, ("web.public",), patience_s=60),
    Check("web.preflight", web.preflight, ("web.public",), patience_s=30),
    Check("api.reachable", media.reachable, ("config.key",)),
    Check("api.clock", media.clock, ("api.reachable", "registration.readable")),
    Check("api.key", media.key, ("api.reachable",)),
    Check("doors.sfu_get", doors.sfu_get, ("homeserver.room", "web.public", "api.key")),
    Check("doors.get_token", doors.get_token, ("homeserver.room", "web.public", "api.key")),
    Check(
        "doors.homeserver",
        doors.through_homeserver,
        ("homeserver.room", "homeserver.ping", "api.key"),
        patience_s=40,
    ),
    Check("federation.found", federation.found, ("config.readable", "homeserver.reachable")),
    Check("federation.openid", federation.openid, ("homeserver.token", "federation.found")),
    Check("media.signal", media.signal, ("api.key",), patience_s=20),
    Check("media.validate", media.validate, ("media.signal",), patience_s=30),
    Check("media.udp", media.udp, ("media.signal",)),
    Check("media.tcp", media.tcp, ("media.signal",)),
    Check("media.turn", media.turn, ("media.signal",)),
    Check("media.join", media.media, ("media.signal",), patience_s=30),
    Check("media.webhooks", media.webhooks, ("api.key", "bridge.web")),
    Check("sealed.wanted", sealed.wanted, ("registration.readable",)),
    Check("sealed.key", sealed.key_file, ("sealed.wanted",)),
    Check(
        "sealed.device",
        sealed.transactions,
        ("sealed.wanted", "bridge.web", "homeserver.ping"),
        patience_s=20,
    ),
    Check("scribe.ready", parts.scribe, ("bridge.web",)),
    Check("scribe.engines", engines.engines, ("config.readable",), patience_s=20),
    Check("scribe.voices", voices.voices, ("config.readable",), patience_s=120),
)

FROM_OUTSIDE = frozenset(
    {
        "config.readable",
        "config.addresses",
        "config.key",
        "homeserver.public",
        "discovery.client",
        "discovery.server",
        "web.public",
        "web.certificates",
        "web.preflight",
        "federation.found",
        "media.signal",
        "media.udp",
        "media.tcp",
        "media.turn",
        "media.join",
    }
)
"""What a machine elsewhere can look at, with a copy of the configuration."""

ROOM_CHECKS: tuple[Check[Visit], ...] = (
    Check("room.joined", room.joined, ("homeserver.token",)),
    Check("room.state", room.state, ("room.joined",)),
    Check("room.call_power", room.call_power, ("room.state",)),
    Check("room.bot_power", room.bot_power, ("room.state",)),
    Check("room.encryption", room.encryption, ("room.state",)),
    Check("room.slot", room.slot, ("room.state",)),
    Check("room.ghosts", room.ghosts, ("room.state", "api.key")),
    Check("room.servers", room.servers, ("room.state",), patience_s=60),
)
