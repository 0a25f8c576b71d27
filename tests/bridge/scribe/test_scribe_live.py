"""The whole way with a streaming engine: a call, the scribe, a server that speaks its protocol.

Longer, with two homeservers and figures: `python -m tests.bench.latency`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bridge.dev.speech import RATE as SPEECH_RATE
from bridge.recognition import Engine, to_json
from bridge.scribe.participant import ASKS
from tests.bridge.scribe.call_stage import Person, a_stage
from tests.support.moshi_server import KEY, MoshiServer
from tests.support.sound import Pcm, at_16k, joined, quiet
from tests.support.spoken_words import Script, turn

pytestmark = pytest.mark.livekit

TURNS = (
    "We agreed on the budget of the new building. The next meeting is on Monday morning.",
    "Thank you very much for this clear answer.",
)


async def test_words_are_on_screen_while_people_speak_and_kept_once(tmp_path: Path) -> None:
    turns = [turn(text, "rms", tmp_path) for text in TURNS]
    async with MoshiServer(Script(turns).hearing, step_s=0.02) as server:
        key, engines = tmp_path / "key", tmp_path / "engines.json"
        key.write_text(KEY)
        engine = Engine(engine="kyutai", url=server.url, api_key_file=str(key))
        engines.write_text(to_json([engine], tmp_path))
        async with a_stage(tmp_path, "--engines", str(engines)) as stage:
            bridge = stage.bridge
            async with bridge.linked() as link, Person.in_call("alice", stage.server) as alice:
                await alice.room.local_participant.set_attributes({ASKS: "interim"})
                await link.start(stage.order())
                await bridge.until("listening")
                await alice.say(quiet(1.0))
                for one in turns:
                    await alice.say(joined(at_16k(one.pcm), quiet(1.5)))
                whole = " ".join(TURNS)
                text = await bridge.heard("alice", len(whole.split()))
                await link.stop("c")
                await bridge.until("stopped")
    assert text == whole
    assert [word for _, word in server.told] == whole.split()
    segments = [s for s in bridge.segments if s["identity"] == "alice"]
    # Cut where sentences end and where somebody paused, and at no other place.
    assert [s["text"] for s in segments] == [
        *(f"{s}." for s in TURNS[0][:-1].split(". ")),
        TURNS[1],
    ]
    check_times([(start, end) for s in segments for _, start, end in s["words"]], turns[0].pcm)
    interim = [text for attributes, text in alice.captions if not _final(attributes)]
    assert any(whole.startswith(text) for text in interim)
    assert len(server.channels) <= 1


def check_times(words: list[tuple[int, int]], first: Pcm) -> None:
    """Words follow each other, and span what was said."""
    assert all(a[0] <= a[1] <= b[0] for a, b in itertools.pairwise(words)), words
    spoken_ms = len(first) * 1000 / SPEECH_RATE
    length_ms = words[len(TURNS[0].split()) - 1][1] - words[0][0]
    assert abs(length_ms - spoken_ms) < 1000


def _final(attributes: dict[str, str]) -> bool:
    return attributes.get("lk.transcription_final") == "true"
