"""The scribe as a participant of a call, by the `livekit` SDK: the only file that imports it.

One `Participation` is one connection. What happens in the call is posted, as small events, to the
mailbox of the session that owns it; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from livekit import rtc
from livekit.rtc._proto.e2ee_pb2 import KeyDerivationFunction

from bridge.scribe.engines import RATE
from bridge.scribe.merge import Piece
from bridge.scribe.order import INDICES, Keyring, MediaKey

log = logging.getLogger(__name__)

FRAME_MS = 30
QUEUE_FRAMES = 200
"""Frames of one track that may wait (6 s); then the oldest go, and the listener's clock jumps."""
CONNECT_S, JOIN_S, LEAVE_S, CAPTION_S = 5.0, 25.0, 3.0, 2.0
RESUME_S = 4.0
TRANSCRIPTION_TOPIC = "lk.transcription"
ASKS = "eu.colloque.captions"
"""Attribute of a participant who wants captions before they are final: `interim` as text streams,
`packet` as the older packets, which all get then."""
STANDING = "lk.agent.state"
"""The scribe's own attribute, named as LiveKit's agents name theirs."""

FOR_GOOD = frozenset(
    {
        rtc.DisconnectReason.PARTICIPANT_REMOVED,
        rtc.DisconnectReason.ROOM_DELETED,
        rtc.DisconnectReason.ROOM_CLOSED,
        rtc.DisconnectReason.DUPLICATE_IDENTITY,
    }
)
"""Reasons after which joining again would be against somebody's will."""

_TOKEN = re.compile(r"(access_token=|join_request=|Bearer )[^&\s\"']+")


class JoinError(Exception):
    """The call cannot be joined; `refused` when the server does not accept the token."""

    def __init__(self, message: str) -> None:
        super().__init__(_TOKEN.sub(r"\1***", message))
        self.refused = "401" in message or "403" in message


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Somebody's microphone."""

    sid: str
    identity: str
    name: str
    source: rtc.Track
    publication: rtc.RemoteTrackPublication

    @property
    def encrypted(self) -> bool:
        """Whether its publisher encrypts it (the media server passes on what they said)."""
        return bool(self.publication.encryption_type != rtc.EncryptionType.NONE)

    @property
    def muted(self) -> bool:
        """Whether its publisher sends nothing now."""
        return self.publication.muted

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """PCM at 16 kHz, mono, signed 16 bit, about 30 ms at a time, until the track ends."""
        stream = rtc.AudioStream(
            self.source,
            sample_rate=RATE,
            num_channels=1,
            frame_size_ms=FRAME_MS,
            capacity=QUEUE_FRAMES,
        )
        try:
            async for event in stream:
                yield bytes(event.frame.data)
        finally:
            try:
                async with asyncio.timeout(LEAVE_S):
                    await stream.aclose()
            except TimeoutError:
                log.warning("the track %s was not closed in time", self.sid)


@dataclass(frozen=True, slots=True)
class TrackBegan:
    track: Track


@dataclass(frozen=True, slots=True)
class TrackEnded:
    sid: str


@dataclass(frozen=True, slots=True)
class Readable:
    """A participant's encrypted frames are being decrypted."""

    identity: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The key of a participant's frames is missing."""

    identity: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone; `for_good`: it is not wanted back."""

    reason: str
    for_good: bool


CallEvent = TrackBegan | TrackEnded | Readable | Unreadable | Disconnected


class Participation:
    """One connection to a call. Use `join`, then `leave` exactly once."""

    def __init__(self, post: Callable[[CallEvent], None]) -> None:
        self._post = post
        self._room = rtc.Room()
        self._keys: rtc.KeyProvider | None = None
        self._own_key: MediaKey | None = None
        self._renewed: str | None = None
        self._given_up: asyncio.TimerHandle | None = None
        self._left_out: frozenset[str] = frozenset()

    @property
    def renewed_token(self) -> str | None:
        """The token the server last sent in place of the first one, which expires."""
        return self._renewed

    @property
    def interrupted(self) -> bool:
        """Whether the connection is being made anew: nothing is heard meanwhile."""
        return self._given_up is not None

    async def join(
        self,
        url: str,
        token: str,
        keys: Keyring | None = None,
        *,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        """Connect and ask for every microphone, but those `left_out`. Raises JoinError.

        With `keys` the call is encrypted end to end, and what is sent is encrypted too.
        """
        self._left_out = left_out
        self._room.on("track_published", self._published)
        self._room.on("track_subscribed", self._subscribed)
        self._room.on("track_unsubscribed", self._unsubscribed)
        self._room.on("disconnected", self._disconnected)
        self._room.on("token_refreshed", self._refreshed)
        self._room.on("reconnecting", self._reconnecting)
        self._room.on("reconnected", self._reconnected)
        self._room.on("e2ee_state_changed", self._cipher_changed)
        # Only microphones are asked for: pictures would cost the call bandwidth for nothing.
        options = rtc.RoomOptions(auto_subscribe=False, connect_timeout=CONNECT_S)
        options.encryption = None if keys is None else _encryption()
        await _reach(url)
        try:
            async with asyncio.timeout(JOIN_S):
                await self._room.connect(url, token, options)
        except (rtc.ConnectError, TimeoutError) as error:
            raise JoinError(str(error) or "no answer") from None
        if keys is not None:
            self._keys = self._room.e2ee_manager.key_provider
            for key in keys:
                self.use(key)
        for participant in self._room.remote_participants.values():
            for publication in participant.track_publications.values():
                self._published(publication, participant)

    def use(self, key: MediaKey) -> None:
        """Decrypt with this key too; with the scribe's own one, encrypt what it shows."""
        if self._keys is None:
            return
        self._keys.set_key(key.identity, key.key, key.index)
        if key.identity == self._room.local_participant.identity:
            self._own_key = key
        elif self._own_key is not None:
            # What the SDK sends has the index of the key set last, whose ever it was (1.2).
            own = self._own_key
            self._keys.set_key(own.identity, own.key, own.index)

    def leave_out(self, identities: frozenset[str]) -> None:
        """Do not hear these participants: their microphones are not even asked for."""
        changed = identities ^ self._left_out
        self._left_out = identities
        for participant in self._room.remote_participants.values():
            if participant.identity in changed:
                for publication in participant.track_publications.values():
                    self._published(publication, participant)

    async def packets(self) -> int:
        """Audio packets received so far, of everybody."""
        stats = await self._room.get_rtc_stats()
        inbound = [*stats.publisher_stats, *stats.subscriber_stats]
        return sum(s.inbound_rtp.received.packets_received for s in inbound)

    async def leave(self) -> None:
        """Leave the call; what does not end in time is left to the process's end."""
        self._reconnected()
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._room.disconnect()
        except TimeoutError:
            log.warning("the call was not left in time")

    async def caption(self, piece: Piece, track: Track, language: str) -> None:
        """Show a piece, as text stream and as the older transcription packet.

        A final goes to everybody, an interim to those who asked for such. The SDK gives the older
        packet no destinations (livekit 1.2).

        In an encrypted call only as a text stream, encrypted with the scribe's own key; without
        such a key not at all.
        """
        attributes = {
            "lk.segment_id": piece.segment,
            "lk.transcribed_track_id": track.sid,
            "lk.transcription_final": "true" if piece.final else "false",
            "eu.colloque.speaker": track.identity,
        }
        me = self._room.local_participant
        asked = [] if piece.final else self._who_asks("interim")
        async with asyncio.timeout(CAPTION_S):
            if piece.final or asked:
                # Not compressed: clients older than compression read it too.
                await me.send_text(
                    piece.text,
                    topic=TRANSCRIPTION_TOPIC,
                    attributes=attributes,
                    compress=False,
                    destination_identities=asked,
                )
            if self._keys is None and (piece.final or self._who_asks("packet")):
                # The SDK encrypts text streams, and not this packet (livekit 1.2).
                await me.publish_transcription(_older_form(piece, track, language))

    async def stand(self, state: str) -> None:
        """Show people in the call how it stands with the scribe (`STANDING`)."""
        try:
            async with asyncio.timeout(CAPTION_S):
                await self._room.local_participant.set_attributes({STANDING: state})
        except TimeoutError:
            log.debug("the scribe's state was not shown")

    def microphones(self) -> set[str]:
        """The microphones that are on now, by their sids, without those left out."""
        return {
            publication.sid
            for participant in self._room.remote_participants.values()
            if participant.identity not in self._left_out
            for publication in participant.track_publications.values()
            if _is_speech(publication, participant) and not publication.muted
        }

    def _who_asks(self, how: str) -> list[str]:
        people = self._room.remote_participants.values()
        return [one.identity for one in people if one.attributes.get(ASKS) == how]

    def _published(self, publication: Any, participant: Any) -> None:
        if _is_speech(publication, participant):
            publication.set_subscribed(participant.identity not in self._left_out)

    def _subscribed(self, track: Any, publication: Any, participant: Any) -> None:
        if participant.identity in self._left_out:
            return
        if _is_speech(publication, participant):
            name = participant.name or participant.identity
            began = Track(publication.sid, participant.identity, name, track, publication)
            self._post(TrackBegan(began))

    def _unsubscribed(self, track: Any, publication: Any, participant: Any) -> None:
        self._post(TrackEnded(publication.sid))

    def _cipher_changed(self, participant: Any, state: Any) -> None:
        if participant is None:
            return
        if state == rtc.EncryptionState.OK:
            self._post(Readable(participant.identity))
        elif state == rtc.EncryptionState.MISSING_KEY:
            self._post(Unreadable(participant.identity))

    def _disconnected(self, reason: Any) -> None:
        name = rtc.DisconnectReason.Name(reason)
        self._post(Disconnected(name.lower(), reason in FOR_GOOD))

    def _reconnecting(self) -> None:
        # A glitch of the network is the SDK's to mend. A server that restarts is not: the SDK
        # would try for half a minute to resume what no server remembers.
        loop = asyncio.get_running_loop()
        lost = Disconnected("connection_lost", for_good=False)
        self._given_up = self._given_up or loop.call_later(RESUME_S, self._post, lost)

    def _reconnected(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None

    def _refreshed(self) -> None:
        # The SDK has no public name for the refreshed token (livekit 1.2).
        self._renewed = self._room._token


def _encryption() -> rtc.E2EEOptions:
    """As Element Call encrypts: a key for each participant, HKDF-SHA256 with an `info` of 128 zero
    bytes, AES-128-GCM, 256 indices. Nobody ratchets (matrix-js-sdk, RTCEncryptionManager).

    Frames that fail must not spoil a key: anybody on the way could send such frames.
    """
    return rtc.E2EEOptions(
        key_provider_options=rtc.KeyProviderOptions(
            ratchet_window_size=0,
            failure_tolerance=-1,
            key_ring_size=INDICES,
            key_derivation_function=KeyDerivationFunction.HKDF,
        )
    )


async def _reach(url: str) -> None:
    """Raises JoinError where nobody listens.

    Asked before the SDK is: a connection it makes on a second attempt of its own after a refused
    one never plays a frame (livekit 1.2), and its attempts take many seconds.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise JoinError(f"the media server's address is wrong: {error}") from None
    port = port or (443 if parts.scheme in ("wss", "https") else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        raise JoinError(f"{host}:{port} does not answer ({error})") from None
    writer.close()


CAPTION_ERRORS = (rtc.StreamError, rtc.participant.PublishTranscriptionError, TimeoutError)
"""What `caption` may raise: a caption that did not get through is not worth a call."""


def _older_form(piece: Piece, track: Track, language: str) -> rtc.Transcription:
    segment = rtc.TranscriptionSegment(
        id=piece.segment,
        text=piece.text,
        start_time=piece.start_ms,
        end_time=piece.end_ms,
        language=language,
        final=piece.final,
    )
    return rtc.Transcription(track.identity, track.sid, [segment])


def _is_speech(publication: Any, participant: Any) -> bool:
    """A person's microphone: not a shared film's sound, and not another agent's voice."""
    return bool(
        publication.kind == rtc.TrackKind.KIND_AUDIO
        and publication.source != rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO
        and participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    )
