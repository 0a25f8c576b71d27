"""What is the same in every room: whose bridge this is, its defaults, and its stores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from ipaddress import ip_address
from typing import Literal

from bridge.config import DocumentForm, Settings, zone_of
from bridge.domain import entry
from bridge.domain.conference import Conference, Rules
from bridge.domain.membership import normal
from bridge.domain.policy import server_admitted
from bridge.domain.wish import Wish
from bridge.ids import server_of
from bridge.matrix import panel, timeline, wire
from bridge.matrix.card import Place
from bridge.recognition import Engine
from bridge.store.alias_rooms import AliasRooms
from bridge.store.conferences import Conferences
from bridge.store.database import Database
from bridge.store.errands import Errands
from bridge.store.grants import Grants
from bridge.store.inbox import Inbox
from bridge.store.leaves import Leaves
from bridge.store.meetings import Meetings, VoiceNames
from bridge.store.memberships import Memberships
from bridge.store.opted_out import OptedOut
from bridge.store.outbox import Outbox
from bridge.store.peer_utterances import PeerUtterances
from bridge.store.redactions import RedactionLog
from bridge.store.rooms import Rooms as RoomFacts
from bridge.store.search import Search
from bridge.store.shown import Shown
from bridge.store.utterances import Utterances


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Every repository over one database."""

    db: Database
    inbox: Inbox
    outbox: Outbox
    grants: Grants
    conferences: Conferences
    utterances: Utterances
    peer_utterances: PeerUtterances
    rooms: RoomFacts
    errands: Errands
    leaves: Leaves
    memberships: Memberships
    meetings: Meetings
    voice_names: VoiceNames
    shown: Shown
    redactions: RedactionLog
    alias_rooms: AliasRooms
    opted_out: OptedOut
    search: Search

    @classmethod
    def over(cls, db: Database) -> Stores:
        """The repositories of an open database."""
        return cls(
            db=db,
            inbox=Inbox(db),
            outbox=Outbox(db),
            grants=Grants(db),
            conferences=Conferences(db),
            utterances=Utterances(db),
            peer_utterances=PeerUtterances(db),
            rooms=RoomFacts(db),
            errands=Errands(db),
            leaves=Leaves(db),
            memberships=Memberships(db),
            meetings=Meetings(db),
            voice_names=VoiceNames(db),
            shown=Shown(db),
            redactions=RedactionLog(db),
            alias_rooms=AliasRooms(db),
            opted_out=OptedOut(db),
            search=Search(db),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The settings that decide what happens in rooms. `bot` is the bot's Matrix id."""

    bot: str
    server_name: str
    public_url: str
    prefix: str
    defaults: Wish
    rules: Rules
    entry: entry.Rules
    allow_servers: tuple[str, ...]
    retention_days: int = 0
    """After how many days transcripts are deleted, 0: never."""
    retention_days_max: int = 0
    zone: tzinfo = UTC
    """Of the hours that people read."""
    documents: tuple[DocumentForm, ...] = ()
    """The forms that a record is posted in."""
    summary_model: str = ""
    """Name of the model that sums calls up, '' where there is none."""
    engines: tuple[Engine, ...] = (Engine(),)
    """Who writes down what is said."""
    voices: bool = False
    """Several people at one microphone are told apart."""
    encryption: bool = False
    """The bot reads and writes in encrypted rooms."""
    captions: Literal["all", "unencrypted", "off"] = "all"
    """Of which calls captions are shown beside the call."""

    @property
    def named(self) -> dict[str, str]:
        """What sentences say of the house."""
        return {"prefix": self.prefix, "server": self.server_name}

    @classmethod
    def of(cls, settings: Settings, bot: str, *, encryption: bool = False) -> House:
        """As configured."""
        conference = settings.conference
        return cls(
            bot=bot,
            server_name=settings.homeserver.server_name,
            public_url=settings.web.public_url,
            prefix=conference.command_prefix,
            zone=zone_of(conference.time_zone),
            defaults=Wish(
                captions=conference.captions,
                transcript=conference.transcript,
                language=conference.language,
            ),
            rules=Rules(
                empty_timeout_ms=conference.empty_timeout_s * 1000,
                ring_ms=conference.ring_s * 1000,
            ),
            entry=entry.Rules(
                own_server=settings.homeserver.server_name,
                wish_event=wire.CONFERENCE,
                without_bot=conference.rooms_without_bot,
                listen_only=tuple(settings.federation.listen_only_servers),
            ),
            allow_servers=tuple(settings.federation.allow_servers),
            retention_days=settings.transcripts.retention_days,
            retention_days_max=settings.transcripts.retention_days_max,
            documents=tuple(dict.fromkeys(settings.transcripts.documents)),
            summary_model=settings.summary.model if settings.summary.url else "",
            engines=tuple(settings.scribe.engines),
            voices=bool(settings.diarization.model_dir),
            encryption=encryption,
            captions=settings.web.captions,
        )

    @property
    def hosts(self) -> list[str]:
        """The servers that people's voices are sent to."""
        return list(dict.fromkeys(engine.host for engine in self.engines if engine.host))

    def owns(self, host: str) -> bool:
        """Whether a server is this organisation's own: of our domain, or of this network."""
        if host == self.server_name or host.endswith(f".{self.server_name}"):
            return True
        try:
            return ip_address(host).is_private
        except ValueError:
            return host == "localhost"

    def admits(self, user_id: str) -> bool:
        """Whether people of this user's server may use the bridge."""
        return server_admitted(server_of(user_id), self.allow_servers, self.server_name)

    def bot_of(self, server: str) -> str:
        """The Matrix id that the bot of another site has: ours, elsewhere."""
        return f"{self.bot.partition(':')[0]}:{server}"

    @property
    def service_url(self) -> str:
        """The site's token service, as memberships name it."""
        return normal(self.public_url)

    def place(self, room_id: str, conference: Conference) -> Place:
        """Where the room's call is held, for its card."""
        shown = conference.captions and self.shows_captions(encrypted=conference.encrypted)
        beside = panel.link(self.public_url, room_id) if shown else ""
        return Place(self.link(room_id), self.server_name, self.zone, beside)

    def shows_captions(self, *, encrypted: bool) -> bool:
        """Whether captions of such calls may be read beside them."""
        return self.captions == "all" or (self.captions == "unencrypted" and not encrypted)

    def link(self, room_id: str) -> str:
        """Address of the room's call in the join page."""
        return timeline.link(self.public_url, room_id)
