"""The conversation with one server, over any number of connections. No I/O, no clock.

What to send is in `outgoing()`, what has arrived goes into `received()`, and the time is an
argument (monotonic seconds). A connection requests, in this order and only as needed:

- `monitor_cond`: ovsdb-server 2.6 and later (ovsdb-server(7)).
- `monitor`: if the server does not know that method, or if it is configured (RFC 7047).
- `get_schema`, and then one of these again: if a column is refused, with the columns that exist.

Nothing that one connection learns about the server is kept for the next one. ovs.reconnect decides
when to connect, to probe and to give up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from ovs import reconnect

from dfovsdb.errors import ConnectionLost, LossReason, ProtocolError
from dfovsdb.logs import get_logger
from dfovsdb.model import CORE_COLUMNS, REQUIRED_COLUMNS, TABLE, UNREADABLE
from dfovsdb.ovsdb import jsonrpc
from dfovsdb.ovsdb.surroundings import BRIDGE_COLUMNS, PORT_COLUMNS
from dfovsdb.ovsdb.updates import ABSENT, ColumnType, MonitorMethod
from dfovsdb.text.escape import clean

LOG = get_logger(__name__)

DATABASE = "Open_vSwitch"
_MONITOR_ID = "dfovsdb"
_PROBE_ID = "probe"

QUICK_TRIES = 20  #: so many attempts to reconnect in one outage, before they back off

Step = Literal["connect", "disconnect"] | None


class Snapshot(NamedTuple):
    """The complete tables, as the reply to a monitor request contains them: see
    Replica.replace().
    """

    updates: msgspec.Raw
    method: MonitorMethod
    extra_columns: Mapping[str, ColumnType]
    surrounded: bool = False
    absent: frozenset[str] = frozenset()


class Changes(NamedTuple):
    """The table updates of one notification."""

    updates: msgspec.Raw


class Session:
    """Connects, subscribes, replies, probes and backs off, without end.

    :param extra_columns: columns beyond the core's: `NAME` of Interface, `TABLE.NAME` of others.
    :param tables: the tables to read: `Interface`, and `Port` and `Bridge` if they are named.
    :param monitor: `auto`, or `rfc7047` for the plain method even if the server knows a better
        one.
    :param inactivity_probe: seconds of silence before the server is probed, and again before the
        connection is given up; 0 disables probes.
    :param reconnect_min: shortest wait in seconds before another attempt; the first is made at
        once.
    :param reconnect_max: longest wait in seconds.
    :param max_message_size: bytes.
    """

    def __init__(
        self,
        now: float,
        *,
        extra_columns: frozenset[str] = frozenset(),
        tables: Sequence[str] = (TABLE,),
        monitor: Literal["auto", "rfc7047"] = "auto",
        inactivity_probe: float = 5,
        reconnect_min: float = 1,
        reconnect_max: float = 8,
        max_message_size: int = jsonrpc.MAX_MESSAGE_SIZE,
    ) -> None:
        self._extra_columns = extra_columns
        self._tables = tuple(tables)
        self._first_method: MonitorMethod = "monitor" if monitor == "rfc7047" else "monitor_cond"
        self._max_message_size = max_message_size
        self._quick_tries = 0  # left, of those after a connection that had worked
        self._pace = _Pace(now)
        self._not_before = now  # the next attempt
        self._conversation: _Conversation | None = None
        self.last_heard: float | None = None  #: monotonic seconds
        #: connections and attempts that ended, by reason
        self.losses: Counter[LossReason] = Counter()
        self._fsm = reconnect.Reconnect(_ms(now))
        self._fsm.set_quiet(True)
        self._fsm.set_backoff(_ms(reconnect_min), _ms(reconnect_max))
        self._fsm.set_probe_interval(_ms(inactivity_probe))
        self._fsm.enable(_ms(now))

    def next_step(self, now: float) -> Step:
        """Return what the caller should do now; a probe that is due goes into `outgoing()`."""
        if now < self._not_before:
            return None
        step = self._fsm.run(_ms(now))
        if step == reconnect.PROBE and self._conversation:
            self._conversation.probe()
        if step == reconnect.CONNECT:
            return "connect"
        return "disconnect" if step == reconnect.DISCONNECT else None

    def timeout(self, now: float) -> float | None:
        """Return the seconds until `next_step()` must be called again, None for not at all."""
        timeout = self._fsm.timeout(_ms(now))
        return None if timeout is None else max(timeout / 1000, self._not_before - now)

    def connecting(self, now: float) -> None:
        """Record that a connection attempt has begun."""
        self._fsm.connecting(_ms(now))

    @property
    def connected(self) -> bool:
        """Return whether there is a connection."""
        return self._conversation is not None

    @property
    def synced(self) -> bool:
        """Return whether there is a connection whose snapshot has been received."""
        return self._conversation is not None and self._conversation.synced

    def begin(self, now: float) -> None:
        """Record that the connection is made, and subscribe."""
        self._fsm.connected(_ms(now))
        self._conversation = _Conversation(
            self._first_method, self._tables, self._extra_columns, self._max_message_size
        )

    def received(self, data: bytes, now: float) -> Iterator[Snapshot | Changes]:
        """Yield the meaning of the bytes; call it with b"" when reading found nothing.

        :raises ProtocolError: this connection must be dropped.
        """
        self._fsm.receive_attempted(_ms(now))
        conversation = self._conversation
        if not data or conversation is None:
            return
        before = conversation.decoded
        try:
            yield from conversation.received(data)
        finally:
            # Bytes that do not complete a message are not a sign of life: a damaged one could hide
            # everything that follows. But the first reply may be long, and the network slow.
            if conversation.decoded > before or not conversation.synced:
                self._fsm.activity(_ms(now))
                self.last_heard = now

    def outgoing(self) -> bytes:
        """Return what to send next; it is handed out once."""
        return self._conversation.take_outgoing() if self._conversation else b""

    def lost(self, error: ConnectionLost, now: float) -> None:
        """Record that the connection, or the attempt, has ended.

        If it had worked, the next attempt is made at once, and further ones soon, because a server
        that restarts is back soon; after QUICK_TRIES failures, or if the server itself does not
        work, attempts back off. A server that comes and goes is followed each time, with 60
        attempts in a minute at most: see _Pace.
        """
        self.losses[error.reason] += 1
        if isinstance(error, ProtocolError):
            self._quick_tries = 0
        elif self.synced:
            self._quick_tries = QUICK_TRIES
        elif self._quick_tries:
            self._quick_tries -= 1
        self._not_before = now
        if self._quick_tries:
            self._not_before += self._pace.wait(now, at_once=self.synced)
        self._fsm.set_backoff_free_tries(2 if self._quick_tries else 0)  # 2: without a wait of it
        self._fsm.disconnected(_ms(now), 0)
        self._conversation = None


class _Pace:
    """When the next attempt to reconnect may be made: 60 in any minute.

    After a quiet time they follow each other by 0.2 s, later by 0.45 s, and by EVERY seconds when
    nothing is left. So a server that is back within 0.3 s is followed within half a second of each
    return even if it restarts every 2.4 seconds for ever, which takes two attempts each time.
    """

    MOST = 10  #: attempts that a quiet time leaves to be made without a further wait
    EVERY = 1.2  #: seconds, in which one more may be made

    def __init__(self, now: float) -> None:
        self._left = float(self.MOST)
        self._at = now

    def wait(self, now: float, *, at_once: bool) -> float:
        """Take one; return the seconds to wait for it."""
        self._left = min(self.MOST, self._left + (now - self._at) / self.EVERY) - 1
        self._at = now
        wished = 0.0 if at_once else 0.2 if self._left > 3 else 0.45
        return max(wished, -self._left * self.EVERY)


class _Conversation:
    """One connection: requests that wait for their reply, and the monitor after it is set up."""

    def __init__(
        self,
        method: MonitorMethod,
        tables: Sequence[str],
        extra_columns: frozenset[str],
        max_message_size: int,
    ) -> None:
        self.synced = False
        self.decoded = 0  #: how many messages arrived
        self._decoder = jsonrpc.Decoder(max_message_size)
        self._outgoing = bytearray()
        self._waiting: dict[int, str] = {}  # request id -> method
        self._last_id = 0
        self._method = method
        self._columns = {table: _columns(table, extra_columns) for table in tables}
        self._extra_columns = extra_columns
        self._schema: Mapping[str, Mapping[str, Any]] | None = None  # table -> column -> schema
        self._refusal: Any = None  # of a monitor request, while waiting for the schema
        if extra_columns:
            self._request("get_schema", [DATABASE])
        self._request_monitor()

    def take_outgoing(self) -> bytes:
        outgoing = bytes(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def probe(self) -> None:
        self._outgoing += jsonrpc.encode("echo", [], _PROBE_ID)

    def received(self, data: bytes) -> Iterator[Snapshot | Changes]:
        for message in self._decoder.feed(data):
            self.decoded += 1
            method = message.method
            if method == _NOTIFICATIONS[self._method] and self.synced:
                yield self._changes(message)
            elif method is None:
                yield from self._replied(message)
            elif method == "echo":
                params: Any = message.params or []
                self._outgoing += jsonrpc.encode_reply(message.id, params)
            elif method == "monitor_canceled":
                raise ConnectionLost(
                    "the server canceled the monitor: its database was removed or converted",
                    "canceled",
                )
            elif method in _NOTIFICATIONS.values():
                raise ProtocolError(f"an {method} notification that was not requested")
            elif message.id is not None:
                error = {"error": "unknown method"}
                self._outgoing += jsonrpc.encode_reply(message.id, None, error)

    def _changes(self, message: jsonrpc.Message) -> Changes:
        try:
            monitor_id, updates = _UPDATE_PARAMS.decode(message.params)
        except UNREADABLE as error:
            raise ProtocolError(f"an update cannot be read: {error}") from None
        if monitor_id != _MONITOR_ID:
            raise ProtocolError(f"an update of a monitor that is not ours: {monitor_id!r:.80}")
        return Changes(updates)

    def _request(self, method: str, params: list[Any]) -> None:
        self._last_id += 1
        self._waiting[self._last_id] = method
        self._outgoing += jsonrpc.encode(method, params, self._last_id)

    def _request_monitor(self) -> None:
        requests = {table: [{"columns": names}] for table, names in self._columns.items()}
        self._request(self._method, [DATABASE, _MONITOR_ID, requests])

    def _replied(self, message: jsonrpc.Message) -> Iterator[Snapshot]:
        if message.id == _PROBE_ID:
            return
        asked = self._waiting.pop(message.id, None) if type(message.id) is int else None
        if asked is None:
            raise ProtocolError(f"unexpected reply: id {message.id!r:.80}")
        if asked == "get_schema":
            self._got_schema(message)
        elif message.error is not None:
            self._monitor_refused(message.error)
        else:
            if not message.result:
                raise ProtocolError("a reply has neither a result nor an error")
            self.synced = True
            yield Snapshot(
                message.result,
                self._method,
                self._column_types(),
                surrounded=len(self._columns) > 1,
                absent=frozenset(CORE_COLUMNS).difference(self._columns[TABLE]),
            )

    def _monitor_refused(self, error: Any) -> None:
        if self._method == "monitor_cond" and "unknown method" in _error_text(error):
            self._method = "monitor"
            self._request_monitor()
        elif self._schema is None:
            self._refusal = error
            self._request("get_schema", [DATABASE])
        elif not self._leave_out_missing():
            if self._method == "monitor":
                raise ProtocolError(
                    f"the server refuses the monitor request: {_error_text(error)}"
                )
            self._method = "monitor"
            self._request_monitor()

    def _got_schema(self, message: jsonrpc.Message) -> None:
        if message.error is not None:
            raise ProtocolError(
                f"the server has no database {DATABASE} ({_error_text(message.error)}): "
                "is this the ovsdb-server of Open vSwitch?"
            )
        try:
            tables = _SCHEMA.decode(message.result).tables
        except UNREADABLE as error:
            raise ProtocolError(f"the schema cannot be read: {error}") from None
        if TABLE not in tables:
            raise ProtocolError(f"the database {DATABASE} of this server has no table {TABLE}")
        self._schema = {name: table.columns for name, table in tables.items()}
        if self._refusal is not None:
            self._monitor_refused(self._refusal)

    def _leave_out_missing(self) -> bool:
        """Request again with the tables and columns that exist; return False if all of them do."""
        assert self._schema is not None
        missing = {
            table: [name for name in names if name not in self._schema.get(table, {})]
            for table, names in self._columns.items()
        }
        if not any(missing.values()):
            return False
        if required := REQUIRED_COLUMNS.intersection(missing[TABLE]):
            raise ProtocolError(
                f"table {TABLE} of this server does not have the columns "
                f"{', '.join(sorted(required))}, which are required: is this a database of "
                "Open vSwitch?"
            )
        for table, names in missing.items():
            if table not in self._schema:
                LOG.warning("the server has no table %s; continuing without it", table)
            elif names:
                listed = ", ".join(names)
                LOG.warning(
                    "the server's table %s has no column %s; continuing without it", table, listed
                )
        self._columns = {
            table: tuple(name for name in names if name not in missing[table])
            for table, names in self._columns.items()
            if table in self._schema
        }
        self._request_monitor()
        return True

    def _column_types(self) -> dict[str, ColumnType]:
        """Return those of the extra columns; one that the schema does not contain is always
        empty.
        """
        if self._extra_columns and self._schema is None:
            raise ProtocolError("the server answered the monitor request before get_schema")
        types = {}
        for name in self._extra_columns:
            table, dot, column = name.partition(".")
            columns = (self._schema or {}).get(table if dot else TABLE, {})
            column = column if dot else name
            types[name] = ColumnType.of(columns[column]) if column in columns else ABSENT
        return types


_CORE = {TABLE: CORE_COLUMNS, "Port": PORT_COLUMNS, "Bridge": BRIDGE_COLUMNS}


def _columns(table: str, extra: frozenset[str]) -> tuple[str, ...]:
    """Return the columns of a table to monitor; those of the core come first."""
    core = _CORE[table]
    prefix = "" if table == TABLE else f"{table}."
    named = {
        name.removeprefix(prefix)
        for name in extra
        if ("." in name) == bool(prefix) and name.startswith(prefix)
    }
    return (*core, *sorted(named.difference(core)))


class _TableSchema(msgspec.Struct):
    columns: dict[str, Any]


class _DatabaseSchema(msgspec.Struct):
    tables: dict[str, _TableSchema]


_NOTIFICATIONS: dict[MonitorMethod, str] = {"monitor": "update", "monitor_cond": "update2"}
_UPDATE_PARAMS = msgspec.json.Decoder(tuple[Any, msgspec.Raw])
_SCHEMA = msgspec.json.Decoder(_DatabaseSchema)


def _error_text(error: Any) -> str:
    """Return the text of an <error> (RFC 7047, section 3.1), which may be a bare string."""
    parts = [error.get("error"), error.get("details")] if isinstance(error, dict) else [error]
    return ": ".join(clean(part) for part in parts if isinstance(part, str)) or "no reason given"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
