"""Bridges, seen as their local port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.classifiers.base import Classifier, like

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfovsdb.model import Interface

OFPP_LOCAL = 65534  # ovs-vswitchd.conf.db(5), Interface, ofport


class BridgeClassifier(Classifier):
    """Claims the local port of any bridge, and internal ports with the name of one."""

    kind = "bridge"
    options = (
        cfg.ListOpt(
            "names",
            default=["br-*"],
            help="Shell patterns: an interface of type internal with such a name is a bridge, "
            "even before the switch has given it a port number.",
        ),
        cfg.BoolOpt(
            "local_port",
            default=True,
            help="Whether OpenFlow port 65534 (OFPP_LOCAL) is a bridge, whatever its name.",
        ),
    )

    def __init__(self, names: Sequence[str] = ("br-*",), local_port: bool = True) -> None:
        self._is_named = like(names)
        self._local_port = local_port

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if self._local_port and interface.ofport == OFPP_LOCAL:
            return {}
        if interface.type == "internal" and self._is_named(interface.name):
            return {}
        return None

    def nearly(self, interface: Interface) -> str | None:
        return "its name is not among names" if interface.type == "internal" else None
