"""A real Synapse on this machine: for `python -m bridge dev`, the demo and the tests.

Synapse lives in a virtual environment of its own (`.venv-synapse`, or the interpreter named by
COLLOQUE_SYNAPSE_PYTHON): its dependencies are its own affair. The object holds a process and
addresses, nothing of an event loop, so tests may share one between loops.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp

from bridge.dev.certificates import ensure_authority, ensure_server
from bridge.dev.person import MatrixError, Person, call
from bridge.dev.ports import free_ports, is_free
from bridge.dev.process import last_words, spawn, stop
from bridge.errors import ColloqueError

ROOT = Path(__file__).resolve().parents[2]
_START_S = 60.0


class HomeserverError(ColloqueError):
    """Synapse is not installed, or did not start. `str(error)` is one clear line."""


def synapse_python() -> Path:
    """The interpreter that has Synapse. Raises HomeserverError where there is none."""
    python = Path(os.environ.get("COLLOQUE_SYNAPSE_PYTHON", ROOT / ".venv-synapse/bin/python"))
    if not python.exists():
        raise HomeserverError(f"Synapse is not installed ({python} is missing): run `make install`")
    return python


class Synapse:
    """One homeserver: SQLite, loopback, federation by TLS; its data outlive it in `data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        client_port: int,
        federation_port: int,
        authority: Path,
        registrations: Iterable[Path] = (),
        rtc_service_url: str = "",
    ) -> None:
        """Nothing starts yet. `rtc_service_url`: the token service its clients are told of."""
        self.data_dir = data_dir
        self.client_port = client_port
        self.federation_port = federation_port
        self.server_name = f"localhost:{federation_port}"
        self.client_url = f"http://127.0.0.1:{client_port}"
        self.federation_url = f"https://localhost:{federation_port}"
        self.authority = authority
        self.registrations = [Path(path) for path in registrations]
        self.rtc_service_url = rtc_service_url
        self.changes: dict[str, Any] = {}
        """Settings that stand above those of this module from the next start on; None: without."""
        self.shared_secret = ""
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    async def create(
        cls,
        data_dir: Path,
        *,
        registrations: Iterable[Path] = (),
        rtc_service_url: str = "",
        authority: Path | None = None,
    ) -> Synapse:
        """Start one on free ports. Two that shall federate share an `authority` (ca.pem)."""
        client_port, federation_port = free_ports(2)
        server = cls(
            data_dir,
            client_port=client_port,
            federation_port=federation_port,
            authority=authority or ensure_authority(data_dir),
            registrations=registrations,
            rtc_service_url=rtc_service_url,
        )
        await server.start()
        return server

    # the process

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    async def start(self, registrations: Iterable[Path] | None = None) -> None:
        """Write the configuration and start; returns when it answers. Raises HomeserverError."""
        if registrations is not None:
            self.registrations = [Path(path) for path in registrations]
        python = synapse_python()
        for port in (self.client_port, self.federation_port):
            if not is_free(port):
                raise HomeserverError(
                    f"port {port} is taken: end what listens there, or choose other ports"
                )
        config = self._write_config()
        # -B: nothing writes into the installation; unbuffered, so that a crash leaves its reason.
        command = [str(python), "-B", "-u", "-m", "synapse.app.homeserver", "-c", str(config)]
        self._process = spawn(command, log=self.log_path, cwd=self.data_dir)
        try:
            await self._wait_until_up()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it as an administrator would (SIGTERM; SIGKILL after 10 s)."""
        if self._process is not None:
            await stop(self._process, grace_s=10)

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    async def restart(self, registrations: Iterable[Path] | None = None) -> None:
        """Stop, then start with the same data (and, if given, other registrations)."""
        await self.stop()
        await self.start(registrations)

    @property
    def log_path(self) -> Path:
        """Where Synapse writes what it has to say."""
        return self.data_dir / "homeserver.log"

    async def _wait_until_up(self) -> None:
        end = time.monotonic() + _START_S
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < end:
                if self.pid is None:
                    raise HomeserverError(f"Synapse did not start: {last_words(self.log_path)}")
                try:
                    async with http.get(f"{self.client_url}/health") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                # There is no event to wait for: a port opens when it opens.
                await asyncio.sleep(0.05)
        raise HomeserverError(f"Synapse did not answer within {_START_S:.0f} s: {self.log_path}")

    # configuration

    def _write_config(self) -> Path:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.shared_secret = self._kept("registration_shared_secret", secrets.token_hex(24))
        seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self._kept("signing.key", f"ed25519 a_{secrets.token_hex(3)} {seed}\n")
        path = self.data_dir / "homeserver.yaml"
        # JSON is YAML; nobody edits this file, it is written at every start.
        path.write_text(json.dumps(self._config(), indent=1), encoding="utf-8")
        log = self.data_dir / "log.yaml"
        log.write_text(json.dumps(_LOG), encoding="utf-8")
        return path

    def _kept(self, name: str, fresh: str) -> str:
        path = self.data_dir / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(fresh, encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()

    def _config(self) -> dict[str, Any]:
        certificate, key = ensure_server(self.data_dir, self.authority)
        config = {
            "server_name": self.server_name,
            "public_baseurl": f"{self.client_url}/",
            "pid_file": str(self.data_dir / "homeserver.pid"),
            "listeners": [
                _listener(self.client_port, ["client", "openid", "media", "health"], tls=False),
                _listener(self.federation_port, _FEDERATION, tls=True),
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(self.authority)],
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self.data_dir / "homeserver.db")},
            },
            "media_store_path": str(self.data_dir / "media"),
            "signing_key_path": str(self.data_dir / "signing.key"),
            "log_config": str(self.data_dir / "log.yaml"),
            "registration_shared_secret": self.shared_secret,
            "macaroon_secret_key": self.shared_secret,
            "form_secret": self.shared_secret,
            "app_service_config_files": [str(path) for path in self.registrations],
            **self._rtc(),
            **_CONSTANT,
            **self.changes,
        }
        return {name: value for name, value in config.items() if value is not None}

    def _rtc(self) -> dict[str, Any]:
        """The token service, in both places where clients look for it."""
        if not self.rtc_service_url:
            return {}
        transports = [{"type": "livekit", "livekit_service_url": self.rtc_service_url}]
        return {
            "matrix_rtc": {"transports": transports},
            "extra_well_known_client_content": {"org.matrix.msc4143.rtc_foci": transports},
        }

    # people

    async def register(self, localpart: str, password: str = "", *, admin: bool = False) -> Person:
        """A new user, signed in. Raises MatrixError 400 M_USER_IN_USE for a name that is taken."""
        password = password or secrets.token_urlsafe(12)
        url = f"{self.client_url}/_synapse/admin/v1/register"
        nonce = str((await call("GET", url))["nonce"])
        fields = [nonce, localpart, password, "admin" if admin else "notadmin"]
        # HMAC-SHA1 is what this API of Synapse asks for ("Shared-Secret Registration").
        mac = hmac.new(self.shared_secret.encode(), "\0".join(fields).encode(), hashlib.sha1)
        body = {
            "nonce": nonce,
            "username": localpart,
            "password": password,
            "admin": admin,
            "mac": mac.hexdigest(),
        }
        return self._person(await call("POST", url, body=body), password)

    async def login(self, localpart: str, password: str, device_id: str = "") -> Person:
        """Someone who has an account signs in; on the same device if one is named."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": localpart},
            "password": password,
            "initial_device_display_name": "development",
        }
        if device_id:
            body["device_id"] = device_id
        answer = await call("POST", f"{self.client_url}/_matrix/client/v3/login", body=body)
        return self._person(answer, password)

    async def ensure_person(self, localpart: str, password: str, device_id: str = "") -> Person:
        """Sign in, registering first where there is no such user yet."""
        try:
            return await self.login(localpart, password, device_id)
        except MatrixError as error:
            if error.status != 403:
                raise
        await self.register(localpart, password)
        return await self.login(localpart, password, device_id)

    def _person(self, answer: dict[str, Any], password: str) -> Person:
        return Person(
            homeserver=self.client_url,
            user_id=str(answer["user_id"]),
            password=password,
            access_token=str(answer["access_token"]),
            device_id=str(answer["device_id"]),
        )


async def federated(folder: Path, count: int = 2, **more: Any) -> list[Synapse]:
    """`count` homeservers on free ports that trust each other, started side by side."""
    authority = ensure_authority(folder)
    starts = (
        Synapse.create(folder / f"hs{number}", authority=authority, **more)
        for number in range(1, count + 1)
    )
    return list(await asyncio.gather(*starts))


def _listener(port: int, names: list[str], *, tls: bool) -> dict[str, Any]:
    return {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "tls": tls,
        "resources": [{"names": names, "compress": False}],
    }


# The client API too: other sites' bridges postpone their users' leaves there (MSC4140).
_FEDERATION = ["federation", "keys", "media", "client"]
_FAST = {"per_second": 1000, "burst_count": 1000}

# Everything in here is for development on one machine: no limits, no notary, loopback allowed.
_CONSTANT: dict[str, Any] = {
    "report_stats": False,
    "trusted_key_servers": [],
    "suppress_key_server_warning": True,
    # Without it Synapse refuses to federate with a loopback address.
    "ip_range_whitelist": ["127.0.0.0/8", "::1/128"],
    "presence": {"enabled": False},
    "enable_registration": False,
    "bcrypt_rounds": 4,
    # Delayed events (MSC4140) are off without it; Element Call asks for an hour (MSC4143).
    "max_event_delay_duration": "24h",
    "experimental_features": {
        "msc4143_enabled": True,
        "msc4354_enabled": True,
        "msc4222_enabled": True,
        "msc4512_enabled": True,
        "msc4502_enabled": True,
        "msc2409_to_device_messages_enabled": True,
        "msc3202_transaction_extensions": True,
        "msc4140_max_delayed_events_per_user": 500,
    },
    "rc_message": _FAST,
    "rc_registration": _FAST,
    "rc_login": {"address": _FAST, "account": _FAST, "failed_attempts": _FAST},
    "rc_joins": {"local": _FAST, "remote": _FAST},
    "rc_joins_per_room": _FAST,
    "rc_invites": {"per_room": _FAST, "per_user": _FAST, "per_issuer": _FAST},
    "rc_room_creation": _FAST,
    "rc_delayed_event_mgmt": _FAST,
    "rc_federation": {
        "window_size": 1000,
        "sleep_limit": 1000,
        "sleep_delay": 10,
        "reject_limit": 2000,
        "concurrent": 20,
    },
}

_LOG = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}
