"""From messages to facts: the replica says which rows differ, the chain which ports they are.

No I/O, no clock: both the loop of a monitor and the playing of a recording use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Fact
from dfovsdb.model import Interface, Port, RowDelta
from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.session import Changes, Snapshot


class Pipeline:
    """Publishes the facts of messages."""

    def __init__(self, chain: Chain, dispatcher: Dispatcher) -> None:
        self._chain = chain
        self._dispatcher = dispatcher
        self._table = Replica()

    @property
    def rows(self) -> int:
        """Return how many rows the replica has."""
        return len(self._table.rows)

    def interfaces(self) -> list[Interface]:
        """Return all rows; from any thread."""
        return list(self._table.rows.values())

    def busy(self) -> str | None:
        """Return which classifier has not returned for more than a second, in one line; or
        None.
        """
        return self._chain.busy()

    def sum_up(self) -> None:
        """Log the failures of classifiers that were not logged one by one."""
        self._chain.failures.sum_up()

    def apply(self, message: Snapshot | Changes) -> None:
        """Apply a message and publish its facts; a snapshot starts a sync of every sink.

        :raises ProtocolError: it cannot be applied; no row was changed.
        """
        if isinstance(message, Snapshot):
            self._dispatcher.publish_sync(self._facts(self._table.replace(*message)))
        elif facts := list(self._facts(self._table.apply(message.updates))):
            self._dispatcher.publish(facts)
        if self._chain.failures.due or isinstance(message, Snapshot):
            self._chain.failures.sum_up()

    def forget(self) -> None:
        """Restore the rows that the sinks know, whatever the replica has changed since."""
        ports = self._dispatcher.ports()
        self._table = Replica(
            {uuid: port.interface for uuid, port in ports.items() if port.interface}
        )

    def _facts(self, deltas: Sequence[RowDelta]) -> Iterator[Fact]:
        """Return the facts of the deltas about ports; none about rows that were not and are not
        ports.
        """
        uuids: list[str] = []  # and no list of facts: many tuples keep the collector busy
        ports: list[Port | None] = []
        last_port, port_now = self._dispatcher.last, self._chain.port
        for delta in deltas:
            last = last_port(delta.uuid)
            port = None if delta.new is None else port_now(delta.new, last)
            if port is not None or last is not None:
                uuids.append(delta.uuid)
                ports.append(port)
        return zip(uuids, ports, strict=True)
