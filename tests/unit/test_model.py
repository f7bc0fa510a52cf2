"""The values that travel the road."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from dfovsdb.model import PORT_FACTS, keep_known, port_of
from tests.unit.samples import event, interface, marker, port


@pytest.mark.parametrize("value", [interface(), port(), event(), marker()])
def test_a_value_cannot_be_changed(value: Any) -> None:
    name = value.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(value, name, "other")


@pytest.mark.parametrize("value", [interface(), port(), event(), marker()])
def test_a_value_is_no_work_for_the_garbage_collector(value: Any) -> None:
    assert not gc.is_tracked(value)


@pytest.mark.parametrize(
    ("ofport", "state"),
    [(None, "pending"), (-1, "failed"), (1, "ready"), (65534, "ready"), (0, "ready")],
)
def test_the_state_follows_ofport(ofport: int | None, state: str) -> None:
    assert port(ofport=ofport).state == state


def test_a_port_carries_the_facts_of_its_row_and_the_row() -> None:
    row = interface(
        type="internal",
        ofport=3,
        error="e",
        mac_in_use="m",
        link_state="down",
        bridge="br-int",
        tag=5,
        trunks=(1, 2),
        bond="bond0",
    )
    made = port_of(row, "vm", {"iface_id": "x"})
    assert made.interface is row
    assert made.facts() == {
        "uuid": row.uuid,
        "name": "tap0",
        "kind": "vm",
        "type": "internal",
        "ofport": 3,
        "state": "ready",
        "admin_state": None,
        "link_state": "down",
        "mac_in_use": "m",
        "error": None,
        "bridge": "br-int",
        "tag": 5,
        "trunks": (1, 2),
        "bond": "bond0",
        "attributes": {"iface_id": "x"},
    }
    assert tuple(made.facts()) == PORT_FACTS


def test_ports_are_equal_by_their_facts_without_the_row() -> None:
    read_back = msgspec.structs.replace(port(), interface=None)
    assert read_back == port()
    assert not read_back != port()  # noqa: SIM202 - the two operators are defined apart
    assert hash(read_back) == hash(port())


@pytest.mark.parametrize(
    "facts",
    [
        {"uuid": "other"},
        {"name": "tap1"},
        {"kind": "tunnel"},
        {"type": "internal"},
        {"ofport": 6},
        {"ofport": None},
        {"admin_state": "down"},
        {"link_state": None},
        {"mac_in_use": "m"},
        {"attributes": {"iface_id": "vif-2"}},
        {"attributes": {}},
        {"bridge": "br-int"},
        {"tag": 1},
        {"trunks": (1,)},
        {"bond": "bond0"},
    ],
)
def test_ports_differ_by_each_fact(facts: dict[str, Any]) -> None:
    assert port(**facts) != port()
    assert not port(**facts) == port()  # noqa: SIM201 - the two operators are defined apart


def test_there_is_an_error_only_while_the_port_is_failed() -> None:
    assert port(error="a") == port(error=None)
    assert port(error="a").error is None
    assert port(ofport=None, error="a") == port(ofport=None, error="b")
    assert port(ofport=-1, error="a") != port(ofport=-1, error="b")


def test_a_port_is_nothing_but_a_port() -> None:
    assert port() != "tap0"


EPHEMERAL = ("admin_state", "link_state", "mac_in_use")


UNKNOWN: dict[str, Any] = dict.fromkeys(EPHEMERAL)


def test_what_became_empty_together_while_ofport_stayed_keeps_its_last_known_value() -> None:
    last = port(admin_state="up", link_state="down", mac_in_use="m")
    kept = keep_known(last, port(**UNKNOWN))
    assert [getattr(kept, name) for name in EPHEMERAL] == ["up", "down", "m"]
    again = port_of(interface(ofport=5, **UNKNOWN), "vm", {}, last)
    assert [getattr(again, name) for name in EPHEMERAL] == ["up", "down", "m"]


@pytest.mark.parametrize("name", EPHEMERAL)
def test_one_of_them_that_became_empty_alone_is_news(name: str) -> None:
    known: dict[str, Any] = dict.fromkeys(EPHEMERAL, "known")
    now = port(**known | {name: None})
    assert keep_known(port(**known), now) is now


def test_a_device_that_vanished_is_gone_and_its_mac_with_it() -> None:
    vanished = port(admin_state="down", link_state="down", mac_in_use=None)
    assert (vanished.state, vanished.mac_in_use) == ("gone", None)
    assert vanished.error == "its network device has vanished"
    # The kernel has no flags of a device that is not there.
    assert port(admin_state=None, link_state="down", mac_in_use=None).state == "gone"
    last = port(admin_state="down", link_state="down", mac_in_use="m")
    assert keep_known(last, vanished) is vanished


@pytest.mark.parametrize(
    "facts",
    [
        {"mac_in_use": "00:00:00:00:00:00"},  # of a vhost-user port that waits for its VM
        {"mac_in_use": ""},  # the server has no such column
        {"admin_state": None, "link_state": None},  # the database has restarted
        {"link_state": "up"},
        {"type": "internal"},  # of a DHCP server or a router in its network namespace
        {"type": "tap"},  # the same
    ],
)
def test_other_ports_are_not_gone(facts: dict[str, Any]) -> None:
    down: dict[str, Any] = {"admin_state": "down", "link_state": "down", "mac_in_use": None}
    assert port(**down | facts).state == "ready"


def test_gone_is_kept_while_the_columns_are_unknown() -> None:
    vanished = port(admin_state="down", link_state="down", mac_in_use=None)
    kept = keep_known(vanished, port(**UNKNOWN))
    assert kept == vanished


def patch(peer: bool | None, **facts: Any) -> Any:
    return port("patch", {}, type="patch", options={"peer": "x"}, peer=peer, **facts)


def test_a_patch_port_whose_peer_is_not_there_has_failed_in_our_words() -> None:
    for error in (None, "No usable peer 'x' exists in 'system' datapath."):
        failed = patch(False, error=error)
        assert failed.state == "failed"
        assert failed.error == "there is no usable patch port 'x' with this port as its peer"
    assert patch(True, error="No usable peer").state == "ready"
    assert patch(True, error="No usable peer").error is None
    assert patch(None).state == "ready"
    assert patch(False, ofport=None).state == "pending"
    refused = patch(False, ofport=-1, error="patch type requires valid 'peer' argument")
    assert (refused.state, refused.error) == (
        "failed",
        "patch type requires valid 'peer' argument",
    )


def test_what_is_known_is_news() -> None:
    assert keep_known(port(link_state="up"), port(link_state="down")).link_state == "down"


@pytest.mark.parametrize("ofport", [None, -1, 6])
def test_nothing_is_kept_where_ofport_changed(ofport: int | None) -> None:
    now = port(ofport=ofport, admin_state=None)
    assert keep_known(port(), now) is now


def test_other_facts_may_become_empty() -> None:
    last = port(ofport=-1, error="e", attributes={"iface_id": "x"})
    now = port(ofport=-1, error=None, attributes={"iface_id": None})
    assert keep_known(last, now).error is None
    assert keep_known(last, now).attributes == {"iface_id": None}


def test_a_port_of_which_nothing_was_forgotten_stays_the_same_object() -> None:
    now = port()
    assert keep_known(port(), now) is now


def test_a_row_that_was_never_a_port_is_one_as_it_is() -> None:
    assert port_of(interface(), "vm", {}).admin_state is None
