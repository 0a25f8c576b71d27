"""Mistakes in the homeserver's own configuration: a Synapse started with them, several at once.

Three starts of the homeserver, each wrong in things that do not hide one another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bridge.doctor.findings import Finding
from tests.bridge.doctor.deployment import Deployment, remedy, with_feature

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.asyncio(loop_scope="module"),
]

_FOCI = "org.matrix.msc4143.rtc_foci"
_HOMESERVER = (
    "homeserver.features",
    "homeserver.delays",
    "homeserver.rates",
    "homeserver.joined",
    "discovery.transports",
    "discovery.client",
    "doors.sfu_get",
    "doors.homeserver",
    "sealed.device",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def mended(deployment: Deployment) -> AsyncIterator[None]:
    """Other modules find it as it was."""
    yield
    await deployment.restart({})


def transports(url: str) -> list[dict[str, str]]:
    return [{"type": "livekit", "livekit_service_url": url}]


async def test_a_homeserver_with_everything_left_off(deployment: Deployment) -> None:
    off = with_feature(
        msc4143_enabled=False,
        msc4502_enabled=False,
        msc4512_enabled=False,
        msc2409_to_device_messages_enabled=False,
        msc3202_transaction_extensions=False,
    )
    await deployment.restart(
        {
            "experimental_features": off,
            "max_event_delay_duration": None,
            "matrix_rtc": None,
            "extra_well_known_client_content": None,
        }
    )
    found = await deployment.examine(*_HOMESERVER)
    page = deployment.site.plan.page
    features = {one.values["feature"] for one in found["homeserver.features"].remarks}
    assert features == {"MSC4140", "MSC4143", "MSC4502"}
    assert "msc4143_enabled: true" in remedy(found, "homeserver.features", "feature.off")
    assert "max_event_delay_duration: 24h" in remedy(found, "homeserver.delays", "delay.off")
    assert found["homeserver.rates"].outcome == "not_checked"
    said = remedy(found, "sealed.device", "device.silent")
    assert "msc2409_to_device_messages_enabled: true" in said
    assert "msc4502_enabled: true" in remedy(found, "homeserver.joined", "joined.off")
    said = remedy(found, "discovery.transports", "transports.off")
    assert f'livekit_service_url: "{page}"' in said
    assert "deploy/nginx-discovery.conf" in said
    assert _FOCI in remedy(found, "discovery.client", "known.foci")
    assert "msc4512_enabled: true" in remedy(found, "doors.homeserver", "proxy.off")


async def test_two_hs_tokens_and_limits_as_they_come(deployment: Deployment) -> None:
    path = deployment.spoilt_registration(hs_token="another-secret-than-the-bridge-has")
    page = deployment.site.plan.page
    await deployment.restart(
        {
            "max_event_delay_duration": "10m",
            "rc_delayed_event_mgmt": None,
            "matrix_rtc": {"transports": []},
            "extra_well_known_client_content": {_FOCI: transports(f"{page}/")},
        },
        path,
    )
    found = await deployment.examine(*_HOMESERVER, "homeserver.ping", "federation.openid")
    said = remedy(found, "homeserver.ping", "ping.token")
    assert str(deployment.registration) in said
    assert found["doors.homeserver"].outcome == "not_checked"
    assert "24h" in remedy(found, "homeserver.delays", "delay.short")
    assert page in remedy(found, "discovery.transports", "transports.none")
    assert f'"{page}"' in remedy(found, "discovery.client", "known.slash")
    assert found["doors.sfu_get"].outcome == "ok"  # it needs no way back
    assert found["federation.openid"].outcome == "ok"


async def test_a_registration_of_long_ago_and_a_slash_too_many(deployment: Deployment) -> None:
    page = deployment.site.plan.page
    old = deployment.spoilt_registration(
        without=(
            "io.element.msc4512.proxy_prefix",
            "io.element.msc4512.proxy_url",
            "io.element.msc4502.scopes",
        )
    )
    client = {
        "port": deployment.site.plan.client_port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "tls": False,
        "resources": [{"names": ["client", "media", "health"]}],
    }
    federation = {
        "port": deployment.site.plan.federation_port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "tls": True,
        "resources": [{"names": ["keys", "media"]}],
    }
    await deployment.restart(
        {
            "matrix_rtc": {"transports": transports(f"{page}/")},
            "extra_well_known_client_content": {_FOCI: transports("https://other.example.org")},
            "rc_delayed_event_mgmt": None,
            "experimental_features": with_feature(msc3202_transaction_extensions=False),
            "listeners": [client, federation],
        },
        old,
    )
    found = await deployment.examine(
        *_HOMESERVER,
        "registration.complete",
        "federation.openid",
        appservice__registration=str(old),
    )
    _misses_what_was_left_out(found)
    assert "scopes" in remedy(found, "homeserver.joined", "joined.scope")
    said = remedy(found, "doors.homeserver", "proxy.off")
    assert 'io.element.msc4512.proxy_prefix: "rtc/livekit"' in said
    said = remedy(found, "discovery.transports", "transports.slash")
    assert f'livekit_service_url: "{page}"' in said
    assert page in remedy(found, "discovery.client", "known.other")
    assert "rc_delayed_event_mgmt" in remedy(found, "homeserver.rates", "rates.low")
    assert "openid" in remedy(found, "doors.sfu_get", "door.openid")
    said = remedy(found, "sealed.device", "device.counts")
    assert "msc3202_transaction_extensions: true" in said
    assert "m.server" not in remedy(found, "federation.found", "federation.stranger")
    assert found["federation.openid"].outcome == "not_checked"


def _misses_what_was_left_out(found: dict[str, Finding]) -> None:
    missing = {one.values["key"] for one in found["registration.complete"].remarks}
    assert missing == {
        "io.element.msc4512.proxy_prefix",
        "io.element.msc4512.proxy_url",
        "io.element.msc4502.scopes",
    }
    said = remedy(found, "registration.complete", "registration.missing")
    assert "io.element.msc4502.scopes: [" in said


async def test_an_address_of_the_bridge_where_nobody_is(deployment: Deployment) -> None:
    path = deployment.spoilt_registration(url="http://127.0.0.1:1")
    await deployment.restart({}, path)
    found = await deployment.examine("homeserver.ping", appservice__registration=str(path))
    said = remedy(found, "homeserver.ping", "ping.unreachable")
    assert f"{path}, `url`" in said
