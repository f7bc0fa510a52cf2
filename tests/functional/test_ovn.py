"""Beside a real OVN: what its controllers write, and where a VIF is while it moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfovsdb import Monitor
from dfovsdb.fleet.reader import undecided
from dfovsdb.model import TABLES
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.testing import CaptureSink, wait_until
from tests.functional.ovn import Chassis, Ovn
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.waiting import DEADLINE

MOVES = 12  #: in each direction


@pytest.fixture
def ovn(tmp_path: Path) -> Iterator[Ovn]:
    with Ovn(tmp_path / "ovn") as ovn:
        ovn.nbctl("ls-add", "net")
        yield ovn


def test_a_vif_is_reported_when_ovn_has_installed_it_and_a_tunnel_with_its_chassis(
    ovn: Ovn,
) -> None:
    ovn.nbctl("lsp-add", "net", "v1", "--", "lsp-set-addresses", "v1", "fa:16:3e:00:00:01")
    with Chassis(ovn, "cmp-1", 1) as one, Chassis(ovn, "cmp-2", 2):
        sink = CaptureSink()
        with Monitor(one.switch.connection, sinks=[sink], tables=TABLES):
            one.plug("tap1", "v1")
            sink.wait_until(
                lambda: any(
                    event.port.attributes.get("ovn_installed") == "true"
                    for event in sink.of("tap1")
                ),
                DEADLINE,
            )
            last = sink.of("tap1")[-1].port
            assert (last.kind, last.state, last.bridge) == ("vm", "ready", "br-int")
            assert last.attributes["iface_id"] == "v1"

            def chassis() -> list[str]:
                ports = sink.ports.values()
                return [p.attributes["chassis_id"] or "" for p in ports if p.kind == "tunnel"]

            # ovn-controller writes NAME@ADDRESS
            sink.wait_until(
                lambda: [one.split("@")[0] for one in chassis()] == ["cmp-2"], DEADLINE
            )


@pytest.mark.slow
def test_where_is_right_in_every_migration_once_ovn_says_so(ovn: Ovn, tmp_path: Path) -> None:
    ovn.nbctl("lsp-add", "net", "v1", "--", "lsp-set-addresses", "v1", "fa:16:3e:00:00:01")
    with (
        NatsServer(tmp_path / "nats") as server,
        Chassis(ovn, "cmp-1", 1) as one,
        Chassis(ovn, "cmp-2", 2) as two,
        Monitor(one.switch.connection, sinks=[NatsSink([server.url])], host="cmp-1"),
        Monitor(two.switch.connection, sinks=[NatsSink([server.url])], host="cmp-2"),
        Fleet([server.url]) as fleet,
    ):
        ovn.nbctl("lsp-set-options", "v1", "requested-chassis=cmp-1")
        one.plug("tap-v1", "v1")

        def is_on(host: str) -> bool:
            claims = fleet.where("v1")
            return bool(claims) and claims[0].host == host and claims[0].installed

        wait_until(lambda: is_on("cmp-1"), DEADLINE, "the VIF on its first host")
        here, there = one, two
        for move in range(4 * MOVES):  # every second one is aborted
            there.plug("tap-v1", "v1")  # the destination, before OVN is asked
            wait_until(lambda: len(fleet.where("v1")) == 2, DEADLINE, "both hosts claiming it")
            assert fleet.where("v1")[0].host == here.name  # installed here, not there
            if move % 2:  # aborted: the destination is unplugged again
                there.switch.vsctl("del-port", "tap-v1")
                wait_until(lambda: len(fleet.where("v1")) == 1, DEADLINE, "one claim")
                assert fleet.where("v1")[0].host == here.name
                wait_until(lambda name=here.name: is_on(name), DEADLINE, "the VIF stayed")  # type: ignore[misc]  # bound on purpose
                continue
            ovn.nbctl("lsp-set-options", "v1", f"requested-chassis={there.name}")
            wait_until(lambda name=there.name: is_on(name), DEADLINE, "the VIF moved")  # type: ignore[misc]  # bound on purpose
            here.switch.vsctl("del-port", "tap-v1")
            wait_until(lambda: len(fleet.where("v1")) == 1, DEADLINE, "one claim")
            assert fleet.where("v1")[0].host == there.name
            wait_until(lambda name=there.name: is_on(name), DEADLINE, "the VIF on its host")  # type: ignore[misc]  # bound on purpose
            assert undecided(fleet.where("v1")) == []
            here, there = there, here
