"""The replica: our copy of the Interface table, and the differences that each message makes.

Each row is held with its surroundings, so a row differs when they do. No I/O. Whatever cannot be
applied means that the replica is wrong: a ProtocolError, and the caller drops the connection and
starts over. No message is applied in part.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dfovsdb.model import TABLE, Interface, RowDelta, is_unknown
from dfovsdb.ovsdb.surroundings import Peers, Surroundings
from dfovsdb.ovsdb.updates import Codec, ColumnType, MonitorMethod, TablesDecoder, read_only


class Replica:
    """All rows by uuid, and the differences that each message makes.

    A row whose ephemeral columns are unknown, because the database has restarted, is held with
    their last known values; what the server says of it is kept beside it until it is known again.

    :param rows: what is held until the first replace().
    """

    def __init__(self, rows: Mapping[str, Interface] | None = None) -> None:
        self.rows: dict[str, Interface] = dict(rows or {})
        self._codec = Codec("monitor_cond", {})
        self._split = TablesDecoder().decode
        self._surroundings: Surroundings | None = None
        self._peers = Peers()
        self._unknown: dict[str, Interface] = {}  # as the server has them
        self._ephemeral: tuple[str, ...] = ()  # of the declared columns

    def replace(
        self,
        updates: msgspec.Raw,
        method: MonitorMethod,
        extra_columns: Mapping[str, ColumnType],
        surrounded: bool = False,
        absent: frozenset[str] = frozenset(),
    ) -> list[RowDelta]:
        """Swap in a whole table; `updates` is the result of a monitor request.

        :param extra_columns: what classifiers declared, `TABLE.NAME` of other tables.
        :param surrounded: whether Port and Bridge are read too.
        :param absent: core columns that the server does not have.
        :returns: what differs from the rows held until now; a row that is equal is kept.
        :raises ProtocolError: it cannot be read; the rows held until now stay.
        """
        own = {name: kind for name, kind in extra_columns.items() if "." not in name}
        codec = Codec(method, own, absent)
        tables = self._split(updates)
        surroundings = Surroundings(method, extra_columns) if surrounded else None
        peers = Peers(surroundings)
        rows = codec.rows(tables.get(TABLE, {}))
        if surroundings is not None:
            surroundings.apply(surroundings.read(tables))
        peers.apply(RowDelta(row.uuid, None, row) for row in rows.values() if row.type == "patch")

        before = self.rows
        self._codec, self._surroundings, self._peers = codec, surroundings, peers
        self._ephemeral = tuple(name for name, kind in extra_columns.items() if kind.ephemeral)
        self._unknown, self.rows = {}, rows
        gone = [RowDelta(uuid, old, None) for uuid, old in before.items() if uuid not in rows]
        changed: list[RowDelta] = []
        for uuid, new in rows.items():
            old = before.get(uuid)
            row = self._settled(new, old)
            if old is not None and old == row:
                rows[uuid] = old
                continue
            if row is not new:
                rows[uuid] = row
            changed.append(RowDelta(uuid, old, row))
        return gone + changed

    def apply(self, updates: msgspec.Raw) -> list[RowDelta]:
        """Apply the table updates of one notification.

        :raises ProtocolError: they cannot be read, or do not fit the rows that we hold. No
            row was changed.
        """
        tables = self._split(updates)
        deltas = self._codec.deltas(tables.get(TABLE, {}), self._as_the_server_has_it)
        change = None if self._surroundings is None else self._surroundings.read(tables)

        affected = self._peers.apply(deltas)
        if self._surroundings is not None and change is not None:
            moved = self._surroundings.apply(change)
            known = [self.rows[uuid] for uuid in moved if uuid in self.rows]
            affected |= moved | self._peers.naming(known)
        rows, changed = self.rows, []
        for delta in deltas:
            uuid, new = delta.uuid, delta.new
            affected.discard(uuid)
            old = rows.get(uuid)
            if new is None:
                self._unknown.pop(uuid, None)
                del rows[uuid]
                changed.append(RowDelta(uuid, old, None))
            else:
                rows[uuid] = row = self._settled(new, old)
                if row is new and old is delta.old:
                    changed.append(delta)  # as the server has it
                elif not (uuid in self._unknown and row == old):  # unknown is not news
                    changed.append(RowDelta(uuid, old, row))
        for uuid in sorted(affected):
            held = self._as_the_server_has_it(uuid)
            if held is None:
                continue  # it is not there, or not yet
            old = self.rows[uuid]
            row = self._settled(held, old)
            if row != old:
                self.rows[uuid] = row
                changed.append(RowDelta(uuid, old, row))
        return changed

    def _as_the_server_has_it(self, uuid: str) -> Interface | None:
        return (self._unknown and self._unknown.get(uuid)) or self.rows.get(uuid)

    def _settled(self, row: Interface, old: Interface | None) -> Interface:
        """Return a row with its surroundings, and with what is known of it.

        :param old: the row that was held.
        """
        if row.type == "patch" or row.peer is not None:  # it is, or was
            row = self._peers.join(row)
        if self._surroundings is not None:
            row = self._surroundings.join(row)
        if old is None or not is_unknown(row) or is_unknown(old) or row.ofport != old.ofport:
            if self._unknown:
                self._unknown.pop(row.uuid, None)
            return row
        self._unknown[row.uuid] = row
        columns = row.columns
        if self._ephemeral:
            kept = {name: old.columns[name] for name in self._ephemeral if name in old.columns}
            columns = read_only({**columns, **kept})
        return msgspec.structs.replace(
            row,
            admin_state=old.admin_state,
            link_state=old.link_state,
            mac_in_use=old.mac_in_use,
            columns=columns,
        )
