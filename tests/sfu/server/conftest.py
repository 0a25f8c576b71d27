"""One media server for all tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.sfu.server.server_process import Sfu, running


@pytest.fixture(scope="session")
def sfu() -> Iterator[Sfu]:
    with running() as server:
        yield server


@pytest.fixture
def room() -> str:
    """A room of the test's own."""
    return f"room-{uuid.uuid4().hex[:8]}"
