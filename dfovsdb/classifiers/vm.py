"""VM ports: interfaces that carry a VIF (external_ids:iface-id)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfovsdb.classifiers import vif
from dfovsdb.classifiers.base import Classifier, WhenRead, like

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oslo_config import cfg

    from dfovsdb.model import Interface

#: Neutron's router, gateway, SNAT, floating IP and HA ports carry an iface-id too.
EXCLUDE_NAMES = ("qr-*", "qg-*", "sg-*", "fg-*", "ha-*")

_TYPES = ("", "system", "tap", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient")


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.ListOpt(
            "names", default=["*"], help="Shell patterns of names, of which one must match."
        ),
        cfg.ListOpt(
            "exclude_names",
            default=list(EXCLUDE_NAMES),
            help="Shell patterns of names that are not VMs, even with an iface-id.",
        ),
        cfg.BoolOpt(
            "status",
            default=False,
            help="Read the column status too, for the attribute vhost: whether a VM is connected "
            "to a vhost-user port.",
        ),
    )


class VmClassifier(Classifier):
    """Claims rows with an iface-id, but for internal ports, which belong to the host itself."""

    kind = "vm"
    options = WhenRead(_options)

    def __init__(
        self,
        names: Sequence[str] = ("*",),
        exclude_names: Sequence[str] = EXCLUDE_NAMES,
        status: bool = False,
    ) -> None:
        self._is_named = like(names)
        self._is_excluded = like(exclude_names)
        self._status = status
        self.columns = frozenset({"status"}) if status else frozenset()

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if not interface.external_ids.get("iface-id") or interface.type == "internal":
            return None
        if not self._is_named(interface.name) or self._is_excluded(interface.name):
            return None
        attributes = vif.ids_and_state(interface.external_ids)
        if self._status:
            status: Any = interface.columns.get("status") or {}
            is_vhost = interface.type.startswith("dpdkvhostuser")
            attributes["vhost"] = status.get("status") if is_vhost else None
        return attributes

    def nearly(self, interface: Interface) -> str | None:
        if not interface.external_ids.get("iface-id"):
            return "it has no external_ids:iface-id" if interface.type in _TYPES else None
        if interface.type == "internal":
            return "it is an internal port: a service"
        if not self._is_named(interface.name):
            return "its name is not among names"
        return "its name is among exclude_names"
