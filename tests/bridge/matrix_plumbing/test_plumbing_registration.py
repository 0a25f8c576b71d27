"""The registration file: written, read back, and refused with a clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge import config
from bridge.errors import ConfigError
from bridge.matrix import registration

_SETTINGS = config.Settings(
    homeserver=config.Homeserver(server_name="matrix.culture.example"),
    appservice=config.Appservice(listen="127.0.0.1:4000"),
)


def _write(folder: Path, text: str) -> Path:
    path = folder / "registration.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_generated_can_be_read(tmp_path: Path) -> None:
    read = registration.read(_write(tmp_path, registration.generate(_SETTINGS)))
    assert read.url == "http://127.0.0.1:4000"
    assert read.bot("matrix.culture.example") == "@visio:matrix.culture.example"
    assert read.proxy_prefix == "rtc/livekit"
    assert read.scopes == ("urn:matrix:client:io.element.msc4502:rooms:is_joined",)
    (namespace,) = read.user_namespaces
    assert re.fullmatch(namespace, "@visio:matrix.culture.example")
    assert not re.fullmatch(namespace, "@visio:matrixXculture.example")


def test_tokens_are_fresh_long_and_never_shown(tmp_path: Path) -> None:
    first, second = (
        registration.read(_write(tmp_path, registration.generate(_SETTINGS))) for _ in range(2)
    )
    tokens = {first.as_token, first.hs_token, second.as_token, second.hs_token}
    assert len(tokens) == 4
    assert all(len(token) >= 43 for token in tokens)
    assert not any(token in repr(first) for token in tokens)


def test_the_template_has_no_secret_and_is_refused_as_it_is(tmp_path: Path) -> None:
    assert registration.template() == registration.template()
    with pytest.raises(ConfigError, match="`as_token` must be a secret of your own"):
        registration.read(_write(tmp_path, registration.template()))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("id: colloque", "id: 3"), "`id` must be a text"),
        (('hs_token: "', 'hs_token: "é'), "`hs_token` must be a secret of your own"),
        (("sender_localpart", "sender"), "`sender_localpart` must be a text"),
        (("  users:", "  others:"), "`namespaces.users` must be a list"),
        (("regex:", "pattern:"), "must have a `regex`"),
        (("id: colloque", "id: ["), "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    path = _write(tmp_path, registration.generate(_SETTINGS).replace(*change))
    with pytest.raises(ConfigError, match=complaint) as caught:
        registration.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_may_be_written_anew_with_the_tokens_it_had(tmp_path: Path) -> None:
    before = registration.read(_write(tmp_path, registration.generate(_SETTINGS)))
    after = registration.read(_write(tmp_path, registration.generate(_SETTINGS, before)))
    assert after == before
    assert registration.read(_write(tmp_path, registration.generate(_SETTINGS))) != before


def test_the_same_token_twice_is_refused(tmp_path: Path) -> None:
    text = re.sub('_token: ".*"', '_token: "same"', registration.generate(_SETTINGS))
    with pytest.raises(ConfigError, match="must differ"):
        registration.read(_write(tmp_path, text))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="generate-registration"):
        registration.read(tmp_path / "none.yaml")


def test_a_list_is_no_registration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold keys"):
        registration.read(_write(tmp_path, "- a\n"))
