from __future__ import annotations

from typing import Any

import pytest

from dfovsdb.classifiers.vm import VmClassifier
from dfovsdb.testing import interface

IDS = {"iface-id": "4aa64e21-d9d6"}


@pytest.mark.parametrize("name", ["tap0", "qvo0", "vhu0", "vnet0", "vif0", "tpi-0", "x"])
@pytest.mark.parametrize("type_", ["", "system", "dpdkvhostuserclient"])
def test_a_row_with_an_iface_id_is_a_vm(name: str, type_: str) -> None:
    row = interface(name=name, type=type_, external_ids=IDS)
    attributes = VmClassifier().classify(row)
    assert attributes is not None
    assert attributes["iface_id"] == "4aa64e21-d9d6"


@pytest.mark.parametrize("external_ids", [{}, {"iface-id": ""}, {"iface_id": "x"}])
def test_a_row_without_an_iface_id_is_none(external_ids: dict[str, str]) -> None:
    row = interface(external_ids=external_ids | {"attached-mac": "m"})
    assert VmClassifier().classify(row) is None


@pytest.mark.parametrize("name", ["qr-1", "qg-1", "sg-1", "fg-1", "ha-1"])
def test_the_ports_of_routers_are_no_vm(name: str) -> None:
    row = interface(name=name, external_ids=IDS)
    assert VmClassifier().classify(row) is None
    assert VmClassifier(exclude_names=()).classify(row) is not None


def test_an_internal_port_belongs_to_the_host_and_is_no_vm() -> None:
    row = interface(name="tap0", type="internal", external_ids=IDS)
    assert VmClassifier().classify(row) is None
    assert VmClassifier().nearly(row) == "it is an internal port: a service"


@pytest.mark.parametrize("key", ["attached-mac", "attached_mac"])
def test_the_mac_has_two_spellings(key: str) -> None:
    attributes = VmClassifier().classify(interface(external_ids=IDS | {key: "fa:16:3e:00:00:01"}))
    assert attributes is not None
    assert attributes["attached_mac"] == "fa:16:3e:00:00:01"


def test_whether_a_vhost_user_vm_is_connected_is_reported_where_it_is_asked_for() -> None:
    assert VmClassifier().columns == frozenset()
    asking = VmClassifier(status=True)
    assert asking.columns == {"status"}
    row = interface(
        type="dpdkvhostuserclient",
        external_ids=IDS,
        columns={"status": {"status": "connected", "features": "0x0"}},
    )
    attributes = asking.classify(row)
    assert attributes is not None
    assert attributes["vhost"] == "connected"
    of_tap = asking.classify(interface(external_ids=IDS, columns={"status": {"status": "x"}}))
    assert of_tap is not None
    assert of_tap["vhost"] is None
    nothing = asking.classify(
        interface(type="dpdkvhostuser", external_ids=IDS, columns={"status": None})
    )
    assert nothing is not None
    assert nothing["vhost"] is None


def test_attributes_come_from_the_external_ids() -> None:
    row = interface(
        external_ids=IDS
        | {
            "attached-mac": "fa:16:3e:00:00:01",
            "iface-status": "inactive",
            "ovn-installed": "true",
            "vm-id": "libvirt",
            "else": "x",
        }
    )
    assert VmClassifier().classify(row) == {
        "iface_id": "4aa64e21-d9d6",
        "attached_mac": "fa:16:3e:00:00:01",
        "vm_id": "libvirt",
        "iface_status": "inactive",
        "ovn_installed": "true",
    }


def test_attributes_that_are_not_there_are_none() -> None:
    assert VmClassifier().classify(interface(external_ids=IDS)) == {
        "iface_id": "4aa64e21-d9d6",
        "attached_mac": None,
        "vm_id": None,
        "iface_status": None,
        "ovn_installed": None,
    }


@pytest.mark.parametrize(
    ("ids", "vm_id"),
    [
        ({"vm-id": "libvirt"}, "libvirt"),
        ({"vm-uuid": "os-vif"}, "os-vif"),
        ({"vm-id": "libvirt", "vm-uuid": "os-vif"}, "libvirt"),
        ({"vm-id": "", "vm-uuid": "os-vif"}, "os-vif"),
    ],
)
def test_both_writers_of_the_vm_id_are_understood(ids: dict[str, str], vm_id: str) -> None:
    attributes = VmClassifier().classify(interface(external_ids=IDS | ids))
    assert attributes is not None
    assert attributes["vm_id"] == vm_id


def test_names_are_options() -> None:
    narrow = VmClassifier(names=("tap*",), exclude_names=("tap-x*",))
    assert narrow.classify(interface(name="tap0", external_ids=IDS)) is not None
    assert narrow.classify(interface(name="qr-0", external_ids=IDS)) is None
    assert narrow.classify(interface(name="tap-x0", external_ids=IDS)) is None
    assert [option.dest for option in VmClassifier.options] == [
        "names",
        "exclude_names",
        "status",
    ]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"name": "tap0"}, "it has no external_ids:iface-id"),
        ({"name": "p0", "type": "geneve"}, None),
        ({"name": "qr-1", "external_ids": {"iface-id": "v"}}, "its name is among exclude_names"),
    ],
)
def test_it_says_what_a_row_lacks(facts: dict[str, Any], text: str | None) -> None:
    assert VmClassifier().nearly(interface(**facts)) == text
