"""Where each part of a development site lies: folders, ports, names, configuration."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from bridge import config
from bridge.config import Settings
from bridge.dev.homeserver import ROOT
from bridge.dev.ports import is_free
from bridge.errors import ColloqueError

PORTS_A_SITE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """One homeserver with its people and, unless `bridge` is false, its bridge."""

    name: str
    folder: Path
    first_port: int
    people: tuple[str, ...]
    bridge: bool = True
    service: str = ""
    """Without a bridge: whose token service the homeserver names to its clients."""
    client_apis: tuple[str, ...] = ()
    """Of other homeservers, as the bridge's setting of that name."""

    @property
    def client_port(self) -> int:
        """The homeserver's client API."""
        return self.first_port

    @property
    def federation_port(self) -> int:
        """The homeserver's federation API, and so a part of its name."""
        return self.first_port + 1

    @property
    def appservice_port(self) -> int:
        """Where the homeserver reaches the bridge."""
        return self.first_port + 2

    @property
    def web_port(self) -> int:
        """Join page, token service, metrics."""
        return self.first_port + 3

    @property
    def media_port(self) -> int:
        """The sfu's signalling and server API."""
        return self.first_port + 4

    @property
    def rtc_tcp_port(self) -> int:
        """The sfu's media over TCP."""
        return self.first_port + 5

    @property
    def rtc_udp_port(self) -> int:
        """The sfu's media over UDP."""
        return self.first_port + 6

    @property
    def server_name(self) -> str:
        """With a port in it, other servers ask no well-known file and no DNS."""
        return f"localhost:{self.federation_port}"

    @property
    def page(self) -> str:
        """The join page, and the address of the token service."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def config_path(self) -> Path:
        """The bridge's configuration."""
        return self.folder / "bridge.yaml"

    @property
    def ports(self) -> range:
        """Every port of the site."""
        return range(self.first_port, self.first_port + PORTS_A_SITE)


def check_ports(plan: SitePlan) -> None:
    """Raise ColloqueError, naming the port, where one of the site's is taken."""
    used = plan.ports[:7] if plan.bridge else plan.ports[:2]
    taken = [port for port in used if not is_free(port)]
    if taken:
        raise ColloqueError(
            f"port {taken[0]} is taken (site {plan.name} needs {used[0]} to {used[-1]}): "
            "end what listens there, or choose others with --port-base"
        )


def write_config(plan: SitePlan) -> Settings:
    """The site's bridge.yaml, from config/config.example.yaml; what a person changed is kept."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    fresh = not plan.config_path.exists()
    source = ROOT / "config" / "config.example.yaml" if fresh else plan.config_path
    yaml = YAML(typ="rt")
    yaml.width = 4096  # no line is broken
    document: CommentedMap = yaml.load(source.read_text(encoding="utf-8"))
    _set(document, _addresses(plan))
    if fresh:
        _set(document, _FIRST_CHOICES)
    text = io.StringIO()
    yaml.dump(document, text)
    plan.config_path.write_text(text.getvalue(), encoding="utf-8")
    return config.load(plan.config_path)


def _set(document: CommentedMap, sections: Mapping[str, Mapping[str, Any]]) -> None:
    for name, values in sections.items():
        document.setdefault(name, CommentedMap()).update(values)


def _addresses(plan: SitePlan) -> dict[str, dict[str, Any]]:
    client = f"http://127.0.0.1:{plan.client_port}"
    return {
        "homeserver": {
            "address": client,
            "server_name": plan.server_name,
            "public_address": client,
        },
        "appservice": {"listen": f"127.0.0.1:{plan.appservice_port}"},
        "web": {"listen": f"127.0.0.1:{plan.web_port}", "public_url": plan.page},
        "media": {
            "public_url": f"ws://127.0.0.1:{plan.media_port}",
            "api_url": f"http://127.0.0.1:{plan.media_port}",
            "rtc_udp_port": plan.rtc_udp_port,
            "rtc_tcp_port": plan.rtc_tcp_port,
            "bind": ["127.0.0.1"],
        },
        # Every homeserver here is at a loopback address, with a certificate of our own authority.
        "federation": {
            "allow_private_addresses": True,
            "verify_certificates": False,
            "client_apis": list(plan.client_apis),
        },
    }


# English, because the recognizer that needs no download knows English.
_FIRST_CHOICES: dict[str, dict[str, Any]] = {
    "conference": {"language": "en", "captions": True, "transcript": True}
}
