"""A healthy deployment is called healthy; each mistake put into it is found, with its remedy.

Mistakes in the homeserver's own configuration are in test_doctor_homeserver.py.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.doctor import media, room
from bridge.doctor.checks import CHECKS, FROM_OUTSIDE, ROOM_CHECKS
from bridge.doctor.run import examine
from bridge.media.keys import api_key
from bridge.media.server import MediaServer
from tests.bridge.doctor.deployment import (
    Deployment,
    key_line,
    proxy,
    remedy,
    second_sfu,
)

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.asyncio(loop_scope="module"),
]


async def doctor(*arguments: str) -> tuple[int, str, str]:
    """The command as an administrator types it."""
    command = [sys.executable, "-m", "bridge", "doctor", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


async def test_a_healthy_deployment_is_all_green(deployment: Deployment) -> None:
    status, report, progress = await doctor(
        "--config", str(deployment.config()), "--room", deployment.room, "--json"
    )
    checks = {one["check"]: one for one in json.loads(report)["checks"]}
    bad = [one for one in checks.values() if one["outcome"] in {"failed", "warning"}]
    assert (status, bad) == (0, [])
    assert set(checks) == {check.name for check in (*CHECKS, *ROOM_CHECKS)}
    skipped = {name for name, one in checks.items() if one["outcome"] == "not_checked"}
    # Nothing of the kind in development.
    assert skipped == {"web.certificates", "media.turn", "scribe.voices"}
    assert "Le salon" in progress or "The room" in progress
    _without_secrets(deployment, report + progress)


def _without_secrets(deployment: Deployment, text: str) -> None:
    lines = deployment.registration.read_text().splitlines()
    secrets = [line.partition(" ")[2].strip('"') for line in lines if "_token:" in line]
    secrets.append(api_key(deployment.settings).secret)
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in text]
    assert "eyJ" not in text  # a JWT


async def test_it_leaves_nothing_at_the_media_server(deployment: Deployment) -> None:
    server = MediaServer(deployment.settings.media.api_url, api_key(deployment.settings))
    try:
        found = await deployment.examine("media.join", "doors.sfu_get")
        assert found["media.join"].outcome == found["doors.sfu_get"].outcome == "ok"
        assert await server.rooms() == []
    finally:
        await server.close()


# the command


async def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("homeserver:\n  adress: x\n")
    status, report, _ = await doctor("--config", str(file), "--lang", "fr")
    assert status == 1
    assert "✗ Fichier de configuration" in report
    assert "did you mean `address`?" in report
    assert "doit d’abord fonctionner" in report
    assert "1 en échec" in report


async def test_from_outside_only_what_clients_reach_is_looked_at(deployment: Deployment) -> None:
    key = api_key(deployment.settings)
    config = deployment.config(
        homeserver__address="http://127.0.0.1:1",
        web__listen="127.0.0.1:1",
        appservice__registration="nowhere.yaml",
        media__api_url="http://127.0.0.1:1",
        media__api_key=key.key,
        media__api_secret=key.secret,
        data_dir="nowhere",
    )
    found = {one.check: one.outcome for one in await examine(config, outside=True)}
    assert set(found) == FROM_OUTSIDE
    assert found.pop("web.certificates") == found.pop("media.turn") == "not_checked"
    assert set(found.values()) == {"ok"}


# encrypted rooms


async def test_encryption_that_is_off_is_said_with_its_reason(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = ("sealed.wanted", "sealed.key", "sealed.device")
    found = await deployment.examine(*checks, encryption={"enabled": False})
    assert {found[name].outcome for name in checks} == {"not_checked"}
    spoilt = deployment.spoilt_registration(without=("org.matrix.msc3202",))
    found = await deployment.examine(*checks, appservice__registration=str(spoilt))
    said = remedy(found, "sealed.wanted", "sealed.registration")
    assert str(spoilt) in said
    assert "org.matrix.msc3202: true" in said
    assert {found[name].outcome for name in checks[1:]} == {"not_checked"}
    monkeypatch.setattr("bridge.crypto.installed", lambda: False)
    found = await deployment.examine("sealed.wanted")
    assert "colloque[encryption]" in remedy(found, "sealed.wanted", "sealed.packages")


async def test_the_key_of_what_is_stored(deployment: Deployment, tmp_path: Path) -> None:
    found = await deployment.examine("sealed.key")
    assert found["sealed.key"].outcome == "ok"
    file = tmp_path / "encryption.key"
    found = await deployment.examine("sealed.key", data_dir=str(tmp_path))
    assert "identity was reset" in remedy(found, "sealed.key", "secret.none")
    assert not file.exists(), "the doctor makes none"
    file.write_text("{}")
    found = await deployment.examine("sealed.key", data_dir=str(tmp_path))
    assert str(file) in remedy(found, "sealed.key", "secret.wrong")
    kept = deployment.settings.path(deployment.settings.data_dir) / "encryption.key"
    file.write_bytes(kept.read_bytes())
    file.chmod(0o640)
    found = await deployment.examine("sealed.key", data_dir=str(tmp_path))
    assert "chmod 600" in remedy(found, "sealed.key", "secret.open")


# this machine


async def test_the_bridge_does_not_run(deployment: Deployment) -> None:
    found = await deployment.examine(
        "bridge.web", "bridge.appservice", web__listen="127.0.0.1:1", appservice__listen="[::1]:1"
    )
    assert "web.listen" in remedy(found, "bridge.web", "bridge.down")
    assert "appservice.listen" in remedy(found, "bridge.appservice", "appservice.down")


async def test_ports_exchanged(deployment: Deployment) -> None:
    settings = deployment.settings
    found = await deployment.examine(
        "bridge.web",
        "bridge.appservice",
        web__listen=settings.appservice.listen,
        appservice__listen=settings.web.listen,
    )
    assert "web.listen" in remedy(found, "bridge.web", "bridge.stranger")
    assert "appservice.listen" in remedy(found, "bridge.appservice", "appservice.stranger")


async def test_files_that_are_not_there(deployment: Deployment) -> None:
    found = await deployment.examine(
        "config.database",
        "config.disk",
        "config.key",
        "registration.readable",
        data_dir="nowhere",
        database__url="sqlite:nowhere/x.db",
        appservice__registration="nowhere.yaml",
    )
    assert "data_dir" in remedy(found, "config.disk", "disk.missing")
    assert "database.url" in remedy(found, "config.database", "database.unreachable")
    assert "media.api_key" in remedy(found, "config.key", "key.none")
    assert "generate-registration" in remedy(found, "registration.readable", "registration.wrong")


async def test_a_postgresql_that_is_not_there(deployment: Deployment) -> None:
    url = "postgresql://colloque:secret@127.0.0.1:1/colloque"
    found = await deployment.examine("config.database", database__url=url)
    assert "database.url" in remedy(found, "config.database", "database.unreachable")
    assert "secret" not in str(found["config.database"])


async def test_addresses_no_client_can_use(deployment: Deployment) -> None:
    found = await deployment.examine(
        "config.addresses",
        homeserver__server_name="example.org",
        web__public_url="http://visio.example.org/",
        media__public_url="http://127.0.0.1:7880",
    )
    assert "https://" in remedy(found, "config.addresses", "address.plain")
    assert "media.public_url" in remedy(found, "config.addresses", "address.scheme")
    assert "web.public_url" in remedy(found, "config.addresses", "address.slash")
    found = await deployment.examine("config.addresses", homeserver__server_name="example.org")
    assert "media.public_url" in remedy(found, "config.addresses", "address.loopback")


# tokens


async def test_a_wrong_as_token(deployment: Deployment) -> None:
    path = deployment.spoilt_registration(as_token="another-secret-than-the-homeserver-has")
    found = await deployment.examine("doors.sfu_get", appservice__registration=str(path))
    assert "app_service_config_files" in remedy(found, "homeserver.token", "token.refused")
    assert found["doors.sfu_get"].outcome == "not_checked"


async def test_a_bridge_that_runs_with_another_hs_token(deployment: Deployment) -> None:
    path = deployment.spoilt_registration(hs_token="another-secret-than-the-bridge-has")
    found = await deployment.examine("bridge.appservice", appservice__registration=str(path))
    said = remedy(found, "bridge.appservice", "appservice.token")
    assert str(path) in said


async def test_the_name_of_another_server(deployment: Deployment) -> None:
    found = await deployment.examine("homeserver.token", homeserver__server_name="example.org")
    said = remedy(found, "homeserver.token", "token.server")
    assert f'homeserver.server_name: "{deployment.site.plan.server_name}"' in said


async def test_a_homeserver_that_is_somewhere_else(deployment: Deployment) -> None:
    found = await deployment.examine("homeserver.token", homeserver__address="http://127.0.0.1:1")
    assert "homeserver.address" in remedy(found, "homeserver.reachable", "homeserver.down")
    found = await deployment.examine(
        "homeserver.token",
        homeserver__address=deployment.settings.web.public_url,
        homeserver__public_address=deployment.settings.web.public_url,
    )
    assert "homeserver.address" in remedy(found, "homeserver.reachable", "homeserver.stranger")


# the reverse proxy


async def test_a_proxy_that_strips_no_prefix(deployment: Deployment) -> None:
    async with proxy(deployment.site.plan.page) as url:
        found = await deployment.examine("web.public", web__public_url=f"{url}/livekit/jwt")
    said = remedy(found, "web.public", "web.prefix")
    assert "location /livekit/jwt/" in said
    assert deployment.settings.web.listen in said


async def test_a_proxy_that_passes_only_sfu_get(deployment: Deployment) -> None:
    def some(path: str) -> str | None:
        return path if path in {"/sfu/get", "/healthz"} else None

    async with proxy(deployment.site.plan.page, passes=some) as url:
        found = await deployment.examine("web.routes", "web.preflight", web__public_url=url)
    paths = {one.values["path"] for one in found["web.routes"].remarks}
    assert {"/get_token", "/delegate_delayed_leave", "/"} <= paths
    assert "/sfu/get" not in paths
    assert deployment.settings.web.listen in remedy(found, "web.routes", "route.elsewhere")
    refused = {one.values["path"] for one in found["web.preflight"].remarks}
    assert refused == {"/get_token", "/delegate_delayed_leave"}
    assert "OPTIONS" in remedy(found, "web.preflight", "preflight.refused")


async def test_a_proxy_that_adds_headers_of_its_own(deployment: Deployment) -> None:
    twice = {"Access-Control-Allow-Origin": "https://element.example.org"}
    async with proxy(deployment.site.plan.page, headers=twice) as url:
        found = await deployment.examine("web.routes", web__public_url=url)
    assert "CORS" in remedy(found, "web.routes", "cors.twice")


async def test_a_name_that_leads_elsewhere(deployment: Deployment) -> None:
    page = deployment.site.plan.page
    async with proxy(page, redirect="https://other.example.org/") as url:
        found = await deployment.examine("web.routes", web__public_url=url)
    assert "web.public_url" in remedy(found, "web.public", "web.redirect")
    assert found["web.routes"].outcome == "not_checked"
    async with proxy(page, answer={"instance": "0123456789abcdef", "parts": {}}) as url:
        found = await deployment.examine("web.public", web__public_url=url)
    assert deployment.settings.web.listen in remedy(found, "web.public", "web.other")
    async with proxy(page, answer={"hello": "world"}) as url:
        found = await deployment.examine("web.public", web__public_url=url)
    assert "deploy/nginx.conf" in remedy(found, "web.public", "web.stranger")


async def test_a_public_address_nobody_listens_at(deployment: Deployment) -> None:
    found = await deployment.examine("web.public", web__public_url="http://127.0.0.1:1")
    assert "web.public_url" in remedy(found, "web.public", "web.down")
    found = await deployment.examine("web.public", web__public_url="http://no-such.invalid")
    assert "DNS" in remedy(found, "web.public", "web.dns")


# the media server


async def test_the_secret_of_another_media_server(deployment: Deployment) -> None:
    key = api_key(deployment.settings).key
    found = await deployment.examine(
        "media.join", media__api_key=key, media__api_secret="the-secret-of-another-livekit-server"
    )
    assert "media.api_secret" in remedy(found, "api.key", "media.key")
    assert found["media.signal"].outcome == found["media.join"].outcome == "not_checked"


async def test_a_media_server_that_does_not_run(deployment: Deployment) -> None:
    found = await deployment.examine("api.key", media__api_url="http://127.0.0.1:1")
    assert "sfu.log" in remedy(found, "api.reachable", "media.down")
    found = await deployment.examine("api.key", media__api_url=deployment.site.plan.page)
    assert "media.api_url" in remedy(found, "api.key", "media.stranger")


async def test_a_clock_that_is_wrong(deployment: Deployment) -> None:
    """The doctor's own clock stands for the machine's: tokens are dated an hour ahead."""
    found = await deployment.examine("api.clock", "api.key", clock=lambda: time.time() + 3600)
    assert "NTP" in remedy(found, "api.clock", "clock.off")
    wrong = {one.values["where"]: one.values["seconds"] for one in found["api.clock"].remarks}
    settings = deployment.settings
    assert set(wrong) == {settings.media.api_url, settings.homeserver.address}
    assert all(abs(int(seconds) + 3600) <= 2 for seconds in wrong.values())
    assert found["api.key"].outcome == "failed"  # the media server says no to such a token


async def test_a_wrong_address_of_signalling(deployment: Deployment) -> None:
    found = await deployment.examine("media.signal", media__public_url="ws://127.0.0.1:1")
    assert "media.public_url" in remedy(found, "media.signal", "signal.down")
    web = deployment.site.plan.page.replace("http", "ws")
    found = await deployment.examine("media.signal", media__public_url=web)
    said = remedy(found, "media.signal", "signal.route")
    assert "Upgrade" in said
    assert deployment.settings.media.api_url in said


async def test_signalling_of_another_media_server(deployment: Deployment) -> None:
    with second_sfu("other: a-secret-that-is-long-enough-for-hs256") as url:
        found = await deployment.examine(
            "media.signal", media__public_url=url.replace("http", "ws")
        )
    assert "media.api_url" in remedy(found, "media.signal", "signal.key")


async def test_media_ports_that_are_not_reached_and_news_that_are_not_ours(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "WAY_S", 1.0)
    # The addresses given to clients lead nowhere (TEST-NET, RFC 5737); another key signs the news.
    keys = f"{key_line(deployment)}, other: a-secret-that-is-long-enough-for-hs256"
    news = f"{deployment.site.plan.page}/media/webhook"
    more = ["--advertise", "192.0.2.1", "--webhook", news, "--webhook-key", "other"]
    with second_sfu(keys, *more) as url:
        found = await deployment.examine(
            "media.udp",
            "media.tcp",
            "media.join",
            "media.webhooks",
            media__api_url=url,
            media__public_url=url.replace("http", "ws"),
        )
    assert "192.0.2.1" in str(found["media.udp"])
    port = str(deployment.settings.media.rtc_udp_port)
    said = remedy(found, "media.udp", "udp.silent")
    assert port in said
    assert "media.advertised_addresses" in said
    assert "TCP" in remedy(found, "media.tcp", "tcp.silent")
    assert found["media.join"].outcome == "not_checked"
    assert "webhook.api_key" in remedy(found, "media.webhooks", "webhooks.refused")


async def test_a_media_server_without_news_and_without_tcp(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "NEWS_S", 1.0)
    with second_sfu(key_line(deployment)) as url:
        found = await deployment.examine(
            "media.webhooks",
            "media.tcp",
            media__api_url=url,
            media__public_url=url.replace("http", "ws"),
            media__rtc_tcp_port=0,
        )
    assert "webhook.urls" in remedy(found, "media.webhooks", "webhooks.none")
    assert "media.rtc_tcp_port: 7881" in remedy(found, "media.tcp", "tcp.none")


async def test_a_scribe_that_is_not_there(deployment: Deployment) -> None:
    parts = {"homeserver": "ok", "media": "ok", "scribe": "down"}
    async with proxy("", answer={"instance": "0", "parts": parts}) as url:
        listen = url.removeprefix("http://")
        found = await deployment.examine("scribe.ready", web__listen=listen)
        assert "scribe.engine" in remedy(found, "scribe.ready", "scribe.down")
        found = await deployment.examine(
            "scribe.ready", web__listen=listen, scribe__supervise=False
        )
        assert "colloque-scribe" in remedy(found, "scribe.ready", "scribe.elsewhere")


# a room

ROOM = tuple(check.name for check in ROOM_CHECKS)


async def test_a_room_where_only_moderators_may_call(deployment: Deployment) -> None:
    alice, bot = deployment.site.people[0], deployment.site.bot
    old = await alice.create_room("Old", invite=[bot])
    await deployment.bot_joins(old)
    found = await deployment.examine(*ROOM, room=old)
    said = remedy(found, "room.call_power", "power.call")
    assert '"org.matrix.msc3401.call.member": 0' in said
    assert f"{bot} power level 50" in remedy(found, "room.bot_power", "power.bot")
    assert "notifications.room" in remedy(found, "room.bot_power", "power.ring")
    assert found["room.servers"].outcome == "ok"


async def test_a_room_without_the_bot(deployment: Deployment) -> None:
    private = await deployment.site.people[0].create_room("Private")
    found = await deployment.examine(*ROOM, room=private)
    assert f"/invite {deployment.site.bot}" in remedy(found, "room.joined", "room.absent")
    assert found["room.call_power"].outcome == "not_checked"


async def test_a_room_with_a_ghost_and_a_closed_slot(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = deployment.site.people[0]
    transport = {"type": "livekit", "livekit_service_url": deployment.site.plan.page}
    member = {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": "GONE",
        "expires": 14_400_000,
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [transport],
    }
    key = f"_{alice.user_id}_GONE_m.call"
    await alice.set_state(deployment.room, "org.matrix.msc3401.call.member", member, key)
    slot = {"status": "closed"}
    await alice.set_state(deployment.room, "org.matrix.msc4143.rtc.slot", slot, "m.call#ROOM")
    monkeypatch.setattr(room, "FRESH_MS", -1)
    found = await deployment.examine(*ROOM, room=deployment.room)
    assert remedy(found, "room.ghosts", "ghosts.some")
    assert alice.user_id in str(found["room.ghosts"])
    assert "org.matrix.msc4143.rtc.slot" in remedy(found, "room.slot", "slot.closed")
