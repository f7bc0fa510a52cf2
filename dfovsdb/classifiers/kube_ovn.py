"""Pods of Kube-OVN.

Its daemon writes the external_ids of the Interface (kubeovn/kube-ovn, pkg/daemon/ovs_linux.go,
configureNic): `vendor`, `pod_name`, `pod_namespace`, `ip`, and `iface-id`, which is
POD.NAMESPACE with the provider of a secondary network behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class KubeOvnClassifier(Classifier):
    """Claims rows with vendor kube-ovn and the name of a pod."""

    kind = "pod"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        get = interface.external_ids.get
        if get("vendor") != "kube-ovn" or not get("pod_name"):
            return None
        return {
            "pod": get("pod_name"),
            "namespace": get("pod_namespace") or None,
            "ip": get("ip") or None,
            "container_id": get("container_id") or None,
            "iface_id": get("iface-id") or None,
            "attached_mac": get("attached-mac") or get("attached_mac") or None,
        }
