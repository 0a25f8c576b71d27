"""What an administrator copies from deploy/ fits the programs and their default ports."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.config import Settings
from bridge.web import discovery

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WEB = Settings().web.listen
SIGNAL = Settings().media.api_url.removeprefix("http://")
TOKEN_ROUTES = ["/sfu/get", "/get_token", "/delegate_delayed_leave"]


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_start_programs_with_options_they_have(path: Path) -> None:
    command = shlex.split(unit(path)["Service"]["ExecStart"])
    assert command[0] == "/opt/colloque/.venv/bin/python"
    options = [word for word in command[2:] if word.startswith("--")]
    # `-m bridge run` and the like: everything before the first option.
    program = command[1 : command.index(options[0])]
    shown = subprocess.run(
        [sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in options:
        assert re.search(rf"{option}\b", shown.stdout), f"{program} has no {option}"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_run_as_a_user_without_rights(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["User"] == "colloque"
    assert service["NoNewPrivileges"] == "true"
    assert service["Restart"] == "always"
    assert "secret" not in service["ExecStart"]


def test_systemd_leaves_a_dead_bridges_sfu_alone() -> None:
    service = unit(DEPLOY / "systemd" / "colloque-bridge.service")["Service"]
    assert service["KillMode"] == "process"


def test_systemd_waits_for_the_calls_of_an_sfu_that_ends() -> None:
    service = unit(DEPLOY / "systemd" / "colloque-sfu.service")["Service"]
    words = shlex.split(service["ExecStart"])
    drain = int(words[words.index("--drain-s") + 1])
    assert int(service["TimeoutStopSec"]) >= drain + 15
    bridge = unit(DEPLOY / "systemd" / "colloque-bridge.service")["Service"]
    assert int(bridge["TimeoutStopSec"]) >= Settings().media.drain_s + 15


# nginx


class Block(list[tuple[list[str], "Block | None"]]):
    """Directives in order: their words, and what their braces hold."""

    def blocks(self, *head: str) -> Iterator[Block]:
        for words, inner in self:
            if words == list(head) and inner is not None:
                yield inner

    def values(self, name: str) -> list[list[str]]:
        return [words[1:] for words, inner in self if words[0] == name and inner is None]


def parse_nginx(text: str) -> Block:
    tokens = re.findall(r'"[^"]*"|[{};]|[^\s{};"]+', re.sub(r"#.*", "", text))
    top = Block()
    stack, words = [top], []
    for token in tokens:
        if token == "{":
            inner = Block()
            stack[-1].append((words, inner))
            stack.append(inner)
            words = []
        elif token == "}":
            assert not words, f"{words} lacks its semicolon"
            stack.pop()
        elif token == ";":
            stack[-1].append((words, None))
            words = []
        else:
            words.append(token.strip('"'))
    assert stack == [top], "a brace is not closed"
    assert not words, f"{words} lacks its semicolon"
    return top


@pytest.fixture(scope="module")
def nginx() -> Block:
    return parse_nginx((DEPLOY / "nginx.conf").read_text())


def secure_server(nginx: Block) -> Block:
    (server,) = [
        server for server in nginx.blocks("server") if ["443", "ssl"] in server.values("listen")
    ]
    return server


def upstream(nginx: Block, location: Block) -> str:
    ((address,),) = location.values("proxy_pass")
    (target,) = nginx.blocks("upstream", address.removeprefix("http://"))
    return target.values("server")[0][0]


def test_nginx_passes_websockets_to_the_sfu(nginx: Block) -> None:
    (rtc,) = secure_server(nginx).blocks("location", "/rtc")
    assert upstream(nginx, rtc) == SIGNAL
    headers = dict(rtc.values("proxy_set_header"))
    assert headers["Upgrade"] == "$http_upgrade"
    assert headers["Connection"] == "upgrade"
    assert rtc.values("proxy_http_version") == [["1.1"]]
    assert rtc.values("access_log") == [["off"]]  # addresses carry tokens
    assert secure_server(nginx).values("large_client_header_buffers")


@pytest.mark.parametrize("route", TOKEN_ROUTES)
def test_nginx_passes_token_requests_to_the_bridge(nginx: Block, route: str) -> None:
    (location,) = secure_server(nginx).blocks("location", "=", route)
    assert upstream(nginx, location) == WEB


def test_nginx_shows_the_page_and_hides_what_is_internal(nginx: Block) -> None:
    server = secure_server(nginx)
    (page,) = server.blocks("location", "/")
    assert upstream(nginx, page) == WEB
    for hidden in (("=", "/metrics"), ("/media/",)):
        (location,) = server.blocks("location", *hidden)
        assert location.values("return") == [["404"]]


def test_nginx_leads_discovery_to_the_bridge() -> None:
    locations = parse_nginx((DEPLOY / "nginx-discovery.conf").read_text())
    assert {words[2] for words, _ in locations} == discovery.PATHS
    for words, inner in locations:
        assert words[:2] == ["location", "="]
        assert inner is not None
        assert inner.values("proxy_pass") == [[f"http://{WEB}"]]


# Caddy


@pytest.fixture(scope="module")
def caddy() -> list[list[str]]:
    lines = (DEPLOY / "Caddyfile").read_text().splitlines()
    return [line.split() for line in lines if line.strip() and not line.strip().startswith("#")]


def test_caddy_routes_as_nginx_does(caddy: list[list[str]]) -> None:
    assert sum(line.count("{") for line in caddy) == sum(line.count("}") for line in caddy)
    matchers = {line[0]: line[2:] for line in caddy if line[0].startswith("@")}
    proxies = {
        line[1] if line[1] in matchers else "": line[-1]
        for line in caddy
        if line[0] == "reverse_proxy"
    }
    assert matchers["@signal"] == ["/rtc", "/rtc/*"]
    assert matchers["@tokens"] == TOKEN_ROUTES
    assert set(matchers["@discovery"]) == discovery.PATHS
    assert proxies == {"@discovery": WEB, "@signal": SIGNAL, "@tokens": WEB, "": WEB}
    assert ["respond", "@inside", "404"] in caddy


# pinned versions and the image


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-synapse.txt"])
def test_constraints_name_versions_and_nothing_else(name: str) -> None:
    lines = (DEPLOY / name).read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)


def test_the_image_copies_what_exists() -> None:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    for words in (line.split() for line in text.splitlines() if line.startswith("COPY ")):
        if not words[1].startswith("--from"):
            for source in words[1:-1]:
                assert (ROOT / source).exists(), source
    assert '"run", "--config"' in text
