"""What the external_ids of a VIF say, wherever a platform writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfovsdb.model import Interface, Port

#: Who has one of these is plugged for a workload: Neutron and OVN, libvirt, os-vif, XenServer,
#: ovs-docker, kube-ovn, OVN-Kubernetes; on the Port row Antrea and ovs-cni.
VIF_KEYS = (
    "iface-id",
    "attached-mac",
    "attached_mac",
    "vm-id",
    "vm-uuid",
    "xs-vif-uuid",
    "xs-vm-uuid",
    "container_id",
    "container-id",
    "pod_name",
    "pod-name",
    "sandbox",
    "contPodUid",
    "contIface",
)


def ids(external_ids: Mapping[str, str]) -> dict[str, str | None]:
    """Return the attributes that name a VIF, its guest and its MAC.

    OVN and Neutron write `attached-mac`, OVN-Kubernetes `attached_mac`; libvirt writes `vm-id`,
    os-vif `vm-uuid`. An empty value is None.
    """
    get = external_ids.get
    return {
        "iface_id": get("iface-id") or None,
        "attached_mac": get("attached-mac") or get("attached_mac") or None,
        "vm_id": get("vm-id") or get("vm-uuid") or None,
    }


def ids_and_state(external_ids: Mapping[str, str]) -> dict[str, str | None]:
    """Return the same, and what the controller says of the binding."""
    get = external_ids.get
    attributes = ids(external_ids)
    attributes["iface_status"] = get("iface-status") or None
    attributes["ovn_installed"] = get("ovn-installed") or None
    return attributes


def ovn_installed(port: Port) -> bool:
    """Return whether OVN says that the flows of a port are installed (ovn-controller(8))."""
    return port.attributes.get("ovn_installed") == "true"


def is_second(interface: Interface) -> bool:
    """Return whether another row is its VIF's own.

    A trunk of Neutron has its ids on its patch ports too; a VM of Xen with emulated devices has
    `tapX.Y` beside `vifX.Y`.
    """
    if interface.type == "patch":
        return True
    return interface.name.startswith("tap") and bool(interface.external_ids.get("xs-vif-uuid"))
