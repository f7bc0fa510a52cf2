"""Pods of Antrea.

Its agent writes the external_ids of the Port, not of the Interface (antrea-io/antrea,
pkg/agent/cniserver/pod_configuration.go, BuildOVSPortExternalIDs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class AntreaClassifier(Classifier):
    """Claims rows whose Port names a pod."""

    kind = "pod"
    columns = frozenset({"Port.external_ids"})

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        get = interface.port_external_ids.get
        if not get("pod-name") or get("antrea-type", "container") != "container":
            return None
        return {
            "pod": get("pod-name"),
            "namespace": get("pod-namespace") or None,
            "ip": get("ip-address") or None,
            "container_id": get("container-id") or None,
            "iface_id": interface.external_ids.get("iface-id") or None,
            "attached_mac": get("attached-mac") or None,
        }
