"""The replica: our copy of the Interface table, and the differences that each message makes.

No I/O. Whatever cannot be applied means that the replica is wrong: a ProtocolError, and the
caller drops the connection and starts over. No message is applied in part.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dfovsdb.model import Interface, RowDelta
from dfovsdb.ovsdb.updates import Codec, ColumnType, MonitorMethod


class Replica:
    """All rows by uuid, and the differences that each message makes.

    :param rows: what is held until the first replace().
    """

    def __init__(self, rows: Mapping[str, Interface] | None = None) -> None:
        self.rows: dict[str, Interface] = dict(rows or {})
        self._codec = Codec("monitor_cond", {})

    def replace(
        self,
        updates: msgspec.Raw,
        method: MonitorMethod,
        extra_columns: Mapping[str, ColumnType],
    ) -> list[RowDelta]:
        """Swap in a whole table; `updates` is the result of a monitor request.

        :returns: what differs from the rows held until now; a row that is equal is kept.
        :raises ProtocolError: it cannot be read; the rows held until now stay.
        """
        codec = Codec(method, extra_columns)
        before = self.rows
        rows: dict[str, Interface] = {}
        changed: list[RowDelta] = []
        for inserted in codec.deltas(updates, {}):
            uuid, _none, new = inserted
            assert new is not None  # a delete of what is not held is an error already
            old = before.get(uuid)
            if old is not None and old == new:
                rows[uuid] = old
            else:
                rows[uuid] = new
                changed.append(inserted if old is None else RowDelta(uuid, old, new))
        self._codec, self.rows = codec, rows
        gone = [RowDelta(uuid, old, None) for uuid, old in before.items() if uuid not in rows]
        return gone + changed

    def apply(self, updates: msgspec.Raw) -> list[RowDelta]:
        """Apply the table updates of one notification.

        :raises ProtocolError: they cannot be read, or do not fit the rows that we hold. No
            row was changed.
        """
        rows = self.rows
        deltas = list(self._codec.deltas(updates, rows))
        for uuid, _old, new in deltas:
            if new is None:
                del rows[uuid]
            else:
                rows[uuid] = new
        return deltas
