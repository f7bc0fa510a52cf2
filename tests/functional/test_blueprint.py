"""The blueprint's own rules, as the configuration file in the package has them."""

from __future__ import annotations

from pathlib import Path

import dfovsdb
from dfovsdb import config, plugins, watch
from dfovsdb.testing import Sandbox
from tests.waiting import DEADLINE

BLUEPRINT = Path(dfovsdb.__file__).parent / "etc" / "blueprint.conf"
IFACE = "external_ids:iface-id=4aa64e21-d9d6-497e-bfa9-cf6dbb574054"


def test_the_rules_of_the_blueprint_claim_what_it_names_and_nothing_else(
    ovs_sandbox: Sandbox,
) -> None:
    for bridge in ("br-int", "br-tun", "br-other"):
        ovs_sandbox.add_bridge(bridge)
    for name, *settings in (
        ("tap4aa64e21-d9", "type=dummy", IFACE),
        ("qr-4aa64e21-d9", "type=internal", IFACE),
        ("dfvxlan", "type=vxlan", "options:remote_ip=10.10.10.10"),
        ("dfgre", "type=gre", "options:remote_ip=10.10.10.11"),
        ("dfgeneve", "type=geneve", "options:remote_ip=10.10.10.12"),
        ("dfstt", "type=stt", "options:remote_ip=10.10.10.13"),
        ("vxlan0", "type=vxlan", "options:remote_ip=10.10.10.14"),
        ("patch-tun", "type=patch", "options:peer=patch-int"),
    ):
        ovs_sandbox.vsctl("add-port", "br-int", name, "--", "set", "interface", name, *settings)
    conf = config.load([str(BLUEPRINT)])
    classifiers = plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf)
    events = watch(
        ovs_sandbox.connection,
        once=True,
        timeout=DEADLINE,
        classifiers=list(classifiers.values()),
        **config.connection_options(conf),
    )
    assert sorted((event.port.kind, event.port.name) for event in events) == [
        ("bridge", "br-int"),
        ("bridge", "br-tun"),
        ("patch", "patch-tun"),
        ("tunnel", "dfgeneve"),
        ("tunnel", "dfgre"),
        ("tunnel", "dfvxlan"),
        ("vm", "tap4aa64e21-d9"),
    ]
