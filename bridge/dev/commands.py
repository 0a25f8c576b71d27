"""Options of `python -m bridge dev` and `python -m bridge demo`.

What they start is imported when they start it: every process of the product passes here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge.cli import Command

# dev


def _dev_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sites", type=int, choices=(1, 2), default=1, help="homeservers, each with its bridge"
    )
    _place_arguments(parser, "var")


def _place_arguments(parser: argparse.ArgumentParser, var: str) -> None:
    parser.add_argument(
        "--var", type=Path, default=Path(var), metavar="DIR", help=f"where data lie ({var})"
    )
    parser.add_argument(
        "--port-base", type=_port, metavar="N", help="first of 10 ports a site needs"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65_500:
        raise argparse.ArgumentTypeError("must be a number between 1024 and 65500")
    return int(text)


# demo


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--say",
        action="append",
        default=[],
        type=_recording,
        metavar="NAME=FILE.wav",
        help="what alice or bob says, instead of flite's speech",
    )
    _place_arguments(parser, "var/demo")


def _dev(arguments: argparse.Namespace) -> int:
    from bridge.dev import running

    return running.dev(arguments.var, arguments.sites, arguments.port_base)


def _demo(arguments: argparse.Namespace) -> int:
    from bridge.dev import running

    return running.demo(arguments.var, dict(arguments.say), arguments.port_base)


def _recording(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if name not in ("alice", "bob") or not file:
        raise argparse.ArgumentTypeError("must be alice=FILE.wav or bob=FILE.wav")
    return name, Path(file)


COMMANDS = (
    Command("dev", "start everything on this machine, with a homeserver", _dev_arguments, _dev),
    Command("demo", "a call between two homeservers, without hands", _demo_arguments, _demo),
)
