"""Two servers of others at loopback, and trust in their certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.strangers import certificate, remotes

__all__ = ["certificate", "remotes"]


@pytest.fixture(autouse=True)
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL's default store is this one certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
