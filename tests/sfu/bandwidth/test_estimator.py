"""The estimate on a simulated link, in virtual time, with an allocator that obeys it."""

from __future__ import annotations

import random

import pytest

from sfu.bandwidth.allocation import PAUSED, Want, allocate
from tests.sfu.bandwidth.link import PACKET, STEP, Link

AUDIO = 40_000.0
LAYERS = (150_000.0, 500_000.0, 1_800_000.0)
FPS = 30


class Viewer:
    """Sends one video at the layer it may have, one audio, and the probes that are asked for."""

    def __init__(self, link: Link, seed: int = 7) -> None:
        self.link = link
        self.layer = 2
        self.history: list[tuple[float, int, float | None]] = []
        self._random = random.Random(seed)
        self._next_frame = self._next_audio = self._next_tick = link.now
        self._padded = 0.0

    def run(self, seconds: float) -> None:
        end = self.link.now + seconds
        while self.link.now < end:
            self._media()
            self._probe()
            self._tick()
            self.link.step()

    def _media(self) -> None:
        link = self.link
        if link.now >= self._next_audio:
            self._next_audio += 0.02
            link.send(int(AUDIO / 8 * 0.02))
        if link.now >= self._next_frame and self.layer != PAUSED:
            self._next_frame += 1 / FPS
            octets = LAYERS[self.layer] / 8 / FPS * self._random.uniform(0.6, 1.4)
            while octets > 0:
                link.send(int(min(octets, PACKET)))
                octets -= PACKET
        self._next_frame = max(self._next_frame, link.now)

    def _probe(self) -> None:
        probe = self.link.estimator.probe
        if probe is None:
            self._padded = 0.0
            return
        media = AUDIO + (LAYERS[self.layer] if self.layer != PAUSED else 0.0)
        self._padded += max(0.0, probe.rate - media) / 8 * STEP
        while self._padded >= 255:
            self._padded -= 255
            self.link.send(255)

    def _tick(self) -> None:
        link = self.link
        if link.now < self._next_tick:
            return
        self._next_tick += 0.1
        link.estimator.tick(AUDIO + LAYERS[-1], link.now)
        limit = link.estimator.limit
        video = None if limit is None else limit - AUDIO
        self.layer = min(2, allocate(video, [Want("v", LAYERS, self.layer)])["v"])
        self.history.append((link.now, self.layer, limit))

    def since(self, seconds: float) -> list[tuple[float, int, float | None]]:
        return [one for one in self.history if one[0] >= self.link.now - seconds]


@pytest.mark.parametrize("seed", range(10))
def test_an_open_link_is_never_limited(seed: int) -> None:
    viewer = Viewer(Link(rate=None, jitter=0.008, seed=seed), seed)
    viewer.run(60)
    assert {layer for _, layer, _ in viewer.history} == {2}
    assert viewer.link.estimator.limit is None


@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_random_loss_is_no_congestion(loss: float) -> None:
    viewer = Viewer(Link(rate=None, loss=loss, jitter=0.004))
    viewer.run(60)
    assert {layer for _, layer, _ in viewer.history} == {2}


@pytest.mark.parametrize("queue_s", [0.05, 0.3, 1.0])
def test_a_bottleneck_is_found_and_kept_to(queue_s: float) -> None:
    viewer = Viewer(Link(rate=700_000.0, queue_s=queue_s))
    viewer.run(20)
    link = viewer.link
    link.lost = link.sent = 0
    link.worst_queue = 0.0
    viewer.run(60)
    kept = viewer.since(60)
    assert {layer for _, layer, _ in kept} <= {0, 1}
    assert sum(layer == 1 for _, layer, _ in kept) > 0.8 * len(kept)
    near = [limit for _, _, limit in kept if limit and 490_000 <= limit <= 910_000]
    assert len(near) > 0.95 * len(kept)
    assert link.lost <= 0.01 * link.sent
    assert link.worst_queue < 0.35


def test_a_bottleneck_that_goes_gives_the_top_layer_back() -> None:
    viewer = Viewer(Link(rate=700_000.0))
    viewer.run(40)
    viewer.link.rate = None
    viewer.run(30)
    assert viewer.layer == 2
    viewer.run(30)
    assert {layer for _, layer, _ in viewer.since(29)} == {2}
    assert viewer.link.estimator.limit is None


def test_a_bottleneck_that_comes_in_mid_call_is_obeyed() -> None:
    viewer = Viewer(Link(rate=None))
    viewer.run(20)
    viewer.link.rate = 300_000.0
    viewer.link.free_at = 0.0
    viewer.run(10)
    viewer.run(30)
    assert {layer for _, layer, _ in viewer.since(30)} <= {0, PAUSED}
    assert sum(layer == 0 for _, layer, _ in viewer.since(30)) > 250


def test_where_nothing_can_be_probed_with_the_limit_rises_by_itself() -> None:
    link = Link(rate=None)
    link.estimator.limit = 100_000.0
    link.estimator.feedback([], link.now)
    assert link.estimator.bitrate is None
    for _ in range(600):
        link.now += 0.1
        link.estimator.feedback([], link.now)
        link.estimator.tick(1_000_000.0, link.now, silent=True)
    assert link.estimator.limit is None
    assert link.estimator.probe is None
