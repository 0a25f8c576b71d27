"""Asking a model: retries where they help, no word where they do not, nothing sent elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config import Settings, Summary
from bridge.errors import ConfigError
from bridge.upkeep.model import ATTEMPTS, Model, NoAnswer, open_model
from tests.support.model_server import ModelServer

QUESTION = [{"role": "user", "content": "?"}]


async def asked(server: ModelServer, **more: Any) -> str:
    model = Model(server.url, "petit-1", key="k", first_pause_s=0.01, **more)
    try:
        return await model.ask(QUESTION, {"type": "object"})
    finally:
        await model.close()


async def test_the_question_is_openais() -> None:
    async with ModelServer("hello").running() as server:
        assert await asked(server) == "hello"
    (request,) = server.requests
    assert request["model"] == "petit-1"
    assert request["messages"] == QUESTION
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert request["stream"] is False
    assert server.keys == ["Bearer k"]


@pytest.mark.parametrize("fault", ["429 0", "500", "closed"])
async def test_what_passes_is_tried_again(fault: str) -> None:
    async with ModelServer(fault, fault, "hello").running() as server:
        assert await asked(server) == "hello"
    assert len(server.requests) == 3


async def test_a_server_without_schemas_is_asked_without_one() -> None:
    async with ModelServer("400 no schema hello").running() as server:
        assert await asked(server) == "hello"
    assert ["response_format" in request for request in server.requests] == [True, False]


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ("500", ATTEMPTS),
        ("401", 1),
        ("302", 1),
        ("not json", 1),
        ("no choice", 1),
        ("no text", 1),
        ("huge", ATTEMPTS),
        ("slow", ATTEMPTS),
    ],
)
async def test_there_is_an_end_to_it(fault: str, requests: int) -> None:
    async with ModelServer(fault).running() as server:
        with pytest.raises(NoAnswer):
            await asked(server, timeout_s=0.3 if fault == "slow" else 20)
    assert len(server.requests) == requests


def configured(base: Path, **summary: Any) -> Settings:
    return Settings(summary=Summary(**summary), base=base)


def test_a_model_as_configured(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    assert open_model(configured(tmp_path)) is None
    model = open_model(configured(tmp_path, url="https://x/v1", model="m", api_key_file="key"))
    assert model is not None
    assert model.name == "m"


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({"url": "x", "model": "m"}, "`summary.url`"),
        ({"url": "https://x"}, "`summary.model`"),
        ({"url": "https://x", "model": "m", "api_key_file": "none"}, "cannot be read"),
        ({"url": "https://x", "model": "m", "api_key_file": "empty"}, "holds no key"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, summary: dict[str, str], said: str) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=said):
        open_model(configured(tmp_path, **summary))
