"""Of the tests of delivery: what a test leaves open is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.delivery import scripted


@pytest.fixture(autouse=True)
def _close_the_files() -> Iterator[None]:
    yield
    while scripted.with_files:
        scripted.with_files.pop().close()
