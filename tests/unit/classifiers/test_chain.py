from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import pytest

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import Interface
from dfovsdb.plugins import default_classifiers
from dfovsdb.testing import interface
from tests.unit.samples import port


class Says(Classifier):
    """Claims every row, none, or answers what a classifier must not."""

    def __init__(self, kind: str, answer: Any, columns: frozenset[str] = frozenset()) -> None:
        self.kind = kind
        self.columns = columns
        self.asked: list[Interface] = []
        self._answer = answer

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        self.asked.append(interface)
        if isinstance(self._answer, Exception):
            raise self._answer
        answer: Mapping[str, str | None] | None = self._answer
        return answer


def test_the_first_that_claims_a_row_wins() -> None:
    no, first, second = Says("no", None), Says("first", {"a": "1"}), Says("second", {})
    claimed = Chain([no, first, second]).port(interface(), None)
    assert claimed is not None
    assert (claimed.kind, claimed.attributes) == ("first", {"a": "1"})
    assert (no.asked, first.asked, second.asked) == ([interface()], [interface()], [])


def test_a_claim_without_attributes_is_a_claim() -> None:
    claimed = Chain([Says("a", {}), Says("b", {})]).port(interface(), None)
    assert claimed is not None
    assert claimed.kind == "a"


def test_a_row_that_nobody_claims_is_no_port() -> None:
    assert Chain([Says("a", None)]).port(interface(), None) is None
    assert Chain([]).port(interface(), None) is None


def test_what_was_known_of_the_port_is_kept() -> None:
    claimed = Chain([Says("vm", {})]).port(interface(ofport=5), port(link_state="down"))
    assert claimed is not None
    assert claimed.link_state == "down"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ValueError("on purpose"), "on purpose"),
        ([("a", "b")], "not a mapping or None"),
        (True, "not a mapping or None"),
        ("", "not a mapping or None"),
        ({1: "a"}, "not a string or None"),
        ({"a": 1}, "not a string or None"),
        ({"a": b"x"}, "not a string or None"),
        ({"a": "é\ud800"}, "attribute 'a' is 'é\\ud800', with half of a surrogate pair"),
        ({"\udcff": None}, "attribute '\\udcff' is None, with half of a surrogate pair"),
    ],
)
def test_a_classifier_that_fails_is_counted_logged_and_passed_over(
    answer: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain = Chain([Says("broken", answer), Says("next", {})])
    claimed = chain.port(interface(name="tap\n0"), None)
    assert claimed is not None
    assert claimed.kind == "next"
    assert chain.failures.by_kind == {"broken": 1}
    (record,) = caplog.records
    assert "classifier broken failed on interface 'tap\\n0'" in record.getMessage()
    assert record.exc_info is not None
    assert why in str(record.exc_info[1])


def test_extra_columns_are_those_beyond_the_core() -> None:
    chain = Chain(
        [Says("a", None, frozenset({"mtu", "name"})), Says("b", None, frozenset({"mtu", "bfd"}))]
    )
    assert chain.extra_columns == {"mtu", "bfd"}
    assert Chain(default_classifiers()).extra_columns == frozenset()


@pytest.mark.parametrize("column", ["statistics", "Interface.statistics", "Port.statistics"])
def test_columns_that_are_rewritten_all_the_time_are_refused_in_one_line(column: str) -> None:
    with pytest.raises(
        ConfigurationError,
        match=f"classifier a declares the column {column.removeprefix('Interface.')}",
    ):
        Chain([Says("a", None, frozenset({column, "mtu"}))])


@pytest.mark.parametrize("columns", [None, 5, b"mtu", [None], "mtu"])
def test_columns_that_are_no_set_of_names_are_refused(columns: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"classifier a: columns is .*use a set of names"):
        Chain([Says("a", None, columns)])


@pytest.mark.parametrize("column", ["a b", "mtu\0", "", "Port.", "Port.a b", "é"])
def test_what_cannot_be_the_name_of_a_column_is_refused(column: str) -> None:
    with pytest.raises(ConfigurationError, match="classifier a declares the column"):
        Chain([Says("a", None, frozenset({column}))])


class Colour(enum.StrEnum):
    RED = "red"


class Text(str):
    pass


def test_a_string_of_another_class_is_a_plain_one_in_the_port() -> None:
    chain = Chain([Says("a", {"colour": Colour.RED, Text("b"): Text(), "none": None})])
    claimed = chain.port(interface(), None)
    assert claimed is not None
    assert claimed.attributes == {"colour": "red", "b": "", "none": None}
    texts = [text for pair in claimed.attributes.items() for text in pair]
    assert {type(text) for text in texts} == {str, type(None)}


@pytest.mark.parametrize("kind", ["", None, 5])
def test_a_classifier_without_a_kind_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="classifier Says does not set kind"):
        Chain([Says(kind, None)])


@pytest.mark.parametrize("kind", ["router port", "vm\n", "é", "a/b", 'a"', " "])
def test_a_kind_that_cannot_be_a_label_or_a_subject_is_refused(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="a kind consists of letters, digits"):
        Chain([Says(kind, None)])


def test_a_kind_may_have_a_hyphen_an_underscore_and_a_dot() -> None:
    claimed = Chain([Says("Router-2_x.y", {})]).port(interface(), None)
    assert claimed is not None
    assert claimed.kind == "Router-2_x.y"


class Kindless(Classifier):
    def classify(self, interface: Interface) -> None:
        """Nothing."""


def test_a_kind_is_read_once_and_is_a_plain_string() -> None:
    class Kind(enum.StrEnum):
        A = "a"
        B = "b"

    class Changing(Says):
        kinds = iter([Kind.A] * 3 + [Kind.B] * 9)  # it is looked at a few times at the start

        @property
        def kind(self) -> str:
            return next(self.kinds)

        @kind.setter
        def kind(self, value: str) -> None: ...

    chain = Chain([Changing("", {})])
    ports = [chain.port(interface(), None) for _ in range(3)]
    kinds = {port.kind for port in ports if port is not None}
    assert kinds == set(chain.kinds)
    assert [type(kind) for kind in kinds] == [str]


@pytest.mark.parametrize("name", ["kind", "columns"])
def test_a_property_that_raises_is_wrong_use(name: str) -> None:
    def broken(_self: object) -> str:
        raise SystemExit(7)

    plugin = type("Broken", (Says,), {name: property(broken, lambda _self, _value: None)})
    with pytest.raises(ConfigurationError, match=r"Broken cannot be used: .*SystemExit\(7\)"):
        Chain([plugin("a", {})])


def test_a_class_that_never_names_a_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="classifier Kindless does not set kind"):
        Chain([Kindless()])


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"type": "patch", "external_ids": {"iface-id": "x"}}, "patch"),
        ({"type": "vxlan", "external_ids": {"iface-id": "x"}}, "tunnel"),
        ({"type": "internal", "name": "br-x", "external_ids": {"iface-id": "x"}}, "bridge"),
        ({"ofport": 65534, "external_ids": {"iface-id": "x"}}, "bridge"),
        ({"type": "internal", "name": "tap0", "external_ids": {"iface-id": "x"}}, "service"),
        ({"type": "internal", "name": "qr-0", "external_ids": {"iface-id": "x"}}, "service"),
        ({"name": "tap0", "external_ids": {"iface-id": "x"}}, "vm"),
        ({"name": "qr-0", "external_ids": {"iface-id": "x"}}, None),
        ({"name": "eth0"}, "uplink"),
        ({"name": "veth0"}, None),
    ],
)
def test_the_default_order_gives_each_port_one_kind(facts: Any, kind: str | None) -> None:
    claimed = Chain(default_classifiers()).port(interface(**facts), None)
    assert (claimed.kind if claimed else None) == kind
