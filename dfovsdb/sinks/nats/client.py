"""One connection to NATS: publishing in order with a window, and reading the contents of streams.

This module knows neither ports nor events. No other module uses nats-py, except for the types of
its settings (nats.js.api). Everything here is a coroutine, for whoever runs an event loop.

A connection that breaks is not reused. Messages that were not acknowledged on it are published
again on the next one, beginning with the first of them. Reconnecting by nats-py is disabled,
because it would send from its buffer what the caller offers again. publish_async of nats-py
returns a future for each message, in no order, and its semaphore does not know which message is
the first without an acknowledgement. Therefore the acknowledgements are read here, from an inbox
whose subjects number them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from dfovsdb.errors import DfovsdbError
from dfovsdb.sinks.nats.acks import ApiError, Window, decode_ack
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.tls import verification

_HEADERS = 64  # bytes of the headers of a message beyond their names and values, at most
_AT_ONCE = 100  # requests that wait for their responses
_SILENCE = 0.5  # seconds after which a listing asks whether there is more
_SHORTEST_HEARTBEAT = 0.1  # seconds; the server refuses a consumer with a shorter one


class NatsError(DfovsdbError):
    """NATS does not do what it is asked to: one line that says what and why."""


class Unacknowledged(NatsError):
    """A message was not acknowledged.

    :param acknowledged: how many messages from the beginning were.
    :param refused: the first of the others was refused because of its contents, so offering it
        again is pointless.
    """

    def __init__(self, message: str, acknowledged: int, *, refused: bool = False) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged
        self.refused = refused


class Publication(NamedTuple):
    """A message to publish."""

    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


class Entry(NamedTuple):
    """A message of a stream, or the value of a key."""

    subject: str
    value: bytes
    headers: Mapping[str, str]
    sequence: int  #: in the stream
    time: float  #: when the server stored it, seconds since 1970


class Connection:
    """A connection, made by connect(), and made again after it was lost.

    :param name: the name of this client in the server's lists.
    :param inbox: prefix of the subjects on which responses arrive; a server may allow no other.
    :param timeout: seconds to wait for each response.
    """

    def __init__(self, servers: Servers, *, name: str, inbox: str, timeout: float) -> None:
        self._servers = servers
        self._name = name
        self._inbox = inbox
        self._timeout = timeout
        self._client: _Client | None = None
        self._trouble: list[str] = []  # the problems of this connection, latest last
        self._acks = ""
        self._runs = itertools.count()
        self._run = ""
        self._window = Window(0)
        self._failing_since: float | None = None  # monotonic seconds

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def connect(self) -> None:
        """Connect to one of the servers, unless there is a connection.

        :raises NatsError: none of them can be used.
        """
        await asyncio.sleep(0)  # so that a connection that has ended is recognized
        if self.connected:
            return
        await self.close()
        self._trouble = []
        self._failing_since = None
        self._client = client = _Client(needs_tls=self._servers.needs_tls)
        try:
            async with asyncio.timeout(self._timeout):
                await client.connect(
                    servers=list(self._servers.servers),
                    name=self._name,
                    inbox_prefix=self._inbox,
                    tls=self._servers.tls.context() if self._servers.tls else None,
                    error_cb=self._went_wrong,
                    closed_cb=self._closed,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, int(self._timeout)),
                    flush_timeout=self._timeout,
                    **self._servers.credentials,
                )
                self._acks = client.new_inbox()
                await client.subscribe(f"{self._acks}.*.*", cb=self._acknowledged)
        except (OSError, ValueError, nats.errors.Error, TimeoutError) as error:
            await self.close()
            known = isinstance(error, nats.errors.NoServersError) and self._trouble
            why = self._trouble[-1] if known else self._text(error)
            raise NatsError(f"{self._servers}: {why}") from None

    async def close(self) -> None:
        """End the connection, within a bounded time. This may be repeated."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # errors of a connection that is no longer needed
                async with asyncio.timeout(1):
                    await client.close()

    async def publish(self, messages: Sequence[Publication], window: int) -> None:
        """Publish to JetStream in order; return when all messages are acknowledged.

        :param window: how many may be unacknowledged.
        :raises Unacknowledged: it says how many were acknowledged, from the beginning on.
        """
        client = self._client
        if client is None:
            raise Unacknowledged("there is no connection", 0)
        self._run = f"{self._acks}.{next(self._runs)}"
        self._window = acks = Window(len(messages))
        try:
            for number, message in enumerate(messages):
                while number - acks.first >= window and acks.failed is None:
                    await self._progress(acks)
                if acks.failed is not None:
                    break
                self._check_size(client, message)
                await client.publish(
                    message.subject, message.payload, f"{self._run}.{number}", message.headers
                )
            while acks.first < acks.end:
                await self._progress(acks)
        except _Refused as refused:
            acks.fail(number, str(refused), refused=True)
            with contextlib.suppress(NatsError):
                while acks.first < acks.end:
                    await self._progress(acks)
        except (OSError, nats.errors.Error, NatsError) as error:
            await self.close()  # a late acknowledgement must not be taken for one of a retry
            why = str(error) if isinstance(error, NatsError) else self._text(error)
            raise Unacknowledged(why, acks.first) from None
        finally:
            self._run = ""
        await self._conclude(acks)

    async def _conclude(self, acks: Window) -> None:
        """End publish(); close a connection whose server has stored nothing for `timeout` seconds.

        It may be cut off from the other servers; the next connection may lead to one of those.

        :raises Unacknowledged: a message was not stored.
        """
        if acks.failed is None:
            self._failing_since = None
            return
        now = time.monotonic()
        if acks.first or acks.failed.refused or self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since > self._timeout:
            await self.close()
        raise Unacknowledged(acks.failed.text, acks.first, refused=acks.failed.refused)

    async def stream(self, name: str) -> api.StreamInfo | None:
        """Return the state of a stream; None if it does not exist."""
        try:
            return await self._jetstream().stream_info(name)
        except js_errors.NotFoundError:
            return None
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {name}", error) from None

    async def create(self, config: api.StreamConfig) -> api.StreamInfo:
        """Create a stream, or accept an existing one with the same settings."""
        try:
            return await self._jetstream().add_stream(config)
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {config.name} cannot be created", error) from None

    async def get(self, stream: str, subject: str) -> Entry | None:
        """Return the last message of one subject; None if there is none."""
        try:
            found = await self._jetstream().get_msg(stream, subject=subject, direct=True)
        except js_errors.NotFoundError:
            return None
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {stream} cannot be read", error) from None
        when = found.time.timestamp() if found.time else 0.0
        return Entry(subject, found.data or b"", found.headers or {}, found.seq or 0, when)

    async def purge(self, stream: str, subject: str) -> None:
        """Delete the messages of the subjects that match a filter."""
        try:
            await self._jetstream().purge_stream(stream, subject=subject)
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {stream} cannot be purged", error) from None

    async def purge_deletions(self, bucket: str, older: float) -> None:
        """Remove what a bucket keeps of keys that were deleted more than so many seconds ago."""
        try:
            keys = await self._jetstream().key_value(bucket)
            await keys.purge_deletes(olderthan=int(older))
        except js_errors.BucketNotFoundError:
            raise NatsError(f"bucket {bucket} does not exist") from None
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"bucket {bucket} cannot be tidied", error) from None

    async def subjects(self, stream: str, subject: str) -> list[str]:
        """Return the subjects of a stream that match a filter.

        The server searches them in memory; a consumer with the same filter costs it three times as
        much (nats-server 2.9, 100,000 subjects).
        """
        found: list[str] = []
        while True:
            request = {"subjects_filter": subject, "offset": len(found)}
            name = f"stream {stream} cannot be read"
            try:
                reply = await self._connection().request(
                    f"$JS.API.STREAM.INFO.{stream}",
                    msgspec.json.encode(request),
                    timeout=self._timeout,
                )
                info = _decode_subjects(reply.data)
            except (OSError, nats.errors.Error, msgspec.MsgspecError) as error:
                raise self._failed(name, error) from None
            if info.error is not None:
                raise NatsError(f"{name}: {info.error.text}")
            page = info.state.subjects if info.state else {}
            found += page
            if not page or len(found) >= info.total:
                return found

    async def get_all(self, stream: str, subjects: Sequence[str]) -> list[Entry]:
        """Return the last messages of those of some subjects that have one."""
        found: list[Entry | None] = []
        for batch in (subjects[at : at + _AT_ONCE] for at in range(0, len(subjects), _AT_ONCE)):
            found += await asyncio.gather(*(self.get(stream, subject) for subject in batch))
        return [entry for entry in found if entry is not None]

    async def last(
        self, stream: str, subject: str, *, values: bool = True
    ) -> AsyncIterator[Entry]:
        """Return the last message of each subject that matches a filter, in the order of storing.

        :param values: read the values; if false, `value` is empty.
        """
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT, headers_only=not values
        )
        async for entry in self.stored(stream, subject, config):
            yield entry

    async def stored(
        self, stream: str, subject: str, config: api.ConsumerConfig
    ) -> AsyncIterator[Entry]:
        """Return the messages that a stream has now.

        :param config: where to begin.
        :raises NatsError: the connection has ended, a message was missed, or the server has more
            messages and sends none of them within the timeout.
        """
        async with self._consumer(stream, subject, config) as (found, info):
            pending, expected, silence = info.num_pending or 0, 1, 0.0
            while pending:
                try:
                    message = await self._next_of_stream(found)
                except TimeoutError:  # the last of them may have been replaced in the meantime
                    info = await self._consumer_info(stream, info.name)
                    silence += _SILENCE
                    if not info.num_pending and not _has_missed(info, expected):
                        return
                    if silence >= self._timeout:
                        what = f"the server has more, and sent nothing for {silence:g} s"
                        raise NatsError(
                            f"stream {stream} cannot be read: {what}{self._last_trouble()}"
                        ) from None
                    continue
                metadata = message.metadata
                if metadata.sequence.consumer != expected:
                    raise NatsError(f"stream {stream}: a message was missed")
                pending, expected, silence = metadata.num_pending, expected + 1, 0.0
                yield _entry(message)

    async def follow(
        self, stream: str, subject: str, start: api.ConsumerConfig
    ) -> AsyncGenerator[Entry, None]:
        """Yield the messages of a stream as they arrive, without end and without gaps.

        :param start: where to begin.
        :raises NatsError: the connection has ended, or a message was missed.
        """
        async with self._consumer(stream, subject, start) as (found, _info):
            expected = 1
            while True:
                try:
                    message = await found.next_msg(2 * self._timeout)
                except (OSError, nats.errors.Error) as error:
                    raise self._failed(f"stream {stream}", error) from None
                if await self._is_of_server(message):
                    sent = (message.headers or {}).get("Nats-Last-Consumer", "")
                    if sent.isdigit() and int(sent) >= expected:
                        raise NatsError(f"stream {stream}: a message was missed")
                    continue
                if message.metadata.sequence.consumer != expected:
                    raise NatsError(f"stream {stream}: a message was missed")
                expected += 1
                yield _entry(message)

    @contextlib.asynccontextmanager
    async def _consumer(
        self, stream: str, subject: str, config: api.ConsumerConfig
    ) -> AsyncIterator[tuple[Any, api.ConsumerInfo]]:
        """Create a consumer that the server removes when this connection ends. Its name and filter
        are in the subject of the request, so that a server can restrict a host to its own keys.

        The server sends no more than we keep up with (flow control). Else it would close the
        connection when 64 MB, its max_pending, are on their way.
        """
        jetstream, client = self._jetstream(), self._connection()
        inbox = client.new_inbox()
        config = config.evolve(
            name=inbox.rpartition(".")[2],
            deliver_subject=inbox,
            filter_subject=subject,
            ack_policy=api.AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=5.0,
            flow_control=True,
            idle_heartbeat=max(_SHORTEST_HEARTBEAT, self._timeout / 2),
        )
        try:
            found = await client.subscribe(inbox)
            info = await jetstream.add_consumer(stream, config)
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {stream} cannot be read", error) from None
        try:
            yield found, info
        except (OSError, nats.errors.Error) as error:
            raise self._failed(f"stream {stream} cannot be read", error) from None
        finally:
            with contextlib.suppress(Exception):  # the connection may have ended
                await found.unsubscribe()

    async def _next_of_stream(self, found: Any) -> Msg:
        """Return the next message of the stream, and answer the server meanwhile.

        :raises TimeoutError: none has come for _SILENCE, however many heartbeats have.
        """
        async with asyncio.timeout(_SILENCE):
            while True:
                message: Msg = await found.next_msg(_SILENCE)
                if not await self._is_of_server(message):
                    return message

    async def _is_of_server(self, message: Msg) -> bool:
        """Return whether a message is none of the stream: a heartbeat, which says what was sent
        before it, or the question whether everything so far has arrived, which is answered.

        :raises NatsError: the server has refused an answer, and waits for it.
        """
        headers = message.headers or {}
        if not headers.get("Status"):
            return False
        waits = headers.get("Nats-Consumer-Stalled")  # the subject of the answer
        if waits:
            for problem in self._trouble:
                if waits.lower() in problem.lower():
                    raise NatsError(problem)
        if reply := message.reply or waits:
            await self._connection().publish(reply)
        return True

    async def _consumer_info(self, stream: str, name: str) -> api.ConsumerInfo:
        info: api.ConsumerInfo = await self._jetstream().consumer_info(stream, name)
        return info

    def _jetstream(self) -> JetStreamContext:
        return self._connection().jetstream(timeout=self._timeout)

    def _connection(self) -> _Client:
        if self._client is None:
            raise NatsError("there is no connection")
        return self._client

    # What nats-py calls.

    async def _acknowledged(self, message: Msg) -> None:
        run, _, number = message.subject.rpartition(".")
        if run != self._run:
            return
        headers = message.headers or {}
        if headers.get("Status") == "503":
            self._window.fail(
                int(number),
                "no stream accepts it: it has no leader at the moment, or it was removed",
            )
            return
        try:
            ack = decode_ack(message.data)
        except msgspec.MsgspecError:
            self._window.fail(int(number), "the response is not from JetStream")
            return
        if ack.failure is None:
            self._window.acknowledge(int(number))
        else:
            refused = ack.error is not None and ack.error.is_of_the_message
            self._window.fail(int(number), ack.failure, refused=refused)

    async def _went_wrong(self, error: Exception) -> None:
        text = self._text(error)
        self._trouble.append(text)
        del self._trouble[:-10]
        if "permissions violation" in text.lower():
            self._window.stop(text)

    async def _closed(self) -> None:
        self._window.stop(
            self._trouble[-1] if self._trouble else "the server has closed the connection"
        )

    async def _progress(self, acks: Window) -> None:
        """Wait until another message is acknowledged, or one is known to have failed."""
        acks.moved.clear()
        if acks.stopped is None:
            try:
                async with asyncio.timeout(self._timeout):
                    await acks.moved.wait()
            except TimeoutError:
                raise NatsError(f"no acknowledgement within {self._timeout:g} s") from None
        if acks.stopped is not None:
            raise NatsError(acks.stopped)

    def _check_size(self, client: Client, message: Publication) -> None:
        headers = message.headers or {}
        size = len(message.payload) + sum(len(k) + len(v) + 4 for k, v in headers.items())
        if size + _HEADERS > client.max_payload:
            raise _Refused(
                f"a message of {size} bytes on {message.subject:.80}: the server takes "
                f"{client.max_payload}, its max_payload"
            )

    def _failed(self, what: str, error: Exception) -> NatsError:
        return NatsError(f"{what}: {self._text(error)}")

    def _last_trouble(self) -> str:
        return f": {self._trouble[-1]}" if self._trouble else ""

    def _text(self, error: BaseException) -> str:
        """Return what went wrong, in one line without secrets."""
        if isinstance(error, js_errors.ServiceUnavailableError) and not error.description:
            return "JetStream does not respond: it is not enabled, or has no leader at the moment"
        if isinstance(error, js_errors.APIError):
            return f"{error.description} ({error.err_code})"
        if isinstance(error, ssl.SSLCertVerificationError):
            return verification(error)
        if "authorization" in str(error).lower():
            return "authorization failed: see user, password, token and credentials_file"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s{self._last_trouble()}"
        if isinstance(error, socket.gaierror):
            return f"the name cannot be resolved ({error.strerror})"
        if isinstance(error, OSError):
            return (
                os.strerror(error.errno)
                if error.errno
                else str(error) or "it has closed the connection"
            )
        return " ".join(str(error).removeprefix("nats: ").split()) or type(error).__name__


class _Refused(Exception):
    """This message can never be published."""


class _State(msgspec.Struct):
    subjects: dict[str, int] = {}


class _Subjects(msgspec.Struct):
    total: int = 0
    state: _State | None = None
    error: ApiError | None = None


_decode_subjects = msgspec.json.Decoder(_Subjects).decode


class _Client(Client):
    """A client of nats-py that checks for TLS before it sends anything. nats-py itself would send
    the password without TLS to a server that does not support it, although tls:// was configured.
    """

    def __init__(self, *, needs_tls: bool) -> None:
        super().__init__()
        self._needs_tls = needs_tls

    def _connect_command(self) -> bytes:
        if self._needs_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server does not support TLS, but tls:// was configured")
        return super()._connect_command()


def _has_missed(info: api.ConsumerInfo, expected: int) -> bool:
    """Return whether the server has sent the expected message, which did not arrive."""
    return info.delivered is not None and (info.delivered.consumer_seq or 0) >= expected


def _entry(message: Msg) -> Entry:
    metadata = message.metadata
    return Entry(
        message.subject,
        message.data,
        message.headers or {},
        metadata.sequence.stream,
        metadata.timestamp.timestamp(),
    )
