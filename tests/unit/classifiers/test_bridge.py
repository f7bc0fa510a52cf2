from __future__ import annotations

import pytest

from dfovsdb.classifiers.bridge import BridgeClassifier
from dfovsdb.testing import interface


@pytest.mark.parametrize("name", ["br-int", "tbr-4aa", "anything"])
@pytest.mark.parametrize("type_", ["internal", "", "dummy"])
def test_the_local_port_is_a_bridge_whatever_its_name(name: str, type_: str) -> None:
    row = interface(name=name, type=type_, ofport=65534)
    assert BridgeClassifier().classify(row) == {}


@pytest.mark.parametrize("ofport", [None, -1, 1])
def test_an_internal_port_with_the_name_of_a_bridge_is_one_before_it_has_a_number(
    ofport: int | None,
) -> None:
    row = interface(name="br-ex", type="internal", ofport=ofport)
    assert BridgeClassifier().classify(row) == {}


@pytest.mark.parametrize(
    ("name", "type_", "ofport"),
    [
        ("br-int", "", None),
        ("br-int", "patch", 3),
        ("tap0", "internal", 3),
        ("Br-int", "internal", None),
        ("xbr-int", "internal", None),
        ("tap0", "internal", 65533),
    ],
)
def test_other_ports_are_no_bridge(name: str, type_: str, ofport: int | None) -> None:
    assert BridgeClassifier().classify(interface(name=name, type=type_, ofport=ofport)) is None


@pytest.mark.parametrize("ofport", [None, -1, 65534])
@pytest.mark.parametrize("type_", ["internal", ""])
def test_the_port_with_the_name_of_its_bridge_is_the_local_port_whatever_its_type(
    type_: str, ofport: int | None
) -> None:
    row = interface(name="eth7", type=type_, ofport=ofport, bridge="eth7", port_name="eth7")
    assert BridgeClassifier().classify(row) == {}
    assert BridgeClassifier().classify(interface(name="eth7", type=type_, bridge="br")) is None


def test_names_and_the_local_port_are_options() -> None:
    narrow = BridgeClassifier(names=("br-int", "br-tun"), local_port=False)
    assert narrow.classify(interface(name="br-tun", type="internal")) == {}
    assert narrow.classify(interface(name="br-ex", type="internal", ofport=65534)) is None
    assert narrow.classify(interface(name="br-int", ofport=65534)) is None
    assert [option.dest for option in BridgeClassifier.options] == ["names", "local_port"]
