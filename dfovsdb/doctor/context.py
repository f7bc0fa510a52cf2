"""What the checks of a switch look at: one server, and what is known about it so far."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.errors import ConnectionLost
from dfovsdb.model import Interface, Port
from dfovsdb.monitor import Monitor
from dfovsdb.ovsdb import jsonrpc
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.tls import Tls


class Context:
    """One server, and what is known about it so far.

    :param options: of the connection, as for a Monitor.
    :param timeout: seconds to wait for each response of the server, and for ovs-vswitchd to accept
        a port.
    """

    def __init__(
        self,
        connection: str,
        classifiers: Sequence[Classifier],
        options: Mapping[str, Any],
        *,
        timeout: float = 5,
    ) -> None:
        self.connection = connection
        self.address = Address.parse(connection)
        self.chain = Chain(classifiers)
        self.classifiers = classifiers
        self.options = dict(options)
        self.timeout = timeout
        self.schema: dict[str, Any] = {}
        self.everything = _Everything(self.chain.extra_columns)
        self.monitor = Monitor(connection, classifiers=[self.everything], **self.options)

    def rows(self) -> list[Interface]:
        """Return every row of the table, by name."""
        rows = (port.interface for port in self.monitor.ports().values())
        return sorted((row for row in rows if row is not None), key=lambda row: row.name)

    @functools.cached_property
    def claims(self) -> list[tuple[Interface, Port | None]]:
        """Return every row with the port that a classifier makes of it, as of the first call."""
        return [(row, self.chain.port(row, None)) for row in self.rows()]

    @property
    def ports(self) -> list[Port]:
        """Return every row that a classifier claims."""
        return [port for _, port in self.claims if port is not None]

    @functools.cached_property
    def tls(self) -> Tls | None:
        """Return what secures the connection, as a Monitor makes it from the same options."""
        if self.address.method != "ssl":
            return None
        files = (self.options.get(f"ssl_{name}_file") for name in ("key", "cert", "ca_cert"))
        return Tls(*files, check_hostname=self.options.get("ssl_check_hostname", True))

    def ask(self, method: str, params: list[Any]) -> Any:
        """Make one request on a connection of its own; return its result.

        :raises ConnectionLost: there is no response.
        """
        decoder = jsonrpc.Decoder(jsonrpc.MAX_MESSAGE_SIZE)
        deadline = time.monotonic() + self.timeout
        with Transport(self.address, self.tls) as transport:
            transport.open()
            unsent = jsonrpc.encode(method, params, 1)
            while (left := deadline - time.monotonic()) > 0:
                if transport.ready and unsent:
                    transport.send(unsent)
                    unsent = b""
                for message in decoder.feed(transport.wait(left)):
                    if message.method is None and message.id == 1:
                        return None if message.error else msgspec.json.decode(message.result)
            silence = transport.silence
        raise ConnectionLost(f"{silence} within {self.timeout:g} s", "silent")


class _Everything(Classifier):
    """Claims every row, with everything that it contains, so that all of it is compared."""

    kind = "interface"

    def __init__(self, columns: frozenset[str]) -> None:
        self.columns = columns

    def classify(self, interface: Interface) -> Mapping[str, str | None]:
        facts: dict[str, str | None] = {}
        for column, pairs in (
            ("external_ids", interface.external_ids),
            ("options", interface.options),
        ):
            facts |= {f"{column}:{key}": value for key, value in pairs.items()}
        return facts
