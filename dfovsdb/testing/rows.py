"""Rows of the Interface table for tests: a builder, and a collection of real and hostile ones."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from dfovsdb.model import CORE_COLUMNS, TABLE, Interface

_CORE = frozenset(Interface.__struct_fields__)
_NAMESPACE = uuid.UUID("6466f766-7364-4200-8000-000000000000")


def interface(name: str = "tap0", **columns: Any) -> Interface:
    """Build an Interface row, complete except for the subject of a test.

    :param columns: fields of Interface. Every other name goes into `columns`, like the columns
        that a classifier declares. The rows of a monitor have all of those; an empty one is None.
    """
    known = {field: columns.pop(field) for field in list(columns) if field in _CORE}
    encodable = name.encode("utf-8", "backslashreplace").decode()
    known.setdefault("uuid", str(uuid.uuid5(_NAMESPACE, encodable)))
    return Interface(**{"name": name, "columns": columns, **known})


def corpus(columns: Iterable[str] = frozenset()) -> list[Interface]:
    """Return rows as switches have them, and rows that only malice or a bug would write.

    :param columns: the columns that the classifier declares. Each row occurs with them empty, as
        with a server that does not have such a column, and with values of their type.
    """
    return declaring([*_real(), *_hostile()], columns)


def absurd() -> list[Interface]:
    """Return rows that no server sends, and on which a classifier must not fail either.

    Lone surrogates come from text that was decoded with errors="surrogateescape".
    """
    long = "x" * 1_000_000
    return [
        interface(
            "tap\udcff",
            type="\ud800",
            external_ids={"iface-id": "\udcff", "\ud800": ""},
        ),
        interface(long, external_ids={"iface-id": long, long: ""}, options={"peer": long}),
    ]


def declaring(rows: Iterable[Interface], columns: Iterable[str]) -> list[Interface]:
    """Return the rows with the declared columns as keys of `columns`, as those of a monitor.

    A row without such a column occurs with the column empty, and with a value of its type. A
    column that the core always monitors is a field, and not a key.
    """
    found: list[Interface] = []
    declared = {name.removeprefix(f"{TABLE}.") for name in columns}
    for row in rows:
        missing = declared.difference(CORE_COLUMNS, row.columns)
        empty: dict[str, Any] = dict.fromkeys(missing)
        filled = {name: copy.copy(SAMPLES.get(name)) for name in missing}
        for values in (empty, filled) if missing else (empty,):
            columns_now = {**row.columns, **values}
            found.append(interface(**{**_fields(row), "columns": columns_now}))
    return found


#: A value of each column of table Interface that a classifier may declare, as it is decoded
#: (ovs-vswitchd.conf.db(5), Interface).
SAMPLES: Mapping[str, Any] = {
    "bfd": {"enable": "true", "min_rx": "500"},
    "bfd_status": {"state": "up", "forwarding": "true"},
    "cfm_fault": False,
    "cfm_fault_status": ("recv", "rdi"),
    "cfm_health": 100,
    "cfm_mpid": 1,
    "cfm_remote_mpids": (2, 3),
    "duplex": "full",
    "ifindex": 7,
    "ingress_policing_burst": 0,
    "ingress_policing_rate": 1000,
    "lacp_current": True,
    "link_resets": 1,
    "link_speed": 10_000_000_000,
    "lldp": {"enable": "true"},
    "mac": "02:00:00:00:00:01",
    "mtu": 1500,
    "mtu_request": 1450,
    "ofport_request": 5,
    "other_config": {"mac-table-size": "2048"},
}


def _fields(row: Interface) -> dict[str, Any]:
    """Return its fields, none shared with another row."""
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in msgspec.structs.asdict(row).items()
    }


def _real() -> Iterator[Interface]:
    up = {"admin_state": "up", "link_state": "up"}
    yield interface("br-int", type="internal", ofport=65534, mac_in_use="02:d1:5a:00:00:01", **up)
    yield interface("br-ex", type="internal", ofport=65534, admin_state="down", link_state="down")
    yield interface("br-tun", type="internal")
    vif = {
        "iface-id": "4aa64e21-d9d6-497e-bfa9-cf6dbb574054",
        "iface-status": "active",
        "attached-mac": "fa:16:3e:00:00:01",
        "vm-uuid": "0c6bd53c-4f4f-4c9b-a9b3-5fdc1a6a3f7e",
    }
    for name in ("tap4aa64e21-d9", "qvo4aa64e21-d9", "vhu4aa64e21-d9", "vnet0", "qr-4aa64e21-d9"):
        yield interface(name, external_ids=vif, **up, ofport=5, mac_in_use="fe:16:3e:00:00:01")
        yield interface(name, external_ids=vif)
        yield interface(name, external_ids=vif, ofport=-1, error="could not open network device")
    yield interface(
        "vhu1",
        type="dpdkvhostuserclient",
        ofport=9,
        external_ids=vif,
        options={"vhost-server-path": "/run/openvswitch/vhu1"},
    )
    yield interface("tap-agent", type="internal", external_ids=vif, ofport=3, **up)
    yield interface("ovn-k8s-mp0", type="internal", external_ids={"iface-id": "k8s-node"})
    for tunnel in ("vxlan", "geneve", "gre", "ip6gre", "erspan", "gtpu", "srv6", "stt", "lisp"):
        yield interface(
            f"{tunnel}-0a0a0a02",
            type=tunnel,
            ofport=12,
            **up,
            options={
                "remote_ip": "10.10.10.2",
                "local_ip": "10.10.10.1",
                "key": "flow",
                "csum": "true",
            },
        )
    yield interface("df-host2", type="geneve", external_ids={"df-chassis-id": "host2"})
    yield interface("ovn-host2-0", type="geneve", external_ids={"ovn-chassis-id": "host2"})
    yield interface("tun-flow", type="vxlan", options={"remote_ip": "flow", "key": "flow"})
    yield interface("patch-tun", type="patch", options={"peer": "patch-int"}, ofport=2)
    yield interface("patch-lonely", type="patch", ofport=-1, error="no usable peer")
    yield interface("eth0", ofport=1, mac_in_use="52:54:00:12:34:56", **up)
    yield interface("dpdk0", type="dpdk", options={"dpdk-devargs": "0000:01:00.0"}, ofport=4)
    yield interface("system0", type="system")


def _hostile() -> Iterator[Interface]:
    yield interface("")
    yield interface(" ", type=" ")
    yield interface("x" * 10_000)
    yield interface("tap\n2026 online tap1", external_ids={"iface-id": "a\nb"})
    yield interface("\x1b[31mtap\x07", external_ids={"iface-id": "\x1b]0;title\x07"})
    yield interface("t\x00ap", type="patch", options={"peer": "\x00"})
    yield interface("tap\u202egnp\u2028😀é", external_ids={"iface-id": "😀"})
    yield interface("tap\"\\'{}[]%s%(name)s$(id)`id`", external_ids={"iface-id": '"}{'})
    yield interface("../../etc/passwd", type="internal")
    yield interface("*?[", type="*")
    yield interface("br-", type="internal", ofport=0)
    yield interface("empty-id", external_ids={"iface-id": "", "": "", "attached-mac": ""})
    yield interface("odd-keys", external_ids={"IFACE-ID": "x", "iface_id": "y", "iface-id ": "z"})
    yield interface("odd-type", type="PATCH", options={"peer": ""})
    yield interface("no-options", type="vxlan")
    yield interface("bad-options", type="vxlan", options={"remote_ip": "", "key": "\n", "": "?"})
    yield interface("unknown-type", type="type-of-the-year-2040", ofport=7)
    yield interface("bad-states", ofport=3, admin_state="?", link_state="", mac_in_use="no mac")
    yield interface("failed", ofport=-1, error="")
    yield interface("failed-long", ofport=-1, error="e" * 5000)
    for ofport in (-2, 0, 65279, 65280, 65535, 2**31, -(2**63), 2**63 - 1):
        yield interface(f"ofport{ofport}", ofport=ofport, external_ids={"iface-id": "v"})
    many = {f"key-{number}": "value" * 20 for number in range(500)}
    yield interface("many", external_ids=many, options=many)
    yield interface("many-vm", external_ids={**many, "iface-id": "v" * 5000})
