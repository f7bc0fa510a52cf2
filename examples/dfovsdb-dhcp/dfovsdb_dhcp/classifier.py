"""A new kind: the port of a Neutron DHCP agent."""

from collections.abc import Mapping

from dfovsdb import Classifier, Interface


class DhcpClassifier(Classifier):
    """Claims ports of type internal with an iface-id and a name like tap*."""

    kind = "dhcp"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        iface_id = interface.external_ids.get("iface-id")
        if interface.type != "internal" or not iface_id or not interface.name.startswith("tap"):
            return None
        return {"iface_id": iface_id, "attached_mac": interface.external_ids.get("attached-mac")}
