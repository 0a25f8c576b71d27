"""Which encrypted tracks can be read.

libwebrtc gives frames that come before their decryptor is in place to the Opus decoder, and
decoded ciphertext is loud. So an encrypted track is *sealed* until its first frame was decrypted,
and nobody listens to it before. Later, a frame whose key is missing is dropped: the track falls
silent and need not be closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.scribe.participant import Track

PATIENCE_MS = 5_000
"""How long somebody may send what cannot be read before it is said: keys come through Matrix."""


@dataclass(eq=False)
class _Watched:
    track: Track
    sealed: bool
    unread_since_ms: int


class Seals:
    """The encrypted tracks of one connection. `now_ms` may be of any clock that goes forward."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._readable: set[str] = set()

    def began(self, track: Track, now_ms: int) -> bool:
        """A track has begun; whether it can be heard at once."""
        if not track.encrypted:
            return True
        sealed = track.identity not in self._readable
        self._watched[track.sid] = _Watched(track, sealed, now_ms)
        return not sealed

    def ended(self, sid: str) -> None:
        """A track has ended; the next one of the same person is sealed again."""
        watched = self._watched.pop(sid, None)
        if watched is not None:
            self._readable.discard(watched.track.identity)

    def readable(self, identity: str) -> list[Track]:
        """Somebody's frames are decrypted now; their tracks that can be heard from here on."""
        self._readable.add(identity)
        opened = [w for w in self._of(identity) if w.sealed]
        for watched in opened:
            watched.sealed = False
        return [watched.track for watched in opened]

    def unreadable(self, identity: str, now_ms: int) -> None:
        """A key of somebody's is missing."""
        self._readable.discard(identity)
        for watched in self._of(identity):
            watched.unread_since_ms = now_ms

    def overdue(self, now_ms: int) -> bool:
        """Whether somebody who speaks cannot be read for longer than a key needs to arrive."""
        late = False
        for watched in self._watched.values():
            if watched.track.muted or watched.track.identity in self._readable:
                watched.unread_since_ms = now_ms
            late = late or now_ms - watched.unread_since_ms > PATIENCE_MS
        return late

    def _of(self, identity: str) -> list[_Watched]:
        return [w for w in self._watched.values() if w.track.identity == identity]
