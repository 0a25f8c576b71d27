"""What `python -m bridge dev` and `python -m bridge demo` do, from the first line to the last."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from bridge.dev.demo import Demo, plan_demo, turns
from bridge.dev.homeserver import synapse_python
from bridge.dev.instance import Instance, plan_sites
from bridge.dev.ports import free_block
from bridge.errors import ColloqueError

_PORT_BASE = 18_000


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # the terminal was closed, or the reader of a pipe is gone: end quietly
        return


def _step(line: str) -> None:
    _say(f"  {line} ...")


def _until_told(work: Callable[[], Awaitable[int]], *, status: int) -> int:
    """Run `work`. Ctrl-C, SIGTERM or a closed terminal end it cleanly with `status`."""

    async def main() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
        told = False

        def tell() -> None:
            nonlocal told
            if not told:  # a second Ctrl-C must not interrupt the clean end
                told = True
                _say("\nEnding ...")
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, tell)
        try:
            return await work()
        except asyncio.CancelledError:
            if not told:
                raise
            return status

    return asyncio.run(main())


# dev


def dev(var: Path, sites: int, port_base: int | None = None) -> int:
    """Run until told to end. Returns the exit status; raises ColloqueError where it cannot."""
    synapse_python()
    base = port_base or Instance.port_base_of(var) or _PORT_BASE
    instance = Instance(var, plan_sites(var.resolve(), base, sites), _step)

    async def work() -> int:
        try:
            _say("Starting Colloque for development")
            await instance.start()
            _say(_welcome(instance))
            await instance.keep_running()
        finally:
            await instance.stop()
        return 0

    return _until_told(work, status=0)


def _welcome(instance: Instance) -> str:
    lines = ["", "Colloque is running."]
    room = quote(instance.room_id, safe="")
    for site in instance.sites:
        users = ", ".join(person.user_id for person in site.people)
        lines += [
            "",
            f"  Join page    {site.plan.page}/#/room/{room}",
            f"  Sign in as   {users} (password: {site.people[0].password})",
            f"  Homeserver   {site.homeserver.client_url} (for Element or any Matrix client)",
            f"  Check it     python -m bridge doctor --config {site.plan.config_path}",
        ]
    lines += [
        "",
        "  In chat, type   !visio start   to start a call, and   !visio help   for the rest.",
        f"  Data lie in {instance.var}: rooms and transcripts are there next time too.",
        "  To attach Colloque to a homeserver you have: docs/operations.md.",
        "",
        "Ctrl-C ends everything.",
    ]
    return "\n".join(lines)


# demo


def demo(var: Path, recordings: Mapping[str, Path], port_base: int | None = None) -> int:
    """One demo. Returns 0 where every check passed, else 1; raises ColloqueError."""
    synapse_python()
    script = turns(recordings)
    var = var.resolve()
    _empty(var)
    # What the clients' library has to say while calls begin and end.
    logging.basicConfig(filename=var / "clients.log", level=logging.INFO)
    instance = Instance(var, plan_demo(var, port_base or free_block(20)), _step)

    async def work() -> int:
        begun = False
        try:
            _say("Starting two homeservers that federate, and the bridge at the first")
            await instance.start()
            begun = True
            shown = Demo(instance, script, _step)
            try:
                await shown.run()
            finally:
                _say("\nChecks\n")
                _say(shown.checks.table())
        finally:
            if begun:
                _step("ending everything")
            await instance.stop()
        _say(_verdict(shown.checks.passed, var))
        return 0 if shown.checks.passed else 1

    return _until_told(work, status=130)


def _verdict(passed: bool, var: Path) -> str:
    if passed:
        return "\nAll checks passed."
    return f"\nNot all checks passed. What each process said lies in {var}."


_MARK = "demo-data"


def _empty(var: Path) -> None:
    """Each demo starts from nothing; only a folder that a demo filled is emptied."""
    if var.exists() and any(var.iterdir()):
        if not (var / _MARK).exists():
            raise ColloqueError(f"{var} holds other data: choose an empty folder with --var")
        Instance.check_unused(var)
        shutil.rmtree(var)
    var.mkdir(parents=True, exist_ok=True)
    (var / _MARK).touch()
