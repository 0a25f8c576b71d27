"""The same speech in a clear and in an encrypted call: `python -m tests.bench.encrypted`.

One person says twelve sentences (flite, voice rms) through our sfu to the scribe (pocketsphinx):
twice in clear, then encrypted as Element Call does it (a key for each participant, HKDF,
AES-128-GCM) with a new key five times, each in mid-sentence. Printed: word error rates against what
was said, and how far the texts differ: two clear calls differ too, by the timing of their packets.
Ends with 1 where a key change lost a sentence. Three minutes.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
import tempfile
from pathlib import Path

import jiwer

from bridge.dev import speech
from bridge.scribe.link import ScribeLink
from tests.bridge.scribe.call_stage import Person, a_stage
from tests.support.sound import Pcm, at_16k, joined, quiet

SENTENCES = (
    "good morning everyone and welcome to the meeting",
    "we agreed on the budget last week",
    "the first question today is the new contract",
    "can you send me the version of the document",
    "yes i will send it to you this afternoon",
    "the minister would like an answer before friday",
    "who wants to speak about the second point",
    "we need three more people for this project",
    "let us talk about the security of the building",
    "the train to the city leaves at nine",
    "i think that we should wait for the report",
    "thank you all and see you next week",
)
CHANGES = {2: 1, 4: 2, 6: 3, 8: 255, 10: 0}
"""Before which sentence ends the key changes, and the index of the new one."""


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        said = [at_16k(speech.spoken(text, "rms", Path(folder))) for text in SENTENCES]
        stages = [Path(tempfile.mkdtemp(dir=folder)) for _ in range(3)]
        clear = await _call(stages[0], said, encrypted=False)
        again = await _call(stages[1], said, encrypted=False)
        sealed = await _call(stages[2], said, encrypted=True)
    reference = " ".join(SENTENCES)
    print(f"{'call':12} {'words':>6} {'WER %':>6}")
    for name, text in (("clear", clear), ("clear again", again), ("encrypted", sealed)):
        print(f"{name:12} {len(text.split()):6} {100 * jiwer.wer(reference, text):6.1f}")
    print(f"words that differ: clear and clear again {100 * jiwer.wer(clear, again):.1f} %")
    between = 100 * jiwer.wer(clear, sealed)
    print(f"clear and encrypted, with {len(CHANGES)} key changes: {between:.1f} %")
    return int(between > 10)  # a sentence of the twelve is 8 %


async def _call(folder: Path, said: list[Pcm], *, encrypted: bool) -> str:
    key = secrets.token_bytes(16) if encrypted else None
    async with a_stage(folder) as stage, stage.bridge.linked() as link:
        await link.start(stage.order(encrypted=encrypted, captions=False))
        await stage.bridge.until("listening")
        if key:
            await _give(link, 0, key)
        async with Person.in_call("alice", stage.server, key) as alice:
            await alice.say(quiet(1.0))
            for number, pcm in enumerate(said):
                saying = asyncio.create_task(alice.say(joined(pcm, quiet(1.2))))
                if encrypted and number in CHANGES:
                    await asyncio.sleep(len(pcm) / 16_000 / 2)
                    await _change(link, alice, CHANGES[number])
                await saying
            await link.stop("c")
            await stage.bridge.until("stopped")
        return stage.bridge.text("alice")


async def _change(link: ScribeLink, alice: Person, index: int) -> None:
    """As clients do: everybody gets the new key first, and a moment later it is used."""
    key = secrets.token_bytes(16)
    await _give(link, index, key)
    await asyncio.sleep(0.3)
    alice.changes_key(index, key)


async def _give(link: ScribeLink, index: int, key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    await link.key("c", identity="alice", index=index, key=encoded)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
