"""GET /metrics: what Prometheus scrapes; read from the parts when asked, kept nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sfu.signal.registry import Registry

Counts = Mapping[str, int]


class SfuCollector(Collector):
    """Rooms and people as gauges; every named count of the parts under one counter each."""

    def __init__(self, registry: Registry, counts: Mapping[str, Callable[[], Counts]]) -> None:
        self._registry = registry
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        rooms = [signalling.room for signalling in self._registry.rooms.values()]
        people = [p for room in rooms for p in room.participants.values()]
        yield GaugeMetricFamily("sfu_rooms", "Rooms that exist", len(rooms))
        yield GaugeMetricFamily("sfu_participants", "Participants in all rooms", len(people))
        draining = int(self._registry.draining)
        yield GaugeMetricFamily("sfu_draining", "1: no new rooms are taken", draining)
        tracks = sum(len(p.published()) for p in people)
        yield GaugeMetricFamily("sfu_tracks", "Published tracks", tracks)
        limits = [limit for room in rooms for limit in room.forwarding.limits()]
        yield GaugeMetricFamily("sfu_limited_links", "Subscribers' links found narrow", len(limits))
        lowest = min(limits, default=float("inf"))
        yield GaugeMetricFamily("sfu_lowest_limit", "Of these, the narrowest, in bit/s", lowest)
        for name, read in self._counts.items():
            family = CounterMetricFamily(f"sfu_{name}", f"Counts of {name}", labels=["reason"])
            for reason, count in sorted(read().items()):
                family.add_metric([reason], count)
            yield family


def routes(registry: Registry, counts: Mapping[str, Callable[[], Counts]]) -> list[web.RouteDef]:
    """`counts`: by name of the part, its named counts."""
    prometheus = CollectorRegistry()
    prometheus.register(SfuCollector(registry, counts))

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
