"""VMs of XenServer and XCP-ng.

Their scripts write the external_ids of the Interface (xapi-project/xen-api, scripts/vif-real and
ocaml/xapi/ovs): `xs-vif-uuid`, `xs-vm-uuid`, `xs-network-uuid` and `attached-mac`, often without
an iface-id. A VIF of a VM with emulated devices has two rows, `vifX.Y` and `tapX.Y`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class XenClassifier(Classifier):
    """Claims rows with an xs-vif-uuid, which is the iface_id.

    The attribute `twin` of a `tapX.Y` is the name of the row `vifX.Y` of the same VIF.
    """

    kind = "vm"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        get = interface.external_ids.get
        if not get("xs-vif-uuid"):
            return None
        name = interface.name
        return {
            "iface_id": get("xs-vif-uuid"),
            "attached_mac": get("attached-mac") or None,
            "vm_id": get("xs-vm-uuid") or None,
            "iface_status": get("iface-status") or None,
            "ovn_installed": get("ovn-installed") or None,
            "twin": f"vif{name.removeprefix('tap')}" if name.startswith("tap") else None,
        }
