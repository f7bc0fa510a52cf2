from __future__ import annotations

import pytest

from dfovsdb.classifiers.patch import PatchClassifier
from dfovsdb.testing import interface


def test_a_patch_port_is_claimed_with_its_peer() -> None:
    row = interface(type="patch", options={"peer": "patch-tun", "other": "x"})
    assert PatchClassifier().classify(row) == {"peer": "patch-tun"}


def test_a_patch_port_without_a_peer_is_claimed_too() -> None:
    assert PatchClassifier().classify(interface(type="patch")) == {"peer": None}


@pytest.mark.parametrize("type_", ["", "system", "internal", "vxlan", "patchy", "PATCH"])
def test_other_types_are_not_claimed(type_: str) -> None:
    row = interface(type=type_, name="patch-int", options={"peer": "x"})
    assert PatchClassifier().classify(row) is None


def test_the_kind_is_patch() -> None:
    assert PatchClassifier.kind == "patch"
