"""Long random sequences: what our events fold to is what ovs.db.idl reads."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from dfovsdb import Monitor
from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.testing import CaptureSink, Sandbox
from dfovsdb.testing.sandbox import find_schema
from tests.waiting import DEADLINE

SENTINEL = "sentinel"

TYPES = ("", "internal", "dummy", "patch", "vxlan", "geneve", "gre", "stt")
IDS = ("a", "b", "c", "4aa64e21-d9d6-497e-bfa9-cf6dbb574054", 'quo"te', "}{", "é\n\u2028", "")
WORDS = ("up", "down")
BRIDGES = ("br-int", "br-ex")


def ovs_map(pairs: dict[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in pairs.items()]]


def optional(value: Any) -> Any:
    return ["set", []] if value is None else value


class Churn:
    """Random raw transactions on a database without ovs-vswitchd."""

    def __init__(self, box: Sandbox, seed: int) -> None:
        self._box = box
        self._random = random.Random(seed)
        self._names: list[str] = []
        self._made = 0
        self._member: tuple[str, str] | None = None  # of a bond, and the bond
        for bridge in BRIDGES:
            box.vsctl("add-br", bridge)
        box.transact(*self._insert(SENTINEL))

    def step(self, number: int) -> None:
        """One transaction; it ends by writing the step's number to the sentinel."""
        operations = self._random.choices(
            (
                self._add,
                self._change,
                self._remove,
                self._replace,
                self._several,
                self._change_port,
                self._move,
                self._bond,
                self._change_bridge,
            ),
            weights=(4, 10, 2, 3, 1, 5, 4, 3, 2),
        )[0]()
        self._box.transact(
            *operations,
            {
                "op": "mutate",
                "table": "Interface",
                "where": [["name", "==", SENTINEL]],
                "mutations": [
                    ["external_ids", "delete", ["set", ["attached-mac"]]],
                    ["external_ids", "insert", ovs_map({"attached-mac": str(number)})],
                ],
            },
        )

    def _several(self) -> list[dict[str, Any]]:
        return [*self._add(), *self._change(), *self._change(), *self._add()]

    def _add(self) -> list[dict[str, Any]]:
        self._made += 1
        name = f"p{self._made} {self._random.choice(IDS)}"
        self._names.append(name)
        return self._insert(name)

    def _replace(self) -> list[dict[str, Any]]:
        if not self._names:
            return self._add()
        name = self._random.choice(self._names)
        return [*self._delete(name), *self._insert(name)]

    def _remove(self) -> list[dict[str, Any]]:
        if not self._names:
            return self._add()
        name = self._random.choice(self._names)
        self._names.remove(name)
        return self._delete(name)

    def _change(self) -> list[dict[str, Any]]:
        if not self._names:
            return self._add()
        row = self._row()
        columns = self._random.sample(sorted(row), self._random.randint(1, 4))
        return [
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", self._random.choice(self._names)]],
                "row": {column: row[column] for column in columns},
            }
        ]

    def _change_port(self) -> list[dict[str, Any]]:
        """VLANs, external_ids and the fake bridge of a Port."""
        if not self._names:
            return self._add()
        choose = self._random.choice
        row = {
            "tag": optional(choose((None, 5, 4095))),
            "trunks": ["set", self._random.sample(range(1, 9), self._random.randint(0, 3))],
            "external_ids": ovs_map({"ovn-chassis-id": choose(IDS), "pod-name": choose(IDS)}),
            "fake_bridge": choose((True, False)),
        }
        columns = self._random.sample(sorted(row), self._random.randint(1, 4))
        return [
            {
                "op": "update",
                "table": "Port",
                "where": [["name", "==", choose(self._names)]],
                "row": {column: row[column] for column in columns},
            }
        ]

    def _move(self) -> list[dict[str, Any]]:
        """Move a Port to the other bridge."""
        if not self._names:
            return self._add()
        port = self._uuid("Port", self._random.choice(self._names))
        target = self._random.choice(BRIDGES)
        return [
            *(self._ports_of(bridge, "delete", port) for bridge in BRIDGES if bridge != target),
            self._ports_of(target, "insert", port),
        ]

    def _bond(self) -> list[dict[str, Any]]:
        """Make the interface of one Port a member of another, or give it a Port of its own."""
        if self._member:
            name, bond = self._member
            self._member = None
            self._names += [name, bond]
            interface = self._uuid("Interface", name)
            return [
                self._interfaces_of(bond, "delete", interface),
                {
                    "op": "insert",
                    "table": "Port",
                    "uuid-name": "own",
                    "row": {"name": name, "interfaces": interface},
                },
                self._ports_of(self._random.choice(BRIDGES), "insert", ["named-uuid", "own"]),
            ]
        if len(self._names) < 2:
            return self._add()
        name, bond = self._random.sample(self._names, 2)
        self._member = name, bond
        self._names = [one for one in self._names if one not in self._member]
        interface = self._uuid("Interface", name)
        return [self._interfaces_of(bond, "insert", interface), *self._delete(name)]

    def _change_bridge(self) -> list[dict[str, Any]]:
        """Rename a bridge's row, which no switch does and a database may."""
        return [
            {
                "op": "update",
                "table": "Bridge",
                "where": [["name", "==", bridge]],
                "row": {"datapath_type": self._random.choice(("dummy", "system"))},
            }
            for bridge in BRIDGES
        ]

    def _uuid(self, table: str, name: str) -> Any:
        found = self._box.transact(
            {
                "op": "select",
                "table": table,
                "where": [["name", "==", name]],
                "columns": ["_uuid"],
            }
        )
        return found[0]["rows"][0]["_uuid"]

    @staticmethod
    def _ports_of(bridge: str, how: str, port: Any) -> dict[str, Any]:
        return {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", bridge]],
            "mutations": [["ports", how, port]],
        }

    @staticmethod
    def _interfaces_of(port: str, how: str, interface: Any) -> dict[str, Any]:
        return {
            "op": "mutate",
            "table": "Port",
            "where": [["name", "==", port]],
            "mutations": [["interfaces", how, interface]],
        }

    def _row(self) -> dict[str, Any]:
        choose = self._random.choice
        ids = {
            "iface-id": choose(IDS),
            "attached-mac": choose(IDS),
            "vm-uuid": choose(IDS),
            "iface-status": choose(("active", "inactive")),
            "df-chassis-id": choose(IDS),
            "other": choose(IDS),
        }
        options = {
            "remote_ip": choose(("10.10.10.10", "flow")),
            "peer": choose((*IDS, *self._names)),
            "key": "7",
        }
        return {
            "type": choose(TYPES),
            "external_ids": ovs_map(self._some(ids)),
            "options": ovs_map(self._some(options)),
            "ofport": optional(choose((None, -1, 1, 2, 65534))),
            "mac_in_use": optional(choose((None, "fe:16:3e:00:00:01", "fe:16:3e:00:00:02"))),
            "admin_state": optional(choose((None, *WORDS))),
            "link_state": optional(choose((None, *WORDS))),
            "error": optional(choose((None, "could not open", 'an "error"\n'))),
        }

    def _some(self, pairs: dict[str, str]) -> dict[str, str]:
        return dict(
            self._random.sample(sorted(pairs.items()), self._random.randint(0, len(pairs)))
        )

    def _insert(self, name: str) -> list[dict[str, Any]]:
        self._made += 1
        row = {**self._row(), "name": name}
        if name == SENTINEL:
            row |= {"external_ids": ovs_map({"iface-id": SENTINEL}), "type": "", "ofport": 9}
        port, interface = f"port{self._made}", f"interface{self._made}"
        return [
            {"op": "insert", "table": "Interface", "row": row, "uuid-name": interface},
            {
                "op": "insert",
                "table": "Port",
                "uuid-name": port,
                "row": {"name": name, "interfaces": ["named-uuid", interface]},
            },
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["name", "==", "br-int"]],
                "mutations": [["ports", "insert", ["named-uuid", port]]],
            },
        ]

    def _delete(self, name: str) -> list[dict[str, Any]]:
        port = self._uuid("Port", name)
        return [self._ports_of(bridge, "delete", port) for bridge in BRIDGES]


ALL = ("Interface", "Port", "Bridge")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "options"),
    [
        (1, {}),
        (2, {"resync": "diff", "tables": ALL}),
        (3, {"monitor": "rfc7047", "tables": ALL}),
        (4, {"tables": ALL}),
    ],
)
def test_after_every_raw_transaction_the_events_fold_to_the_reference(
    seed: int, options: dict[str, Any]
) -> None:
    sink = CaptureSink()
    with Sandbox(vswitchd=False) as box:
        churn = Churn(box, seed)
        with (
            Monitor(box.connection, sinks=[sink], **options),
            Reference(
                box.connection, find_schema(), tables=options.get("tables", ("Interface",))
            ) as reference,
        ):
            for number in range(120):
                if number % 40 == 20:
                    box.stop_database(kill=True)
                    box.start_database()
                churn.step(number)
                _compare(sink, reference, f"seed {seed} step {number}", str(number))
    assert len({event.action for event in sink.events}) == 3


def _compare(sink: CaptureSink, reference: Reference, where: str, mark: str) -> None:
    """Both have seen the step (its number is on the sentinel), and then they are equal."""
    deadline = time.monotonic() + DEADLINE
    while True:
        reference.refresh()
        theirs = reference.ports()
        ours = dict(sink.ports)
        if _mark(theirs) == _mark(ours) == mark and not (found := differences(ours, theirs)):
            return
        if time.monotonic() > deadline:
            found = differences(ours, theirs)
            raise AssertionError(f"{where}: {found}; marks {_mark(ours)} {_mark(theirs)}")


def _mark(ports: dict[str, Any]) -> str | None:
    return next(
        (port.attributes["attached_mac"] for port in ports.values() if port.name == SENTINEL), None
    )


def test_on_a_real_switch_the_events_fold_to_the_reference(ovs_sandbox: Sandbox) -> None:
    pick = random.Random(7)
    sink = CaptureSink()
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        SENTINEL,
        "--",
        "set",
        "interface",
        SENTINEL,
        "type=dummy",
        f"external_ids:iface-id={SENTINEL}",
    )
    names: set[str] = set()
    with (
        Monitor(ovs_sandbox.connection, sinks=[sink], tables=ALL),
        Reference(ovs_sandbox.connection, find_schema(), tables=ALL) as reference,
    ):
        for number in range(40):
            name = f"tap{pick.randrange(8)}"
            settings = pick.choice(
                (
                    ("type=dummy", f"external_ids:iface-id={pick.choice('abc')}"),
                    ("type=internal",),
                    ("type=vxlan", f"options:remote_ip=10.0.0.{pick.randrange(1, 250)}"),
                    ("type=patch", f"options:peer=tap{pick.randrange(8)}"),
                    ("type=system", "external_ids:iface-id=missing"),
                )
            )
            action = pick.choice(("add", "set", "replace", "del")) if name in names else "add"
            clear = ("--", "clear", "interface", name, "options", "external_ids")
            setting = ("--", "set", "interface", name, *settings)
            add = ("add-port", "br-int", name)
            ovs_sandbox.vsctl(
                *{
                    "add": (*add, *setting) if name not in names else setting[1:],
                    "set": (*clear[1:], *setting),
                    "replace": ("del-port", name, "--", *add, *setting),
                    "del": ("del-port", name),
                }[action],
                "--",
                "set",
                "interface",
                SENTINEL,
                f"external_ids:attached-mac={number}",
            )
            names = names - {name} if action == "del" else names | {name}
            if number == 20:
                ovs_sandbox.stop_database(kill=True)
                ovs_sandbox.start_database()
            _compare(sink, reference, f"step {number}", str(number))
