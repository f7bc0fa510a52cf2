"""The short form of the soak; `make soak` runs it for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.damage import rounds
from tests.soak import Soak
from tests.stopped_agents import stops
from tests.waiting import DEADLINE


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_under_random_churn_and_faults_all_sinks_equal_the_reference(
    tmp_path: Path, seed: int
) -> None:
    soak = Soak(seed, tmp_path, print)
    soak.run(seconds=60, rounds=2)
    assert soak.operations >= 40
    assert soak.faults.total() == 8


@pytest.mark.slow
def test_a_damaged_byte_is_noticed_or_harmless() -> None:
    found = list(rounds(seed=1, number=12, seconds=DEADLINE))
    assert len(found) == 12
    assert any(item.after is not None for item in found)


@pytest.mark.slow
def test_an_agent_that_was_stopped_goes_on_and_is_right(tmp_path: Path) -> None:
    found = list(stops(1, tmp_path, number=8, agents=4, longest=6))
    assert [item.stops for item in found] == [2, 2, 2, 2]
