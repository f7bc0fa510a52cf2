from __future__ import annotations

import pytest

from dfovsdb.classifiers.tunnel import TYPES, TunnelClassifier
from dfovsdb.testing import interface

NOTHING = {"remote_ip": None, "local_ip": None, "key": None, "chassis_id": None}


@pytest.mark.parametrize(
    "type_",
    [
        "geneve",
        "vxlan",
        "gre",
        "ip6gre",
        "erspan",
        "ip6erspan",
        "gtpu",
        "bareudp",
        "srv6",
        "lisp",
        "stt",
    ],
)
def test_every_tunnel_type_is_claimed(type_: str) -> None:
    row = interface(type=type_)
    assert TunnelClassifier().classify(row) == NOTHING | {"tunnel_type": type_}
    assert type_ in TYPES


@pytest.mark.parametrize("type_", ["", "system", "internal", "patch", "dummy", "VXLAN"])
def test_other_types_are_not_claimed(type_: str) -> None:
    row = interface(type=type_, options={"remote_ip": "10.0.0.1"})
    assert TunnelClassifier().classify(row) is None


def test_the_ends_and_the_key_come_from_the_options() -> None:
    row = interface(
        type="vxlan",
        options={"remote_ip": "flow", "local_ip": "10.0.0.1", "key": "flow", "df": "1"},
    )
    assert TunnelClassifier().classify(row) == {
        "remote_ip": "flow",
        "local_ip": "10.0.0.1",
        "key": "flow",
        "tunnel_type": "vxlan",
        "chassis_id": None,
    }


@pytest.mark.parametrize(
    ("external_ids", "chassis_id"),
    [
        ({"df-chassis-id": "df"}, "df"),
        ({"ovn-chassis-id": "ovn@1"}, "ovn@1"),
        ({"df-chassis-id": "df", "ovn-chassis-id": "ovn"}, "df"),
        ({"df-chassis-id": "", "ovn-chassis-id": "ovn"}, "ovn"),
        ({}, None),
    ],
)
def test_the_chassis_comes_from_the_external_ids(
    external_ids: dict[str, str], chassis_id: str | None
) -> None:
    attributes = TunnelClassifier().classify(interface(type="gre", external_ids=external_ids))
    assert attributes is not None
    assert attributes["chassis_id"] == chassis_id


def test_types_and_names_are_options() -> None:
    narrow = TunnelClassifier(types=("vxlan",), names=("df*", "vx-?"))
    assert narrow.classify(interface(type="vxlan", name="df-1"))
    assert narrow.classify(interface(type="vxlan", name="vx-1"))
    assert narrow.classify(interface(type="vxlan", name="vx-10")) is None
    assert narrow.classify(interface(type="geneve", name="df-1")) is None
    assert [option.dest for option in TunnelClassifier.options] == ["types", "names"]
