"""Fixtures for pytest; found by its entry point, nothing is to be imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dfovsdb.testing.sandbox import Sandbox


@pytest.fixture
def ovs_sandbox() -> Iterator[Sandbox]:
    """A private, real Open vSwitch: ovsdb-server and ovs-vswitchd, fresh for each test."""
    from dfovsdb.testing.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def ovsdb_sandbox() -> Iterator[Sandbox]:
    """The same without ovs-vswitchd: rows stay as they are written."""
    from dfovsdb.testing.sandbox import Sandbox

    with Sandbox(vswitchd=False) as sandbox:
        yield sandbox
