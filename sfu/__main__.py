"""`python -m sfu`: read settings, serve, end cleanly on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import warnings
from collections.abc import Sequence

from jwt.warnings import InsecureKeyLengthWarning

from sfu.config import DEV_KEYS, BadConfig, Config, read
from sfu.server import Server

log = logging.getLogger("sfu")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a signal, 1 if a port is taken, 2 for wrong settings."""
    try:
        config = read(sys.argv[1:] if arguments is None else arguments)
    except BadConfig as error:
        print(f"sfu: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=config.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _warn_of_short_secrets(config)
    # aiortc and aioice tell each packet's story at INFO and DEBUG.
    for name in ("aiortc", "aioice"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(config))
    except OSError as error:
        print(f"sfu: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _warn_of_short_secrets(config: Config) -> None:
    """Once and in our words, instead of PyJWT's at each token (RFC 7518 section 3.2)."""
    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    for key, secret in config.keys.items():
        if len(secret.encode()) < 32 and DEV_KEYS.get(key) != secret:
            log.warning("the secret of API key %s is shorter than 32 bytes", key)


class End:
    """SIGTERM: let the calls end first; again: at once. SIGINT: at once.

    SIGTERM comes of an init system or a supervisor, which start the server again: clients are to
    come back. Who presses Ctrl-C does not.
    """

    def __init__(self) -> None:
        self.soon, self.now = asyncio.Event(), asyncio.Event()
        self.comes_back = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self.now.set)

    def _terminate(self) -> None:
        self.comes_back = True
        (self.now if self.soon.is_set() else self.soon).set()


async def _ended(server: Server, end: End) -> None:
    """Return when the server is to close."""
    now = asyncio.create_task(end.now.wait(), name="stop at once")
    soon = asyncio.create_task(_drained(server, end), name="drain")
    try:
        await asyncio.wait((now, soon), return_when=asyncio.FIRST_COMPLETED)
    finally:
        now.cancel()
        soon.cancel()
        await asyncio.gather(now, soon, return_exceptions=True)


async def _drained(server: Server, end: End) -> None:
    await end.soon.wait()
    if server.registry.occupied:
        log.info("draining: no new rooms, at most %d s for those there", server.config.drain_s)
    await server.drain()


async def _serve(config: Config) -> None:
    server = await Server.open(config)
    end = End()
    serving = asyncio.create_task(server.run(), name="server")
    stopping = asyncio.create_task(_ended(server, end), name="stop signal")
    hosts = ", ".join(f"[{host}]" if ":" in host else host for host in config.bind)
    print(
        f"sfu: listening on {hosts}, port {config.port},"
        f" media on UDP {config.udp_port} and TCP {config.tcp_port or 'none'}",
        flush=True,
    )
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        stopping.cancel()
        await server.close(comes_back=end.comes_back)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
