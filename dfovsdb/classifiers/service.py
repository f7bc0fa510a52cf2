"""Service ports: those of a network service of the host, not of a guest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dfovsdb.classifiers import vif
from dfovsdb.classifiers.base import Classifier, WhenRead, like

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oslo_config import cfg

    from dfovsdb.model import Interface


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.ListOpt(
            "names", default=["*"], help="Shell patterns of names, of which one must match."
        ),
    )


#: The first 10 characters of a network's id, between `tap` and the number of this end of the veth.
_METADATA = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]0")


class ServiceClassifier(Classifier):
    """Claims internal ports with an iface-id, and the metadata ports of OVN.

    Neutron's DHCP and router ports are internal (neutron/agent/linux/interface.py,
    OVSInterfaceDriver), Octavia's management port, kube-ovn's `ovn0` and OVN-Kubernetes'
    `ovn-k8s-mp0`. A metadata port is one end of a veth (neutron/agent/ovn/metadata/agent.py,
    provision_datapath): its name is made of the network's id and not of its iface-id, as that of
    a VM is, and it has no other id.
    """

    kind = "service"
    options = WhenRead(_options)

    def __init__(self, names: Sequence[str] = ("*",)) -> None:
        self._is_named = like(names)

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if not interface.external_ids.get("iface-id"):
            return None
        if interface.type != "internal" and not _is_metadata(interface):
            return None
        if not self._is_named(interface.name):
            return None
        return vif.ids_and_state(interface.external_ids)

    def nearly(self, interface: Interface) -> str | None:
        if interface.type == "internal" and interface.external_ids.get("iface-id"):
            return "its name is not among names"
        return None


def _is_metadata(interface: Interface) -> bool:
    ids = interface.external_ids
    return (
        interface.name.endswith("0")  # the rest is for few VMs
        and interface.type in ("", "system")
        and _METADATA.fullmatch(interface.name) is not None
        and not ids["iface-id"].startswith(interface.name.removeprefix("tap"))
        and not any(ids.get(key) for key in vif.VIF_KEYS if key != "iface-id")
    )
