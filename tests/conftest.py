"""Of the whole run, which pytest-xdist spreads over several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from dfovsdb.testing import Sandbox
from tests.freeports import free_port

# A shell starts its background jobs with SIGINT ignored, and so would be started what the tests
# start and end with Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Files whose fixtures take long and serve all of their tests: one worker has the whole file.
WHOLE = ("example", "image", "notifications", "package", "plugins_guide", "reference_docs")


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Give each worker one test after the other, and the files of WHOLE as if each were one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith(tuple(f"test_{name}.py" for name in WHOLE)) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Scheduling(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Say how many workers `-n auto` is: tests wait for servers half of the time."""
    return min(2 * len(os.sched_getaffinity(0)), 16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def ovs_sandbox() -> Iterator[Sandbox]:
    """Run a switch as the fixture of dfovsdb.testing does, on a port that stays its own."""
    with Sandbox(port=free_port()) as sandbox:
        yield sandbox


@pytest.fixture
def ovsdb_sandbox() -> Iterator[Sandbox]:
    """Run the same without ovs-vswitchd."""
    with Sandbox(vswitchd=False, port=free_port()) as sandbox:
        yield sandbox
