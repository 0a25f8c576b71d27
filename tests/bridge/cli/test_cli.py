"""The command line: each failure is one clear line and the right exit status."""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import cli, config
from bridge.cli import Command
from bridge.errors import ColloqueError, ConfigError, UserError

ROOT = Path(__file__).parents[3]


def raising(error: BaseException) -> Command:
    def run(_: argparse.Namespace) -> int:
        raise error

    return Command("break", "breaks", lambda parser: None, run)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("file, line 3: no"), 2, "colloque: file, line 3: no\n"),
        (ColloqueError("it broke"), 1, "colloque: it broke\n"),
        (UserError("stop.none"), 1, "colloque: No call is in progress.\n"),
        (
            OSError(errno.EADDRINUSE, "bind on ('127.0.0.1', 80): address already in use"),
            1,
            "colloque: the port is taken: bind on ('127.0.0.1', 80): address already in use\n",
        ),
        (FileNotFoundError(2, "No such file", "x"), 1, "colloque: No such file: x\n"),
        (OSError("odd"), 1, "colloque: odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_failures_are_one_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["break"], more=[raising(error)]) == status
    assert capsys.readouterr().err == said


def test_programming_errors_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.main(["break"], more=[raising(ZeroDivisionError())])


def test_the_tracked_files_are_the_generated_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["example-config"]) == 0
    assert capsys.readouterr().out == (ROOT / "config/config.example.yaml").read_text()
    assert cli.main(["generate-registration", "--template"]) == 0
    assert capsys.readouterr().out == (ROOT / "registration.yaml").read_text()


def test_a_registration_for_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config.example().replace("example.org", "visio.example.fr"))
    texts = set()
    for _ in range(2):
        assert cli.main(["generate-registration", "--config", str(file)]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 2  # fresh tokens each time
    assert all("visio\\.example\\.fr" in text for text in texts)


def python_m_bridge(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", *words], cwd=ROOT, capture_output=True, text=True
    )


def test_every_command_is_listed() -> None:
    done = python_m_bridge("--help")
    assert done.returncode == 0
    for name in ("run", "dev", "demo", "scribe", "generate-registration", "example-config"):
        assert f"\n    {name}" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the following arguments are required"),
        (("fly",), "invalid choice: 'fly'"),
        (("run",), "the following arguments are required: --config"),
        (("dev", "--port-base", "80"), "must be a number between 1024 and 65500"),
        (("dev", "--port-base", "many"), "must be a number between 1024 and 65500"),
        (("demo", "--say", "carol=x.wav"), "must be alice=FILE.wav or bob=FILE.wav"),
    ],
)
def test_wrong_words_are_named(words: tuple[str, ...], said: str) -> None:
    done = python_m_bridge(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("homeserver:\n  adress: http://localhost\n")
    done = python_m_bridge("run", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr == (
        f"colloque: {file}, line 2: `homeserver.adress` is not a setting; did you mean `address`?\n"
    )
