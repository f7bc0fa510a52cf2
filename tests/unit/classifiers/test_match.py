from __future__ import annotations

from typing import Any

import pytest

from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.errors import ConfigurationError
from dfovsdb.testing import interface

ROW: dict[str, Any] = {
    "name": "tap0",
    "type": "internal",
    "external_ids": {"iface-id": "x", "owner": "dhcp"},
    "options": {"peer": "y"},
}


def test_a_kind_alone_claims_everything() -> None:
    assert MatchClassifier(kind="any").classify(interface(name="x")) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"types": ("internal",)},
        {"types": ("system", "internal")},
        {"names": ("tap*",)},
        {"names": ("qvo*", "tap?")},
        {"external_ids": ("iface-id", "owner")},
        {"options": ("peer",)},
        {"types": ("internal",), "names": ("tap0",), "external_ids": ("owner",)},
    ],
)
def test_a_row_that_has_everything_is_claimed(options: dict[str, Any]) -> None:
    assert MatchClassifier(kind="dhcp", **options).classify(interface(**ROW)) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"types": ("system",)},
        {"names": ("qvo*",)},
        {"names": ()},
        {"external_ids": ("owner", "missing")},
        {"options": ("peer", "missing")},
        {"types": ("internal",), "names": ("qvo*",)},
    ],
)
def test_a_row_that_lacks_one_thing_is_not(options: dict[str, Any]) -> None:
    assert MatchClassifier(kind="dhcp", **options).classify(interface(**ROW)) is None


def test_the_empty_type_is_named_system() -> None:
    system = MatchClassifier(kind="nic", types=("system",))
    assert system.classify(interface(type="")) == {}
    assert system.classify(interface(type="system")) == {}


def test_a_key_with_an_empty_value_is_absent() -> None:
    row = interface(external_ids={"owner": ""})
    assert MatchClassifier(kind="x", external_ids=("owner",)).classify(row) is None
    assert MatchClassifier(kind="x", external_ids=("!owner",)).classify(row) == {}


SURROUNDED: dict[str, Any] = ROW | {
    "bridge": "br-int",
    "tag": 7,
    "port_external_ids": {"pod-name": "web-0", "empty": ""},
    "columns": {
        "mtu": 1500,
        "status": {"driver_name": "ixgbe", "a": "b"},
        "Port.tag": 7,
        "Port.trunks": (1, 2),
        "Port.external_ids": {"pod-name": "web-0"},
        "Bridge.name": "br-int",
        "up": True,
    },
}


@pytest.mark.parametrize(
    ("options", "claimed"),
    [
        ({"external_ids": ("owner=dhcp",)}, True),
        ({"external_ids": ("owner=dh*",)}, True),
        ({"external_ids": ("owner=router",)}, False),
        ({"external_ids": ("owner=*",)}, True),
        ({"external_ids": ("missing=*",)}, False),
        ({"external_ids": ("!missing", "owner")}, True),
        ({"external_ids": ("!owner",)}, False),
        ({"options": ("peer=y",)}, True),
        ({"options": ("!peer",)}, False),
        ({"port_external_ids": ("pod-name=web-*",)}, True),
        ({"port_external_ids": ("empty",)}, False),
        ({"port_external_ids": ("!empty",)}, True),
        ({"bridges": ("br-*",)}, True),
        ({"bridges": ("vmbr*",)}, False),
        ({"types": ("int*",)}, True),
    ],
)
def test_rules_ask_for_values_and_for_absence(options: dict[str, Any], claimed: bool) -> None:
    found = MatchClassifier(kind="x", **options).classify(interface(**SURROUNDED))
    assert (found is not None) == claimed


@pytest.mark.parametrize(
    ("entry", "attribute", "value"),
    [
        ("who:external_ids:owner", "who", "dhcp"),
        ("pod:port_external_ids:pod-name", "pod", "web-0"),
        ("peer:options:peer", "peer", "y"),
        ("mtu:mtu", "mtu", "1500"),
        ("mtu:Interface.mtu", "mtu", "1500"),
        ("vlan:Port.tag", "vlan", "7"),
        ("vlans:Port.trunks", "vlans", "1,2"),
        ("status:status", "status", "a=b,driver_name=ixgbe"),
        ("up:up", "up", "true"),
        ("kind:type", "kind", "internal"),
        ("nothing:mac_in_use", "nothing", None),
        ("nothing:Port.nosuch", "nothing", None),
    ],
)
def test_attributes_come_from_anywhere(entry: str, attribute: str, value: str | None) -> None:
    lifting = MatchClassifier(kind="x", attributes=(entry,))
    assert lifting.classify(interface(**SURROUNDED)) == {attribute: value}


def test_what_the_rules_need_is_declared() -> None:
    needs = MatchClassifier(
        kind="x",
        bridges=("br-*",),
        port_external_ids=("a",),
        attributes=("m:mtu", "n:name", "t:Port.tag"),
    )
    assert needs.columns == {"Bridge.name", "Port.external_ids", "mtu", "Port.tag"}
    assert MatchClassifier(kind="x", attributes=("owner",)).columns == frozenset()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"external_ids": ("!",)}, "'!' is not a rule"),
        ({"external_ids": ("=x",)}, "'=x' is not a rule"),
        ({"options": ("!a=b",)}, "'!a=b' is not a rule"),
        ({"external_ids": ("a=",)}, "use !a"),
        ({"external_ids": ("a", "!a")}, "a must be present and must be absent"),
        ({"attributes": ("a:",)}, "'a:' is neither KEY nor NAME:SOURCE"),
        ({"attributes": ("a:other:b",)}, "a source is external_ids:KEY"),
        ({"attributes": ("a:options:",)}, "a source is external_ids:KEY"),
        ({"attributes": ("a:Controller.b",)}, "'Controller.b' is not a column"),
        ({"attributes": ("a", "a:options:b")}, "a occurs twice"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        MatchClassifier(kind="x", **options)
    assert text in str(raised.value)


def test_attributes_are_lifted_under_names_with_underscores() -> None:
    lifting = MatchClassifier(kind="dhcp", attributes=("iface-id", "vm-uuid"))
    assert lifting.classify(interface(**ROW)) == {"iface_id": "x", "vm_uuid": None}


def test_a_kind_is_required() -> None:
    assert MatchClassifier(kind="dhcp").kind == "dhcp"
    with pytest.raises(ConfigurationError, match="kind is required"):
        MatchClassifier(kind="")
    assert [option.dest for option in MatchClassifier.options if option.required] == ["kind"]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"type": "internal"}, "it has no external_ids:owner"),
        ({"external_ids": {"owner": "x"}}, "its type is not among types"),
        ({}, None),
    ],
)
def test_it_says_what_a_row_lacks_where_that_is_one_thing(
    facts: dict[str, Any], text: str | None
) -> None:
    classifier = MatchClassifier("mine", types=["internal"], external_ids=["owner"])
    assert classifier.nearly(interface(**facts)) == text
