"""Which ports were asked for."""

from __future__ import annotations

import pytest

from dfovsdb.selection import Selection
from tests.unit.samples import port

TAP = port(name="tap0", external_ids={"iface-id": "vif-1"})


def test_nothing_asked_for_is_every_port() -> None:
    assert Selection()(TAP)


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (Selection(kinds=["vm"]), True),
        (Selection(kinds=["bridge", "vm"]), True),
        (Selection(kinds=["bridge"]), False),
        (Selection(states=["ready"]), True),
        (Selection(states=["failed", "pending"]), False),
        (Selection(names=["qvo*", "tap*"]), True),
        (Selection(names=["tap"]), False),
        (Selection(iface_ids=["vif-1"]), True),
        (Selection(iface_ids=["vif"]), False),
        (Selection(kinds=["vm"], states=["failed"]), False),
    ],
)
def test_a_port_must_have_one_of_each_that_is_asked_for(
    selection: Selection, selected: bool
) -> None:
    assert selection(TAP) is selected


def test_a_port_without_an_iface_id_is_not_selected_by_one() -> None:
    assert not Selection(iface_ids=["vif-1"])(port(attributes={}))
