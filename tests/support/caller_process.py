"""A LiveKit client in a process of its own, so that it can be killed.

`await Doomed.join(url, token)`, then `kill()`: SIGKILL, as a browser that crashes. As a program it
reads address and token from its input, joins, publishes a microphone, and says `joined`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from livekit import rtc


@dataclass
class Doomed:
    """A client that is in the call until it is killed."""

    process: asyncio.subprocess.Process

    @classmethod
    async def join(cls, url: str, token: str) -> Doomed:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{url}\n{token}\n".encode())
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"joined\n"
        return cls(process)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def _main() -> None:
    url, token = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    room, source = rtc.Room(), rtc.AudioSource(48000, 1)
    await room.connect(url, token)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    await room.local_participant.publish_track(track, rtc.TrackPublishOptions())
    sys.stdout.write("joined\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
