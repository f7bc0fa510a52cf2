"""Tunnel ports, of every tunnel type that Open vSwitch knows or knew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier, WhenRead, like

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oslo_config import cfg

    from dfovsdb.model import Interface

#: ovs-vswitchd.conf.db(5), Interface, type; stt and lisp left with OVS 3.
TYPES = (
    "geneve",
    "vxlan",
    "gre",
    "ip6gre",
    "erspan",
    "ip6erspan",
    "gtpu",
    "bareudp",
    "srv6",
    "lisp",
    "stt",
)


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.ListOpt(
            "types", default=list(TYPES), help="Types of Interface rows that are tunnels."
        ),
        cfg.ListOpt(
            "names", default=["*"], help="Shell patterns of names, of which one must match."
        ),
    )


class TunnelClassifier(Classifier):
    """Claims the tunnel types; attributes from `options`, and the chassis at the other end.

    OVN and Dragonflow write the chassis on the Port row (ovn/controller/encaps.c), some
    controllers on the Interface.
    """

    kind = "tunnel"
    options = WhenRead(_options)

    def __init__(self, types: Sequence[str] = TYPES, names: Sequence[str] = ("*",)) -> None:
        self._types = frozenset(types)
        self._is_named = like(names)

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type not in self._types or not self._is_named(interface.name):
            return None
        option = interface.options.get
        return {
            "remote_ip": option("remote_ip"),
            "local_ip": option("local_ip"),
            "key": option("key"),
            "tunnel_type": interface.type,
            "chassis_id": _chassis(interface.external_ids)
            or _chassis(interface.port_external_ids),
        }

    def nearly(self, interface: Interface) -> str | None:
        if interface.type in self._types:
            return "its name is not among names"
        if "remote_ip" in interface.options:
            return "its type is not among types"
        return None


def _chassis(external_ids: Mapping[str, str]) -> str | None:
    return external_ids.get("df-chassis-id") or external_ids.get("ovn-chassis-id") or None
