"""The command line: what an administrator types.

Exit status: 0 all is well, 1 it could not be done, 2 the command or the configuration is wrong.
Each failure is one line on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from bridge import config
from bridge.errors import ColloqueError, ConfigError, UserError
from bridge.text import LANGUAGES, say

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand. `run` returns the exit status."""

    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None, *, more: Sequence[Command] = ()) -> int:
    """Run one command; `more` adds commands of layers above this one."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["scribe"]:
        # A process of its own with options of its own: it reads them itself.
        return _guarded(lambda: _scribe(words[1:]))
    arguments = _parser([*_COMMANDS, *more]).parse_args(words)
    return _guarded(lambda: int(arguments.run(arguments)))


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bridge",
        description="Colloque: video conferences in Matrix rooms, with transcripts.",
    )
    parser.add_argument("--version", action="version", version=f"colloque {version('colloque')}")
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands:
        choice = choices.add_parser(command.name, help=command.summary, description=command.summary)
        command.arguments(choice)
        choice.set_defaults(run=command.run)
    choices.add_parser("scribe", help="the process that writes down what is said", add_help=False)
    return parser


def _guarded(action: Callable[[], int]) -> int:
    try:
        return action()
    except ConfigError as error:
        return _fail(str(error), 2)
    except UserError as error:
        return _fail(say(error.key, "en", **error.values), 1)
    except ColloqueError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(_system_failure(error), 1)
    except KeyboardInterrupt:
        return 130


def _fail(sentence: str, status: int) -> int:
    print(f"colloque: {sentence}", file=sys.stderr)
    return status


def _system_failure(error: OSError) -> str:
    # asyncio puts the address into strerror of a failed bind: "error while attempting to bind
    # on address ('127.0.0.1', 8080): address already in use".
    text = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"the port is taken: {text}"
    return f"{text}: {error.filename}" if error.filename else text


# run


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def _run(arguments: argparse.Namespace) -> int:
    from bridge.app import run

    settings = config.load(arguments.config)
    logging.basicConfig(level=settings.log_level, format=_FORMAT)
    asyncio.run(run(settings))
    return 0


def _scribe(words: list[str]) -> int:
    from bridge.scribe.process import main as scribe

    return scribe(words)


# is everything as it should be?


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--room", default="", metavar="'!ID'", help="look at this room too")
    parser.add_argument(
        "--outside", action="store_true", help="from a machine elsewhere: what clients reach"
    )
    parser.add_argument("--json", action="store_true", help="the report for a program")
    parser.add_argument("--lang", choices=LANGUAGES, help="of the report (that of the bridge)")


def _doctor(arguments: argparse.Namespace) -> int:
    from bridge.doctor.run import doctor

    return doctor(
        arguments.config,
        room=arguments.room,
        json=arguments.json,
        language=arguments.lang,
        outside=arguments.outside,
    )


# the record of a call


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--room", default="", metavar="'!ID'", help="its last call")
    which.add_argument("--conference", default="", metavar="ID", help="this call")
    parser.add_argument("--form", choices=get_args(config.DocumentForm), default="odt")
    parser.add_argument("--lang", choices=LANGUAGES, help="of the document (that of the call)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")


def _export(arguments: argparse.Namespace) -> int:
    from bridge.rooms.export import export

    document = asyncio.run(
        export(
            config.load(arguments.config),
            arguments.form,
            room=arguments.room,
            conference=arguments.conference,
            language=arguments.lang,
        )
    )
    # What was said is nobody's but the administrator's here.
    arguments.out.touch(mode=0o600)
    arguments.out.write_bytes(document)
    return 0


# requests of one person


def _person_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("export", "erase"))
    parser.add_argument("user_id", metavar="@NAME:SERVER")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--room", default="", metavar="'!ID'", help="in this room alone")
    parser.add_argument("--dry-run", action="store_true", help="erase: say where, change nothing")


def _person(arguments: argparse.Namespace) -> int:
    from bridge.rooms import person

    settings = config.load(arguments.config)
    if arguments.what == "export":
        found = asyncio.run(person.export(settings, arguments.user_id, room=arguments.room))
        sys.stdout.write(found.decode())
        return 0
    rooms = asyncio.run(
        person.erase(settings, arguments.user_id, room=arguments.room, dry_run=arguments.dry_run)
    )
    sys.stdout.writelines(f"{room}\n" for room in rooms)
    return 0


# files an administrator starts from


def _registration_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--template", action="store_true", help="commented, without tokens")
    which.add_argument(
        "--config", type=Path, metavar="FILE", help="for this configuration, with fresh tokens"
    )


def _registration(arguments: argparse.Namespace) -> int:
    from bridge.matrix import registration

    if arguments.template:
        text = registration.template()
    else:
        text = registration.generate(config.load(arguments.config))
    sys.stdout.write(text)
    return 0


def _example(_: argparse.Namespace) -> int:
    sys.stdout.write(config.example())
    return 0


def _no_arguments(_: argparse.ArgumentParser) -> None:
    """For commands without any."""


_COMMANDS = (
    Command("run", "run the bridge", _run_arguments, _run),
    Command(
        "doctor",
        "check the whole path of a call, and say what to change where",
        _doctor_arguments,
        _doctor,
    ),
    Command(
        "person",
        "export or erase what was written down of one person",
        _person_arguments,
        _person,
    ),
    Command("export", "write the record of a call into a file", _export_arguments, _export),
    Command(
        "generate-registration",
        "print the registration file for the homeserver",
        _registration_arguments,
        _registration,
    ),
    Command("example-config", "print every setting with its default", _no_arguments, _example),
)
