"""Hypothesis judges what is right, never how fast this machine is; files of configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dfovsdb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dfovsdb")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dfovsdb.conf"


@pytest.fixture
def nobody_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of whoever runs the tests is read."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
