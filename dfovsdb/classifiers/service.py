"""Service ports: those that a network service of the host has, and no guest."""

from __future__ import annotations

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


class ServiceClassifier(Classifier):
    """Claims internal ports with an iface-id.

    Neutron's DHCP and router ports are such (neutron/agent/linux/interface.py,
    OVSInterfaceDriver), Octavia's management port, kube-ovn's `ovn0` and OVN-Kubernetes'
    `ovn-k8s-mp0`.
    """

    kind = "service"
    options = WhenRead(_options)

    def __init__(self, names: Sequence[str] = ("*",)) -> None:
        self._is_named = like(names)

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type != "internal" or not interface.external_ids.get("iface-id"):
            return None
        if not self._is_named(interface.name):
            return None
        return vif.ids_and_state(interface.external_ids)

    def nearly(self, interface: Interface) -> str | None:
        if interface.type == "internal" and interface.external_ids.get("iface-id"):
            return "its name is not among names"
        return None
