"""One deployment for everything that spoils one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bridge.doctor.deployment import Deployment, deployed


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Processes and addresses, nothing of an event loop: leave it as it was found."""
    async with deployed(tmp_path_factory.mktemp("doctor")) as made:
        yield made
