"""From messages to facts: the replica says which rows differ, the chain which ports they are.

No I/O, no clock: the loop of a monitor reads with it, and so does a replay of a recording.
"""

from __future__ import annotations

from collections.abc import Sequence

from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Fact
from dfovsdb.model import RowDelta
from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.session import Changes, Snapshot


class Pipeline:
    """Publishes what messages mean."""

    def __init__(self, chain: Chain, dispatcher: Dispatcher) -> None:
        self._chain = chain
        self._dispatcher = dispatcher
        self._table = Replica()

    @property
    def rows(self) -> int:
        """How many rows the replica holds."""
        return len(self._table.rows)

    def apply(self, message: Snapshot | Changes) -> None:
        """Apply a message and publish its facts; a snapshot has the whole table told.

        :raises ProtocolError: it does not fit; no row was changed.
        """
        if isinstance(message, Snapshot):
            self._dispatcher.publish_sync(self._facts(self._table.replace(*message)))
        elif facts := self._facts(self._table.apply(message.updates)):
            self._dispatcher.publish(facts)
        if self._chain.failures.due or isinstance(message, Snapshot):
            self._chain.failures.sum_up()

    def forget(self) -> None:
        """Hold the rows of which the sinks know, whatever the replica made of them since."""
        ports = self._dispatcher.ports()
        self._table = Replica(
            {uuid: port.interface for uuid, port in ports.items() if port.interface}
        )

    def _facts(self, deltas: Sequence[RowDelta]) -> list[Fact]:
        """What the deltas say of ports; of rows that were and are no port, nothing."""
        facts: list[Fact] = []
        for uuid, _old, new in deltas:
            last = self._dispatcher.last(uuid)
            port = None if new is None else self._chain.port(new, last)
            if port is not None or last is not None:
                facts.append((uuid, port))
        return facts
