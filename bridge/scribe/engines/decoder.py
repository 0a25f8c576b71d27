"""The worker process of pocketsphinx: `python -m bridge.scribe.engines.decoder`.

Requests on standard input, one answer each on standard output; ends when its input does. It holds
no state of a voice between utterances (that travels with the requests), so any worker can take
any utterance. Decoders are pooled and warm: one costs half a second and 80 MB.
"""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO

HEAD = struct.Struct(">IcI")
"""Length of the payload, operation, number of the utterance."""
READY, AUDIO, END = b"?", b"A", b"E"
LENGTH = struct.Struct(">I")

FILLERS = frozenset({"<s>", "</s>", "<sil>", "[NOISE]", "[SPEECH]", "++NOISE++"})


@dataclass(slots=True)
class Decoders:
    """The decoders of this process: at work by utterance, and idle."""

    busy: dict[int, Any] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    cold: str = ""

    def answer(self, operation: bytes, number: int, payload: bytes) -> dict[str, Any]:
        """Carry out one request."""
        if operation == READY:
            if not self.idle and not self.busy:
                self.idle.append(self._fresh())
            return {"ready": True}
        if operation == AUDIO:
            return self._audio(number, payload)
        return self._end(number)

    def _audio(self, number: int, payload: bytes) -> dict[str, Any]:
        memory, _, pcm = payload.partition(b"\n")
        decoder = self.busy.get(number)
        if decoder is None:
            decoder = self.busy[number] = self.idle.pop() if self.idle else self._fresh()
            decoder.set_cmn(memory.decode() or self.cold)
            decoder.start_utt()
        decoder.process_raw(pcm, no_search=False, full_utt=False)
        hypothesis = decoder.hyp()
        return {"text": hypothesis.hypstr if hypothesis else ""}

    def _end(self, number: int) -> dict[str, Any]:
        decoder = self.busy.pop(number, None)
        if decoder is None:
            return {"words": [], "memory": ""}
        decoder.end_utt()
        words = [
            [plain(entry.word), entry.start_frame, entry.end_frame + 1]
            for entry in decoder.seg() or ()
            if entry.word not in FILLERS
        ]
        self.idle.append(decoder)
        return {"words": words, "memory": decoder.get_cmn(update=False) if words else ""}

    def _fresh(self) -> Any:
        from pocketsphinx import Decoder, set_loglevel

        set_loglevel("FATAL")
        decoder = Decoder(samprate=16_000)
        self.cold = self.cold or decoder.get_cmn(update=False)
        return decoder


def plain(word: str) -> str:
    """A word without the mark of its second pronunciation: `read(2)` is `read`."""
    return word.partition("(")[0]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    decoders = Decoders()
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        length, operation, number = HEAD.unpack(head)
        body = json.dumps(decoders.answer(operation, number, requests.read(length))).encode()
        answers.write(LENGTH.pack(len(body)) + body)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
