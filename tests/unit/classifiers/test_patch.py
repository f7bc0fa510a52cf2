from __future__ import annotations

import pytest

from dfovsdb.classifiers.patch import PatchClassifier
from dfovsdb.testing import interface

NO_IDS = {"iface_id": None, "attached_mac": None, "vm_id": None}


def test_a_patch_port_has_the_ids_of_its_trunk_or_subport() -> None:
    ids = {"iface-id": "subport", "attached-mac": "fa:16:3e:00:00:02", "vm-uuid": "vm"}
    row = interface(type="patch", options={"peer": "spt-1"}, external_ids=ids)
    assert PatchClassifier().classify(row) == {
        "peer": "spt-1",
        "iface_id": "subport",
        "attached_mac": "fa:16:3e:00:00:02",
        "vm_id": "vm",
    }


def test_a_patch_port_is_claimed_with_its_peer() -> None:
    row = interface(type="patch", options={"peer": "patch-tun", "other": "x"})
    assert PatchClassifier().classify(row) == {"peer": "patch-tun"} | NO_IDS


def test_a_patch_port_without_a_peer_is_claimed_too() -> None:
    assert PatchClassifier().classify(interface(type="patch")) == {"peer": None} | NO_IDS


@pytest.mark.parametrize("type_", ["", "system", "internal", "vxlan", "patchy", "PATCH"])
def test_other_types_are_not_claimed(type_: str) -> None:
    row = interface(type=type_, name="patch-int", options={"peer": "x"})
    assert PatchClassifier().classify(row) is None


def test_the_kind_is_patch() -> None:
    assert PatchClassifier.kind == "patch"
