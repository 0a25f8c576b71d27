"""Somebody in an encrypted call: matrix-js-sdk for the keys, the LiveKit SDK for the media."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.rtc._proto.e2ee_pb2 import KeyDerivationFunction

from bridge.dev.caller import Caller
from tests.support.encrypted_client import EncryptedClient


class EncryptedCaller(Caller):
    """Encrypts as Element Call does, with whatever keys its Matrix client says."""

    def options(self) -> rtc.RoomOptions:
        """How to connect: raw keys, one for each participant."""
        keys = rtc.KeyProviderOptions(
            key_ring_size=256, key_derivation_function=KeyDerivationFunction.HKDF
        )
        return rtc.RoomOptions(encryption=rtc.E2EEOptions(key_provider_options=keys))

    def use(self, identity: str, index: int, key: bytes) -> None:
        """A participant's key; one's own is encrypted with from now on."""
        provider = self.room.e2ee_manager.key_provider
        assert provider is not None
        provider.set_key(identity, key, index)
        for cryptor in self.room.e2ee_manager.frame_cryptors():
            if cryptor.participant_identity == identity == self.identity:
                cryptor.set_key_index(index)


@asynccontextmanager
async def in_encrypted_call(
    client: EncryptedClient, service: str, room_id: str
) -> AsyncIterator[EncryptedCaller]:
    """In the room's call until the block ends, as a member and in the media."""
    seen = len(client.seen)
    await client.ask("join_call", room=room_id, service=service)
    async with EncryptedCaller.in_call(client.person, service, room_id) as caller:
        assert isinstance(caller, EncryptedCaller)
        following = asyncio.create_task(_follow(client, seen, room_id, caller))
        try:
            yield caller
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await client.ask("leave_call", room=room_id)


async def _follow(
    client: EncryptedClient, seen: int, room_id: str, caller: EncryptedCaller
) -> None:
    while True:
        for event in client.seen[seen:]:
            if event["event"] == "media_key" and event["room"] == room_id:
                caller.use(event["identity"], event["index"], base64.b64decode(event["key"]))
        seen = len(client.seen)
        await asyncio.sleep(0.02)
