"""Patch ports: one end of a pair that joins two bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfovsdb.model import Interface


class PatchClassifier(Classifier):
    """Claims type `patch`; the attribute `peer` is the name of the other end."""

    kind = "patch"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type != "patch":
            return None
        return {"peer": interface.options.get("peer")}
