"""Staying in touch with the homeserver: it knows the bot, and each is tried again at once after the
other was away.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from bridge.matrix.catchup import CatchUp
from bridge.matrix.client import Homeserver, HomeserverError, Unreachable
from bridge.matrix.outbox import Sender
from bridge.store.conferences import Conferences
from bridge.store.database import DATABASE_ERRORS

log = logging.getLogger(__name__)

BOT_NAME = "Visio"
PING_S = 30.0
"""How often the homeserver is asked to try the way back to us."""
PING_RETRY_S = 1.0
PINGS_AT_FIRST = 10
"""After either of us was away, at the shorter pause. A delivery that fails while we come back makes
Synapse wait up to 512 s, and drop what is sent to the bot's device meanwhile
(synapse/appservice/scheduler.py: "ephemeral events are dropped"); a ping ends that."""


class Encryption(Protocol):
    """What is asked of bridge.crypto."""

    async def missed(self) -> None: ...


async def keep_in_touch(
    homeserver: Homeserver,
    sender: Sender,
    catch_up: CatchUp,
    conferences: Conferences,
    encryption: Encryption | None = None,
) -> None:
    """Be registered, and be tried again at once after either of us was away."""
    reached, registered, complete, pings = True, False, False, 0
    while True:
        try:
            if not registered:
                await homeserver.ensure_registered()
                await homeserver.ensure_display_name(BOT_NAME)
                registered = True
            await homeserver.ping()
            pings = pings + 1 if reached else 1
            if not reached:
                log.info("the homeserver is there again")
                sender.wake()
            if encryption and not (reached and complete):
                await encryption.missed()
            # A homeserver that restarted lost what it had not delivered yet. Between two pings
            # that goes unnoticed, so rooms with a conference are looked into each time.
            await catch_up.once(await conferences.active() if reached and complete else None)
            reached = complete = True
        except (HomeserverError, Unreachable) as error:
            if reached:
                log.warning("the homeserver does not answer as it should: %s", error)
            reached = False
        except DATABASE_ERRORS as error:
            log.error("catching up with the homeserver: the database fails: %s", error)
            complete = False
        await asyncio.sleep(PING_S if reached and pings > PINGS_AT_FIRST else PING_RETRY_S)
