"""Patch ports: one end of a pair that joins two bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers import vif
from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class PatchClassifier(Classifier):
    """Claims type `patch`; the attribute `peer` is the name of the other end.

    Neutron's trunks write the ids of the parent and of each subport on both ends of their patch
    pairs (neutron/services/trunk/drivers/openvswitch/agent/trunk_manager.py); a subport has no
    other row. os-vif with `per_port_bridge` writes a VIF's ids on the patch port alone.
    """

    kind = "patch"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type != "patch":
            return None
        return {"peer": interface.options.get("peer"), **vif.ids(interface.external_ids)}
