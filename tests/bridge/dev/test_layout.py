"""Folders, ports and configuration of a development instance."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridge import config
from bridge.dev import ports
from bridge.dev.certificates import ensure_authority, ensure_server
from bridge.dev.instance import Instance, plan_sites
from bridge.dev.layout import SitePlan, check_ports, write_config
from bridge.errors import ColloqueError


def plan(tmp_path: Path, first_port: int = 20000) -> SitePlan:
    return plan_sites(tmp_path, first_port, 1)[0]


def test_two_sites_have_ports_and_people_of_their_own(tmp_path: Path) -> None:
    first, second = plan_sites(tmp_path, 20000, 2)
    assert first.people == ("alice", "bob")
    assert not set(first.people) & set(second.people)
    assert not set(first.ports) & set(second.ports)
    assert first.folder != second.folder
    assert second.server_name == "localhost:20011"


def test_the_configuration_comes_from_the_example(tmp_path: Path) -> None:
    settings = write_config(plan(tmp_path))
    text = plan(tmp_path).config_path.read_text()
    assert text.startswith(config.example().splitlines()[0])  # with its comments
    assert settings.homeserver.address == "http://127.0.0.1:20000"
    assert settings.web.public_url == plan(tmp_path).page
    assert settings.media.bind == ["127.0.0.1"]
    assert settings.conference.language == "en"
    assert settings.path(settings.data_dir).is_relative_to(tmp_path)


def test_what_a_person_changed_is_kept(tmp_path: Path) -> None:
    write_config(plan(tmp_path))
    path = plan(tmp_path).config_path
    path.write_text(path.read_text().replace("language: en", "language: fr"))
    settings = write_config(plan(tmp_path, 21000))
    assert settings.conference.language == "fr"
    assert settings.homeserver.address == "http://127.0.0.1:21000"


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    first = ports.free_block(10)
    check_ports(plan(tmp_path, first))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 3))
        taken.listen()
        with pytest.raises(ColloqueError, match=rf"port {first + 3} is taken \(site a"):
            check_ports(plan(tmp_path, first))


def test_a_media_port_taken_by_udp_is_named(tmp_path: Path) -> None:
    first = ports.free_block(10)
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", first + 6))
        with pytest.raises(ColloqueError, match=f"port {first + 6} is taken"):
            check_ports(plan(tmp_path, first))


def test_one_instance_a_folder(tmp_path: Path) -> None:
    instance = Instance(tmp_path, plan_sites(tmp_path, 20000, 1), lambda line: None)
    with pytest.raises(ColloqueError, match="an instance runs in"):
        Instance(tmp_path, plan_sites(tmp_path, 20000, 1), lambda line: None)
    instance.close()
    Instance(tmp_path, plan_sites(tmp_path, 20000, 2), lambda line: None).close()


def test_data_stay_with_their_ports(tmp_path: Path) -> None:
    Instance(tmp_path, plan_sites(tmp_path, 20000, 1), lambda line: None).close()
    assert Instance.port_base_of(tmp_path) == 20000
    with pytest.raises(ColloqueError, match="belong to --port-base 20000"):
        Instance(tmp_path, plan_sites(tmp_path, 21000, 1), lambda line: None)
    # The lock of the refused one is free again.
    Instance.check_unused(tmp_path)


def test_certificates_are_made_once_and_anew_for_another_authority(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path / "one")
    certificate, key = ensure_server(tmp_path, authority)
    before = certificate.read_bytes()
    assert ensure_server(tmp_path, ensure_authority(tmp_path / "one")) == (certificate, key)
    assert certificate.read_bytes() == before
    assert key.stat().st_mode & 0o077 == 0
    ensure_server(tmp_path, ensure_authority(tmp_path / "two"))
    assert certificate.read_bytes() != before


def test_free_ports_are_free_and_different() -> None:
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    assert all(ports.is_free(port) for port in found)
