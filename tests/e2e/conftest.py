"""The whole product on real parts: Synapse, bridge, sfu, scribe, and people with the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from bridge.dev.speech import Pcm, spoken
from tests.e2e.scene import Scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """One site with alice, bob and eve, running as `python -m bridge dev` runs it."""
    var: Path = tmp_path_factory.mktemp("instance")
    plan = SitePlan(
        name="a",
        folder=var / "site-a",
        first_port=free_block(10),
        people=("alice", "bob", "eve"),
    )
    instance = Instance(var, [plan], print)
    try:
        await instance.start()
        keeping = asyncio.create_task(instance.keep_running())
        yield Scene(instance)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    finally:
        await instance.stop()


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pcm]:
    """What people say here, in a voice the embedded recognizer understands well."""
    folder = tmp_path_factory.mktemp("speech")
    return {text: spoken(text, "rms", folder) for text in SENTENCES}


SENTENCES = (
    "The first question today is the budget",
    "The minister would like an answer before Friday",
    "Can you send me the new version of the document",
    "Yes I will send it to you this afternoon",
)
