"""What real producers wrote: recordings of QEMU, Mininet, OVN, os-vif and others."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfovsdb.model import PortEvent
from dfovsdb.recording import replay

FOLDER = Path(__file__).parents[1] / "recordings" / "producers"
FILES = sorted(FOLDER.glob("*.rec"))


def events(name: str) -> list[PortEvent]:
    return [item for item in replay(FOLDER / f"{name}.rec") if isinstance(item, PortEvent)]


def test_a_vm_that_is_killed_is_gone_at_once_and_its_mac_with_it() -> None:
    states = [
        (event.port.state, event.port.mac_in_use)
        for event in events("qemu")
        if event.port.name == "tapq" and event.action == "updated"
    ]
    assert states == [
        ("ready", "7a:1d:fe:82:24:89"),
        ("gone", None),
        ("failed", None),
        ("ready", "62:01:c1:ae:26:96"),
        ("ready", "62:01:c1:ae:26:96"),
        ("gone", None),
        ("ready", "ba:1a:40:bb:ae:00"),
        ("ready", "6e:a2:b0:42:96:ea"),
    ]


def test_a_device_whose_link_was_never_up_is_gone_too() -> None:
    assert [(event.action, event.port.state) for event in events("van")] == [
        ("online", "ready"),
        ("online", "ready"),
        ("updated", "gone"),
    ]


def test_the_port_of_a_dhcp_server_in_its_network_namespace_is_not_gone() -> None:
    """The userspace datapath; the port answered a packet at the end of the recording."""
    of_port = [event for event in events("namespace") if event.port.name == "tapdhcp"]
    assert [(event.action, event.port.state, event.port.link_state) for event in of_port] == [
        ("online", "ready", "up"),
        ("updated", "ready", "down"),
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_error_is_there_only_with_a_state_that_has_one(file: Path) -> None:
    for item in replay(file):
        if isinstance(item, PortEvent):
            has_error = item.port.error is not None
            assert has_error == (item.port.state in ("failed", "gone")), item


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_iface_id_is_online_on_two_ports_that_are_no_patch_ports(file: Path) -> None:
    there: dict[str, str] = {}
    for item in replay(file):
        if not isinstance(item, PortEvent) or item.port.type == "patch":
            continue
        there.pop(item.port.uuid, None)
        iface_id = item.port.attributes.get("iface_id")
        if item.action != "offline" and iface_id and file.stem not in ("ovn4", "osvif"):
            assert iface_id not in there.values(), item
            there[item.port.uuid] = iface_id
