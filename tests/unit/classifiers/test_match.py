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
        {"option_keys": ("peer",)},
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
        {"option_keys": ("peer", "missing")},
        {"types": ("internal",), "names": ("qvo*",)},
    ],
)
def test_a_row_that_lacks_one_thing_is_not(options: dict[str, Any]) -> None:
    assert MatchClassifier(kind="dhcp", **options).classify(interface(**ROW)) is None


def test_the_empty_type_is_named_system() -> None:
    system = MatchClassifier(kind="nic", types=("system",))
    assert system.classify(interface(type="")) == {}
    assert system.classify(interface(type="system")) == {}


def test_a_key_with_an_empty_value_is_there() -> None:
    row = interface(external_ids={"owner": ""})
    assert MatchClassifier(kind="x", external_ids=("owner",)).classify(row) == {}


def test_attributes_are_lifted_under_names_with_underscores() -> None:
    lifting = MatchClassifier(kind="dhcp", attributes=("iface-id", "vm-uuid"))
    assert lifting.classify(interface(**ROW)) == {"iface_id": "x", "vm_uuid": None}


def test_a_kind_is_required() -> None:
    assert MatchClassifier(kind="dhcp").kind == "dhcp"
    with pytest.raises(ConfigurationError, match="kind is required"):
        MatchClassifier(kind="")
    assert [option.dest for option in MatchClassifier.options if option.required] == ["kind"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"type": "internal"}, "it has no external_ids:owner"),
        ({"external_ids": {"owner": "x"}}, "its type is not among types"),
        ({}, None),
    ],
)
def test_it_says_what_a_row_lacks_where_that_is_one_thing(
    facts: dict[str, Any], words: str | None
) -> None:
    classifier = MatchClassifier("mine", types=["internal"], external_ids=["owner"])
    assert classifier.nearly(interface(**facts)) == words
