"""Configuration: what is not understood is refused with the line and the nearest key."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from bridge import recognition
from bridge.config import Settings, example, load, zone_of
from bridge.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "colloque.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_example_holds_every_default(tmp_path: Path) -> None:
    settings = load(written(tmp_path, example()))
    assert settings.media == Settings().media
    assert settings.federation == Settings().federation
    assert settings.path("data/x") == tmp_path / "data" / "x"


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "homeserver:\n  server_name: interieur.example\n"))
    assert settings.homeserver.server_name == "interieur.example"
    assert settings.homeserver.address == "http://127.0.0.1:8008"
    assert settings.federation.allow_servers == ["*"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "homeserver:\n  adress: x\n",
            "line 2: `homeserver.adress` is not a setting; did you mean",
        ),
        ("zzz: 1\n", "line 1: `zzz` is not a setting; known here: homeserver,"),
        ("media:\n  token_ttl_s: soon\n", "`media.token_ttl_s` must be a whole number"),
        ("media:\n  token_ttl_s: true\n", "`media.token_ttl_s` must be a whole number"),
        ("scribe:\n  supervise: 1\n", "`scribe.supervise` must be true or false"),
        ("media:\n  backend: janus\n", "`media.backend` must be one of: embedded, livekit"),
        ("media:\n  bind: 127.0.0.1\n", "`media.bind` must be a list of texts"),
        ("media:\n  bind: [1]\n", "`media.bind` must be a list of texts"),
        ("media: 3\n", "`media` must be a section"),
        ("- a\n", "must hold sections"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_may_be_written_in_any_way(tmp_path: Path) -> None:
    text = "media:\n  rtc_tcp_port: 0\n  token_ttl_s: 1_800\nscribe:\n  supervise: &no false\n"
    settings = load(written(tmp_path, text))
    assert (settings.media.rtc_tcp_port, settings.media.token_ttl_s) == (0, 1800)
    assert (type(settings.media.rtc_tcp_port), settings.scribe.supervise) == (int, False)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_the_tracked_example_is_the_generated_one() -> None:
    tracked = Path(__file__).parents[2] / "config" / "config.example.yaml"
    assert tracked.read_text(encoding="utf-8") == example()


def test_time_zones_by_name(tmp_path: Path) -> None:
    assert zone_of("UTC") is UTC
    assert str(zone_of("Europe/Paris")) == "Europe/Paris"
    for name in ("Paris", "../etc/passwd", ""):
        with pytest.raises(ConfigError, match="write one such as Europe/Paris"):
            zone_of(name)
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        load(written(tmp_path, "conference:\n  time_zone: Mars/Olympus\n"))


ENGINES = """\
scribe:
  engines:
    - engine: kyutai
      url: wss://speech.interieur.example
      api_key_file: keys/kyutai
      languages: [fr, en]
    - engine: pocketsphinx
"""


def test_engines_are_a_list_in_order(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ENGINES))
    first, second = settings.scribe.engines
    assert (first.engine, first.host, first.languages) == (
        "kyutai",
        "speech.interieur.example",
        ["fr", "en"],
    )
    assert (second.engine, second.host, second.live, second.after) == (
        "pocketsphinx",
        "",
        True,
        False,
    )
    given = recognition.from_json(recognition.to_json(settings.scribe.engines, settings.base))
    assert given[0].api_key_file == str(tmp_path / "keys" / "kyutai")
    assert given[1] == second


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("engine: sphinx", "line 3: `scribe.engines[0].engine` must be one of: pocketsphinx"),
        ("engin: kyutai", "`scribe.engines[0].engin` is not a setting; did you mean `engine`?"),
        ("engine: kyutai", "line 3: `scribe.engines[0].url` must be an address wss://"),
        ("{engine: openai, url: 'http://[::x', model: m}", "`scribe.engines[0].url` must be"),
        ("{engine: openai, url: 'https://u:p@h/v1', model: m}", "must hold no key"),
        ("{engine: openai, url: 'https://h/v1?key=1', model: m}", "must hold no key"),
        ("{engine: openai, url: 'https://h/v1'}", "`scribe.engines[0].model` is missing"),
        ("engine: whisper", "`scribe.engines[0].model_dir` is missing"),
        ("{engine: pocketsphinx, use: after}", "`scribe.engines[0].use` must be live or both"),
        ("{engine: pocketsphinx, dialect: vllm}", "`scribe.engines[0].dialect` must be empty"),
        (
            "{engine: realtime, url: 'ws://h/v1', model: m, dialect: lasuite}",
            "`scribe.engines[0].dialect` must be one of: vllm, openai",
        ),
        ("{languages: [français]}", "`scribe.engines[0].languages` must be language codes"),
        ("pocketsphinx", "line 3: `scribe.engines[0]` must be settings"),
    ],
)
def test_a_wrong_engine_is_named(tmp_path: Path, entry: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"scribe:\n  engines:\n    - {entry}\n"))
    assert sentence in str(caught.value)


def test_a_list_of_engines_is_a_list(tmp_path: Path) -> None:
    for value in ("kyutai", "[]"):
        with pytest.raises(ConfigError, match=r"`scribe\.engines` must be a list of engines"):
            load(written(tmp_path, f"scribe:\n  engines: {value}\n"))
    with pytest.raises(ConfigError, match=r"write `scribe\.engines`, a list"):
        load(written(tmp_path, "scribe:\n  engine: pocketsphinx\n"))
    for text in ("{", "[]", '[{"engin": 1}]', '[{"engine": "kyutai"}]'):
        with pytest.raises(ConfigError):
            recognition.from_json(text)
