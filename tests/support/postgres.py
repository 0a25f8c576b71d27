"""A PostgreSQL of the tests' own: on loopback, on a free port, gone afterwards.

server = postgres.start()          # about 2 s
server.url("store")                # creates the database the first time it is named
server.stop()
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_USER = "colloque"


def binaries() -> Path:
    """Folder of initdb and postgres: on PATH, or where Debian puts the newest version."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0),
    )
    if not versions:
        raise RuntimeError("PostgreSQL is not installed (Debian: apt install postgresql)")
    return versions[-1].parent


@dataclass
class PostgresServer:
    """A running server. Everybody on this machine may connect; nothing of value is in it."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    _databases: set[str] = field(default_factory=set)

    def url(self, database: str) -> str:
        """Address of a database, which is created the first time (C locale, UTF-8)."""
        if database not in self._databases:
            self._command("createdb", "--template=template0", "--locale=C", database)
            self._databases.add(database)
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def drop(self, database: str) -> None:
        """Remove a database and whoever is connected to it."""
        self._command("dropdb", "--force", "--if-exists", database)
        self._databases.discard(database)

    def stop(self) -> None:
        """End the server (open connections are cut) and remove its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast shutdown"
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _command(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [
                binaries() / program,
                "--host=127.0.0.1",
                f"--port={self.port}",
                f"--username={_USER}",
                *arguments,
            ],
            check=True,
            capture_output=True,
        )


def start() -> PostgresServer:
    """Start a server. Raises RuntimeError with its log where it does not come up."""
    folder = Path(tempfile.mkdtemp(prefix="colloque-postgres-"))
    data, log = folder / "data", folder / "log"
    log.touch()
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")  # initdb and postgres refuse to run as root
        for path in (folder, log):
            os.chown(path, account.pw_uid, account.pw_gid)
    _initdb(data)
    port = _free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [binaries() / "postgres", "-D", data, *_options(port)],
            stdout=output,
            stderr=output,
            cwd="/",
            **_account(),
        )
    server = PostgresServer(port, folder, process)
    _wait_until_ready(server, log)
    return server


def _initdb(data: Path) -> None:
    done = subprocess.run(
        [
            binaries() / "initdb",
            f"--username={_USER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            data,
        ],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        **_account(),
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stderr}")


def _options(port: int) -> list[str]:
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",  # the machine does not lose power during a test
        "shared_buffers": "32MB",
        "max_connections": 60,
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.process.poll() is None:
        ready = subprocess.run(
            [binaries() / "pg_isready", "--host=127.0.0.1", f"--port={server.port}"],
            capture_output=True,
            check=False,
        )
        if ready.returncode == 0:
            return
        time.sleep(0.1)
    text = log.read_text(errors="replace")
    server.stop()
    raise RuntimeError(f"PostgreSQL does not start: {text[-2000:]}")
