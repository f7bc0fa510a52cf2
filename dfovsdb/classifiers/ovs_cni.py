"""Pods of ovs-cni, with or without Multus.

The plugin writes the external_ids of the Port (k8snetworkplumbingwg/ovs-cni,
pkg/ovsdb/ovsdb.go, CreatePort): `owner`, `contNetns`, `contIface` and `contPodUid`. It writes
`iface-id` on the Interface where the network names an OVN port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface

OWNER = "ovs-cni.network.kubevirt.io"


class OvsCniClassifier(Classifier):
    """Claims rows whose Port ovs-cni owns; the pod is known by its UID alone."""

    kind = "pod"
    columns = frozenset({"Port.external_ids"})

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        get = interface.port_external_ids.get
        if get("owner") != OWNER or not (get("contIface") or get("contPodUid")):
            return None
        return {
            "pod": None,
            "namespace": None,
            "ip": None,
            "container_id": None,
            "iface_id": interface.external_ids.get("iface-id") or None,
            "attached_mac": interface.external_ids.get("attached-mac") or None,
            "pod_uid": get("contPodUid") or None,
            "container_iface": get("contIface") or None,
            "netns": get("contNetns") or None,
        }
