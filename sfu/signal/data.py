"""Data packets between participants: stamped with their sender, sent to whom they name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from livekit.protocol import models, room

from sfu.room.participant import Participant
from sfu.signal import datatracks
from sfu.signal.negotiation import MAX_DATA_MESSAGE
from sfu.signal.session import Session

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

RELIABLE, LOSSY = "_reliable", "_lossy"
Kind = models.DataPacket.Kind

_STREAMS = frozenset({"stream_header", "stream_chunk", "stream_trailer"})
_RPC = frozenset({"rpc_request", "rpc_ack", "rpc_response"})
_ON_BEHALF = _STREAMS | {"transcription", "chat_message"}
"""Packets an agent may send in the name of another participant (captions)."""

_FORWARDED = _ON_BEHALF | _RPC | {"user", "sip_dtmf", "encrypted_packet"}


def received(signalling: Signalling, session: Session, label: str, payload: bytes) -> str:
    """Forward one packet from a client. Returns '' or the named reason it was dropped."""
    if label == datatracks.CHANNEL:
        return datatracks.received(signalling, session, payload)
    if label not in (RELIABLE, LOSSY):
        return "data_channel_unknown"
    if not session.participant.permission.can_publish_data:
        return "data_not_permitted"
    packet = _parse(payload)
    if packet is None:
        return "data_malformed"
    if label == RELIABLE and packet.sequence and _repeated(session, packet.sequence):
        return "data_repeated"
    _stamp(signalling, session.participant, packet, label)
    return forward(signalling, packet, label, session.participant)


def from_server(signalling: Signalling, request: room.SendDataRequest) -> str:
    """RoomService.SendData. Returns '' or the named reason a packet was dropped."""
    user = models.UserPacket(payload=request.data, nonce=request.nonce)
    if request.HasField("topic"):
        user.topic = request.topic
    user.destination_identities.extend(request.destination_identities)
    user.destination_sids.extend(request.destination_sids)
    packet = models.DataPacket(kind=request.kind, user=user)
    packet.destination_identities.extend(request.destination_identities)
    label = LOSSY if request.kind == Kind.LOSSY else RELIABLE
    return forward(signalling, packet, label, None)


def forward(
    signalling: Signalling, packet: models.DataPacket, label: str, sender: Participant | None
) -> str:
    """Send to the destinations named, or to all but the sender."""
    payload = packet.SerializeToString()
    dropped = ""
    for session in _destinations(signalling, packet):
        if session.participant is sender:
            continue
        connection = session.connections.get(session.primary)
        if connection is None or not connection.send_data(label, payload):
            dropped = "data_receiver_not_ready"
    return dropped


def _parse(payload: bytes) -> models.DataPacket | None:
    if len(payload) > MAX_DATA_MESSAGE:
        return None
    packet = models.DataPacket()
    try:
        packet.ParseFromString(payload)
    except DecodeError:
        return None
    return packet if packet.WhichOneof("value") in _FORWARDED else None


def _repeated(session: Session, sequence: int) -> bool:
    # After a resume clients send again what may have been lost.
    if sequence <= session.last_reliable:
        return True
    session.last_reliable = sequence
    return False


def _stamp(
    signalling: Signalling, sender: Participant, packet: models.DataPacket, label: str
) -> None:
    packet.kind = Kind.RELIABLE if label == RELIABLE else Kind.LOSSY
    identity = "" if sender.hidden else sender.identity
    # The sid stays the real sender's: receivers count the reliable sequence by it.
    packet.participant_sid = "" if sender.hidden else sender.sid
    named = packet.participant_identity
    behalf = sender.is_agent and packet.WhichOneof("value") in _ON_BEHALF
    if not (behalf and named in signalling.room.participants):
        packet.participant_identity = identity
    if packet.HasField("user"):
        _stamp_user(packet, packet.participant_sid, identity)


def _stamp_user(packet: models.DataPacket, sid: str, identity: str) -> None:
    user = packet.user
    user.participant_sid, user.participant_identity = sid, identity
    if packet.destination_identities:
        del user.destination_identities[:]
        user.destination_identities.extend(packet.destination_identities)
    else:
        packet.destination_identities.extend(user.destination_identities)


def _destinations(signalling: Signalling, packet: models.DataPacket) -> Iterable[Session]:
    sessions = signalling.sessions
    identities = set(packet.destination_identities)
    sids = set(packet.user.destination_sids) if packet.HasField("user") else set()
    if not identities and not sids:
        return list(sessions.values())
    return [
        session
        for sid, session in sessions.items()
        if sid in sids or session.participant.identity in identities
    ]
