"""VMs and containers of Proxmox VE.

It writes nothing but the name of the interface (git.proxmox.com, pve-common,
src/PVE/Network.pm): `tapVMIDiN` for a VM, `vethCTIDiN` for a container, and `fwlnVMIDoN` for
either where its firewall stands between.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface

_NAME = re.compile(r"(?:(?:tap|veth)(\d+)i(\d+)|fwln(\d+)o(\d+))", re.ASCII)


class ProxmoxClassifier(Classifier):
    """Claims such names: `tap100i0` is vm_id 100 and iface_id 100/net0."""

    kind = "vm"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        found = _NAME.fullmatch(interface.name)
        if found is None or interface.external_ids.get("iface-id"):
            return None
        vm_id, number = (found[1], found[2]) if found[1] else (found[3], found[4])
        return {
            "iface_id": f"{vm_id}/net{number}",
            "attached_mac": None,
            "vm_id": vm_id,
            "iface_status": None,
            "ovn_installed": None,
        }
