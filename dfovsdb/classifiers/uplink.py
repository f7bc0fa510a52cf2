"""Uplinks: the NICs of the host, also those that DPDK drives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfovsdb.classifiers.base import Classifier, WhenRead, like
from dfovsdb.classifiers.vif import VIF_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oslo_config import cfg

    from dfovsdb.model import Interface

#: The kernel's NICs, and those through AF_XDP.
_BY_NAME = ("", "system", "afxdp", "afxdp-nonpmd")

#: systemd.net-naming-scheme(7), and the older names of Linux and of Dell's biosdevname.
NAMES = (
    "eth[0-9]*",
    "en[abcdiopsxPvX]*[0-9]*",
    "ib[0-9]*",
    "ibp*",
    "ibs*",
    "em[0-9]*",
    "p[0-9]*p[0-9]*",
    "wl*",
    "ww*",
    "bond[0-9]*",
    "team[0-9]*",
)

#: The representor of a virtual function, such as enp4s0f0_1, enp4s0f0npf0vf1 or enp4s0f0r1, of a
#: subfunction (enp4s0f0npf0sf88), or of the host's side of a DPU (enp4s0f0npf0hpf).
EXCLUDE_NAMES = ("*_[0-9]*", "*vf[0-9]*", "*pf[0-9]*sf[0-9]*", "*pf[0-9]*hpf", "e*[0-9]r[0-9]*")


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.ListOpt(
            "names",
            default=list(NAMES),
            help="Shell patterns of names. A system or AF_XDP interface with such a name is an "
            "uplink.",
        ),
        cfg.ListOpt(
            "exclude_names",
            default=list(EXCLUDE_NAMES),
            help="Shell patterns of names that are not uplinks, such as those of representors.",
        ),
        cfg.BoolOpt(
            "status",
            default=False,
            help="Read the column status too, for the attribute driver.",
        ),
    )


class UplinkClassifier(Classifier):
    """Claims type `dpdk`, and system and AF_XDP interfaces that have the name of a NIC; none with
    the ids of a VIF, and no representor.
    """

    kind = "uplink"
    options = WhenRead(_options)

    def __init__(
        self,
        names: Sequence[str] = NAMES,
        exclude_names: Sequence[str] = EXCLUDE_NAMES,
        status: bool = False,
    ) -> None:
        self._is_named = like(names)
        self._is_excluded = like(exclude_names)
        self.columns = frozenset({"status"}) if status else frozenset()

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type != "dpdk" and interface.type not in _BY_NAME:
            return None
        if _is_vif(interface.external_ids) or _is_vif(interface.port_external_ids):
            return None
        if interface.type != "dpdk" and (
            not self._is_named(interface.name) or self._is_excluded(interface.name)
        ):
            return None
        devargs = interface.options.get("dpdk-devargs")
        if devargs and "representor=" in devargs:  # of a virtual function of that NIC
            return None
        status: Any = interface.columns.get("status") or {}
        return {
            "driver": status.get("driver_name"),
            "devargs": devargs,
        }

    def nearly(self, interface: Interface) -> str | None:
        if interface.type in _BY_NAME and self._is_named(interface.name):
            return "its name is among exclude_names, or it has the ids of a VIF"
        if interface.type == "dpdk":
            return "it is a representor, or has the ids of a VIF"
        return None


def _is_vif(external_ids: Mapping[str, str]) -> bool:
    return bool(external_ids) and any(external_ids.get(key) for key in VIF_KEYS)
