"""Settings: flags above the environment above the file."""

from pathlib import Path

import pytest

from sfu.config import BadConfig, Config, keys_of, read


def test_development() -> None:
    config = read(["--dev"], {})
    assert (config.port, config.tcp_port, config.udp_port) == (7880, 7881, 7882)
    assert config.bind == ("127.0.0.1",)
    assert config.keys == {"devkey": "secret"}
    assert config.webhook_key == "devkey"
    assert config.loopback
    assert not read(["--keys", "a: b"], {}).loopback
    assert "secret" not in repr(config)


def test_flags_stand_above_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text(
        "port: 1000\nbind_addresses: ['127.0.0.1']\nkeys: {filekey: filesecret}\n"
        "rtc: {udp_port: 1001, tcp_port: 0}\nroom: {empty_timeout: 9, auto_create: false}\n"
        "webhook: {urls: ['http://127.0.0.1/hook'], api_key: other}\nlogging: {level: warn}\n"
    )
    config = read(
        ["--config", str(file), "--port", "2000", "--advertise", "192.0.2.1", "--webhook", "http://h",
         "--keys", "filekey: x, other: y", "--bind", "127.0.0.2", "--log-level", "ERROR"],
        {"LIVEKIT_KEYS": "envkey: envsecret"},
    )  # fmt: skip
    assert (config.port, config.udp_port, config.tcp_port) == (2000, 1001, 0)
    assert config.bind == ("127.0.0.2",)
    assert config.advertised == ("192.0.2.1",)
    assert config.keys == {"filekey": "x", "other": "y"}
    assert (config.webhook_key, config.webhook_urls) == ("other", ("http://h",))
    assert (config.empty_timeout_s, config.auto_create) == (9, False)
    assert config.log_level == "ERROR"
    file.write_text("keys: {filekey: filesecret}\nlogging: {level: warn}\n")
    plain = read(["--config", str(file)], {"LIVEKIT_KEYS": "envkey: envsecret"})
    assert plain.keys == {"envkey": "envsecret"}
    assert plain.log_level == "WARNING"


def test_keys_one_a_line() -> None:
    assert keys_of("a: b\nc: d:e\n") == {"a": "b", "c": "d:e"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot: 1", "`prot` is not a setting"),
        ("port: x", "`port` must be a whole number"),
        ("port: true", "whole number"),
        ("port: 70000", "port number"),
        ("room: {auto_create: 1}", "true or false"),
        ("webhook: {urls: x}", "list of texts"),
        ("webhook: {api_key: 1}", "must be a text"),
        ("webhook: {api_key: unknown}", "not among"),
        ("keys: {a: 1}", "table of key: secret"),
        ("logging: {level: loud}", "debug, info"),
        ("- a", "must hold settings"),
        ("a: [", "is not YAML"),
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig, match=sentence) as failure:
        read(["--dev", "--config", str(file)], {})
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("text", ["nocolon", "a:", ": b"])
def test_wrong_keys(text: str) -> None:
    with pytest.raises(BadConfig):
        read(["--keys", text], {})


def test_missing_file_and_missing_keys(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read"):
        read(["--config", str(tmp_path / "absent")], {})
    with pytest.raises(BadConfig, match="no API key"):
        read([], {})
    assert Config().port == 7880


def test_addresses_of_both_families() -> None:
    flags = ["--dev", "--bind", "[::]", "--bind", "0.0.0.0", "--advertise", "[2001:db8::1]"]
    config = read([*flags, "--stun-server", "stun.example.org"], {})
    assert config.bind == ("::", "0.0.0.0")
    assert config.advertised == ("2001:db8::1",)
    assert config.stun_server == ("stun.example.org", 3478)
    six = read(["--dev", "--stun-server", "[2001:db8::1]:19302"], {})
    assert six.stun_server == ("2001:db8::1", 19302)


@pytest.mark.parametrize("server", ["a:b", "2001:db8::1", "a:70000", "a:0"])
def test_wrong_addresses(server: str) -> None:
    with pytest.raises(BadConfig, match="is no server"):
        read(["--dev", "--stun-server", server], {})
    with pytest.raises(BadConfig, match="is no IP address"):
        read(["--dev", "--advertise", "example.org"], {})


def test_relays(tmp_path: Path) -> None:
    secret = tmp_path / "turn.secret"
    secret.write_text("shared\n")
    url, other = "turn:relay.example.org:3478?transport=udp", "turns:[2001:db8::1]:443"
    file = tmp_path / "sfu.yaml"
    file.write_text(
        f"keys: {{k: s}}\nturn: {{urls: ['{url}'], secret_file: '{secret}', ttl: 600}}\n"
    )
    config = read(["--config", str(file), "--turn-url", url, "--turn-url", other], {})
    assert (config.turn_urls, config.turn_secret, config.turn_ttl_s) == (
        (url, other),
        "shared",
        600,
    )
    assert "shared" not in repr(config)
    flags = ["--dev", "--turn-url", url, "--turn-secret-file", str(secret)]
    assert read([*flags, "--turn-ttl", "60"], {}).turn_ttl_s == 60


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--turn-url", "turn:x"], "--turn-secret-file"),
        (["--turn-url", "stun:x"], "is no relay"),
        (["--turn-url", "turns:x?transport=udp"], "is no relay"),
        (["--turn-ttl", "5"], "60 seconds"),
        (["--turn-secret-file", "/nowhere"], "cannot be read"),
        (["--turn-secret-file", "/dev/null"], "in one line"),
    ],
)
def test_wrong_relays(flags: list[str], sentence: str) -> None:
    with pytest.raises(BadConfig, match=sentence):
        read(["--dev", *flags], {})


def test_how_many_voices_are_heard_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text("keys: {k: s}\naudio: {loudest: 3, loudest_above: 20}\n")
    config = read(["--config", str(file), "--loudest", "4"], {})
    assert (config.loudest, config.loudest_above) == (4, 20)
    with pytest.raises(BadConfig, match="loudest_above must not be negative"):
        read(["--dev", "--loudest-above", "-1"], {})
