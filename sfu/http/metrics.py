"""GET /metrics: what Prometheus scrapes; read from the parts when asked, kept nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sfu.pulse import Lag, Rate
from sfu.room.totals import Totals
from sfu.signal.registry import Registry

Counts = Mapping[str, int]
STALLS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_TOTALS = {
    "sfu_rtp_packets": ("RTP packets", "packets"),
    "sfu_rtp_bytes": ("Bytes of RTP packets, before encryption", "octets"),
    "sfu_rtcp_packets": ("RTCP compounds", "rtcp"),
    "sfu_nacks": ("Lost packets asked for again", "nacks"),
    "sfu_plis": ("Key frames asked for", "plis"),
}
"""Name: text, and the field of Totals without its direction."""


@dataclass(slots=True)
class Figures:
    """What the server measures of itself, beside the named counts of its parts."""

    totals: Totals
    lag: Lag
    incoming: Rate
    outgoing: Rate


class SfuCollector(Collector):
    """Rooms and people as gauges; every named count of the parts under one counter each."""

    def __init__(
        self, registry: Registry, figures: Figures, counts: Mapping[str, Callable[[], Counts]]
    ) -> None:
        self._registry = registry
        self._figures = figures
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        yield from self._rooms()
        yield from self._media()
        yield from self._loop()
        for name, read in self._counts.items():
            family = CounterMetricFamily(f"sfu_{name}", f"Counts of {name}", labels=["reason"])
            for reason, count in sorted(read().items()):
                family.add_metric([str(reason)], count)
            yield family

    def _rooms(self) -> Iterator[Metric]:
        halls = self._registry.rooms.values()
        people = [p for hall in halls for p in hall.room.participants.values()]
        kinds = Counter(track.kind for person in people for track in person.published())
        received = sum(len(s.down.tracks) for hall in halls for s in hall.sessions.values())
        draining = int(self._registry.draining)
        yield GaugeMetricFamily("sfu_rooms", "Rooms that exist", len(halls))
        yield GaugeMetricFamily("sfu_participants", "Participants in all rooms", len(people))
        yield GaugeMetricFamily("sfu_draining", "1: no new rooms are taken", draining)
        yield GaugeMetricFamily("sfu_subscriptions", "Tracks on their way to a client", received)
        tracks = GaugeMetricFamily("sfu_tracks", "Published tracks", labels=["kind"])
        for kind in ("audio", "video"):
            tracks.add_metric([kind], kinds[kind])
        yield tracks
        limits = [limit for hall in halls for limit in hall.room.forwarding.limits()]
        yield GaugeMetricFamily("sfu_limited_links", "Subscribers' links found narrow", len(limits))
        lowest = min(limits, default=float("inf"))
        yield GaugeMetricFamily("sfu_lowest_limit", "Of these, the narrowest, in bit/s", lowest)

    def _media(self) -> Iterator[Metric]:
        figures = self._figures
        for name, (text, field) in _TOTALS.items():
            family = CounterMetricFamily(name, text, labels=["direction"])
            for direction in ("in", "out"):
                family.add_metric([direction], getattr(figures.totals, f"{field}_{direction}"))
            yield family
        resent = figures.totals.resent
        yield CounterMetricFamily("sfu_rtp_resent", "RTP packets sent again on request", resent)
        rates = GaugeMetricFamily(
            "sfu_bitrate", "Bit/s of RTP in the last second", labels=["direction"]
        )
        rates.add_metric(["in"], figures.incoming.bitrate)
        rates.add_metric(["out"], figures.outgoing.bitrate)
        yield rates

    def _loop(self) -> Iterator[Metric]:
        lag = self._figures.lag
        yield GaugeMetricFamily("sfu_loop_lag_seconds", "How late the loop was last", lag.last)
        yield GaugeMetricFamily(
            "sfu_loop_lag_longest_seconds", "How late at most in the last 10 to 20 s", lag.longest
        )
        yield CounterMetricFamily(
            "sfu_loop_stalls", "Times the loop was more than 20 ms late", lag.stalls
        )


def stall_histogram(prometheus: CollectorRegistry) -> Callable[[float], None]:
    """Where each measured lag goes, for quantiles."""
    text = "How late the loop woke a sleeper, twenty times a second"
    return Histogram("sfu_loop_stall_seconds", text, buckets=STALLS, registry=prometheus).observe


def routes(
    registry: Registry,
    prometheus: CollectorRegistry,
    figures: Figures,
    counts: Mapping[str, Callable[[], Counts]],
) -> list[web.RouteDef]:
    """`counts`: by name of the part, its named counts."""
    prometheus.register(SfuCollector(registry, figures, counts))
    ProcessCollector(registry=prometheus)

    async def metrics(request: web.Request) -> web.Response:
        body = generate_latest(prometheus)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthy(request: web.Request) -> web.Response:
        # livekit-client asks HEAD / from a page of another origin once the network is back: also
        # while this process only ends the calls that it has, it is alive.
        text = "draining" if registry.draining else "OK"
        return web.Response(text=text, headers={"Access-Control-Allow-Origin": "*"})

    async def ready(request: web.Request) -> web.Response:
        if registry.draining:
            return web.Response(status=503, text="draining")
        return web.Response(text="OK")

    return [web.get("/metrics", metrics), web.get("/", healthy), web.get("/ready", ready)]
