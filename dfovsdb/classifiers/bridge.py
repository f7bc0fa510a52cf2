"""Bridges, seen as their local port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier, WhenRead, like
from dfovsdb.model import OFPP_LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oslo_config import cfg

    from dfovsdb.model import Interface


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.ListOpt(
            "names",
            default=["br-*"],
            help="Shell patterns: where the table Bridge is not read, an interface of type "
            "internal with such a name is a bridge, even before it has a port number.",
        ),
        cfg.BoolOpt(
            "local_port",
            default=True,
            help="Whether OpenFlow port 65534 (OFPP_LOCAL) is a bridge, whatever its name.",
        ),
    )


class BridgeClassifier(Classifier):
    """Claims the local port of every bridge.

    Where Port and Bridge are read it is the port with the bridge's own name, also while it has no
    port number; the switch opens it as internal, whatever its type says (vswitchd/bridge.c,
    iface_get_type). Of a fake bridge it is the internal port with the name of its Port.
    Where they are not, it is the port with the number OFPP_LOCAL, or an internal port whose name
    is like `names`.
    """

    kind = "bridge"
    options = WhenRead(_options)

    def __init__(self, names: Sequence[str] = ("br-*",), local_port: bool = True) -> None:
        self._is_named = like(names)
        self._local_port = local_port

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if self._local_port and interface.ofport == OFPP_LOCAL:
            return {}
        if interface.name == interface.bridge:
            return {}
        if interface.type != "internal":
            return None
        if interface.bridge is not None:
            is_fake = interface.fake_bridge and interface.name == interface.port_name
            return {} if is_fake else None
        return {} if self._is_named(interface.name) else None

    def nearly(self, interface: Interface) -> str | None:
        is_by_name = interface.type == "internal" and interface.bridge is None
        return "its name is not among names" if is_by_name else None
