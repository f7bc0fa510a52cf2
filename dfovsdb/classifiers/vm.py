"""VM ports: interfaces that carry a VIF (external_ids:iface-id)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.classifiers.base import Classifier, like

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfovsdb.model import Interface

#: Neutron's router, gateway, SNAT, floating IP and HA ports carry an iface-id too.
EXCLUDE_NAMES = ("qr-*", "qg-*", "sg-*", "fg-*", "ha-*")

#: A VM's port is one of these, or internal for a container or a service.
_TYPES = ("", "system", "internal", "tap", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient")


class VmClassifier(Classifier):
    """Claims rows with an iface-id; attributes from external_ids.

    libvirt writes `vm-id`, os-vif `vm-uuid`: both are the attribute `vm_id`.
    """

    kind = "vm"
    options = (
        cfg.ListOpt("names", default=["*"], help="Shell patterns of names, one must match."),
        cfg.ListOpt(
            "exclude_names",
            default=list(EXCLUDE_NAMES),
            help="Shell patterns of names that are no VM, even with an iface-id.",
        ),
    )

    def __init__(
        self, names: Sequence[str] = ("*",), exclude_names: Sequence[str] = EXCLUDE_NAMES
    ) -> None:
        self._is_named = like(names)
        self._is_excluded = like(exclude_names)

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        external_id = interface.external_ids.get
        iface_id = external_id("iface-id")
        if not iface_id:
            return None
        if not self._is_named(interface.name):
            return None
        if self._is_excluded(interface.name):
            return None
        return {
            "iface_id": iface_id,
            "attached_mac": external_id("attached-mac"),
            "vm_id": external_id("vm-id") or external_id("vm-uuid"),
            "iface_status": external_id("iface-status"),
            "ovn_installed": external_id("ovn-installed"),
        }

    def nearly(self, interface: Interface) -> str | None:
        if not interface.external_ids.get("iface-id"):
            return "it has no external_ids:iface-id" if interface.type in _TYPES else None
        if not self._is_named(interface.name):
            return "its name is not among names"
        return "its name is among exclude_names"
