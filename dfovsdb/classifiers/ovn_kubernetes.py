"""Pods of OVN-Kubernetes.

Its CNI plugin writes the external_ids of the Interface (ovn-org/ovn-kubernetes,
go-controller/pkg/cni/helper_linux.go, ConfigureOVS): `iface-id` is NAMESPACE_POD, with the name of
a secondary network and `_` before it, `sandbox` the container of the pod's sandbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class OvnKubernetesClassifier(Classifier):
    """Claims rows with a sandbox and an iface-id."""

    kind = "pod"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        get = interface.external_ids.get
        iface_id, sandbox = get("iface-id"), get("sandbox")
        if not iface_id or not sandbox:
            return None
        # Neither a namespace nor a pod has a name with an underscore (RFC 1123).
        _network, *of_pod = ["", "", *iface_id.split("_")][-3:]
        namespace, pod = of_pod
        return {
            "pod": pod or None,
            "namespace": namespace or None,
            "ip": get("ip_addresses") or None,
            "container_id": sandbox,
            "iface_id": iface_id,
            "attached_mac": get("attached_mac") or get("attached-mac") or None,
        }

    def nearly(self, interface: Interface) -> str | None:
        if interface.external_ids.get("iface-id-ver"):
            return "it has no external_ids:sandbox"
        return None
