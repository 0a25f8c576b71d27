"""What writing a record costs: `python -m tests.bench.documents [UTTERANCES]`.

Documents are written inside the transaction that posts them, so this is how long a room's record
holds up the bridge. Twenty people, ten words an utterance with times, a voice in four.
"""

from __future__ import annotations

import sys
import time

from bridge.domain.documents import FORMS, Participant, Presence, Record
from bridge.domain.transcript import Utterance, Word

STARTED = 1_795_424_400_000


def meeting(count: int) -> Record:
    """A meeting with so many utterances, one every three seconds."""
    people = tuple(
        Participant(f"@p{n}:a.example", f"Person {n}", (Presence(STARTED, STARTED + 3000 * count),))
        for n in range(20)
    )
    said = tuple(_said(n, people[n * 7 % 20]) for n in range(count))
    return Record(
        title="Budget",
        room_name="Direction du budget",
        room_id="!r:a.example",
        conference="c",
        started_ms=STARTED,
        ended_ms=STARTED + 3000 * count,
        participants=people,
        utterances=said,
    )


def _said(number: int, who: Participant) -> Utterance:
    at = 3000 * number
    words: tuple[Word, ...] = tuple(
        (f"mot{n}", at + 200 * n, at + 200 * n + 150) for n in range(10)
    )
    return Utterance(
        segment=f"s{number}",
        speaker=who.user_id,
        display_name=who.display_name,
        text=" ".join(word for word, _, _ in words),
        start_ms=at,
        end_ms=at + 2500,
        language="fr" if number % 5 else "en",
        engine="kyutai",
        voice="V1" if number % 4 == 0 else "",
        words=words,
    )


def main() -> None:
    """Prints a line a form."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3600
    record = meeting(count)
    print(f"{count} utterances, {count * 3 // 60} minutes")
    for form in FORMS.values():
        began = time.perf_counter()
        data = form.write(record, "fr")
        print(f"{form.name:5} {1000 * (time.perf_counter() - began):7.0f} ms {len(data):9} bytes")


if __name__ == "__main__":
    main()
