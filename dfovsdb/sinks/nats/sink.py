"""Every event to NATS JetStream, and the present state into its key-value store.

This file has the options and the methods that the worker calls. publisher.py decides what is
published when; messages.py has the messages, subjects.py the names, streams.py the streams and
buckets, client.py the connection, acks.py the acknowledgements, and servers.py the servers and
credentials. This file does not import any module that needs nats-py, so its options can be listed
without the extra.

nats-py uses asyncio. Its event loop runs on the worker's thread, and only while the worker is
inside a call. So there is no second thread, nothing happens without the worker, and nothing
remains after close(). Between two calls nothing is awaited, and nothing is missed:
acknowledgements are awaited inside the call, and the pings of the server are answered at the next
heartbeat, long before it closes the connection (by default after four minutes, while the heartbeat
interval is at most a minute). A connection that broke in the meantime is noticed at the beginning
of the next call, and replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError, needs_extra
from dfovsdb.sinks.base import Sink, SinkContext

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker
    from dfovsdb.sinks.nats.publisher import Publisher

T = TypeVar("T")

ACCESS_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "servers",
        default=["nats://127.0.0.1:4222"],
        help="NATS servers of one cluster, each as nats://HOST:PORT, or as tls://HOST:PORT, which "
        "requires TLS. The sink connects to one of them; name all of them.",
    ),
    cfg.StrOpt("user", help="Name of the user. Requires password."),
    cfg.StrOpt("password", secret=True, help="Password of the user."),
    cfg.StrOpt("token", secret=True, help="Token, if the servers require one."),
    cfg.StrOpt(
        "credentials_file",
        help="File with the credentials of a user with a JWT, as nsc writes it. It should be "
        "readable only by the user of dfovsdb.",
    ),
    cfg.StrOpt(
        "ssl_key_file",
        help="Private key of the client certificate: a PEM file that is not encrypted and "
        "readable only by the user of dfovsdb. Requires ssl_cert_file.",
    ),
    cfg.StrOpt(
        "ssl_cert_file",
        help="Client certificate, a PEM file. If unset, no certificate is presented.",
    ),
    cfg.StrOpt(
        "ssl_ca_cert_file",
        help="Certificate of the CA that signed the certificates of the servers, a PEM file. If "
        "unset, the CAs that the system trusts are used.",
    ),
    cfg.BoolOpt(
        "ssl_check_hostname",
        default=True,
        help="Require that the certificate of a server names the host of the connection.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=5,
        min=0.1,
        help="Seconds to wait for each response of the servers. After that the sink is "
        "unavailable.",
    ),
)

STREAM_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt("stream", default="dfovsdb", help="Name of the stream with the log of events."),
    cfg.StrOpt(
        "ports_bucket", default="dfovsdb-ports", help="Name of the bucket with the present ports."
    ),
    cfg.StrOpt(
        "vifs_bucket", default="dfovsdb-vifs", help="Name of the bucket with the present VIFs."
    ),
    cfg.StrOpt(
        "hosts_bucket", default="dfovsdb-hosts", help="Name of the bucket with the heartbeats."
    ),
)

KEEPING_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.BoolOpt(
        "create",
        default=True,
        help="Create the stream and the buckets with the settings below if they do not exist, and "
        "refuse existing ones with other settings. If false, existing ones are used as they are.",
    ),
    cfg.IntOpt(
        "replicas",
        default=1,
        min=1,
        max=5,
        help="Number of servers that store a copy of the stream and the buckets: 3 in a cluster "
        "of three or more servers.",
    ),
    cfg.FloatOpt(
        "max_age",
        default=7 * 86400,
        min=0,
        help="Seconds that the log keeps an event. 0 keeps it until max_bytes is reached.",
    ),
    cfg.IntOpt(
        "max_bytes",
        default=-1,
        min=-1,
        help="Maximum size of the log in bytes, beyond which the oldest events are deleted. -1 "
        "means no limit.",
    ),
    cfg.FloatOpt(
        "duplicate_window",
        default=120,
        min=1,
        help="Seconds during which JetStream drops a repeated event, recognized by its message "
        "id. After a longer outage, readers drop it by the same id.",
    ),
    cfg.FloatOpt(
        "heartbeat",
        default=10,
        min=0.1,
        max=60,
        help="Seconds between two heartbeats of this host.",
    ),
    cfg.FloatOpt(
        "time_to_live",
        default=30,
        min=0.3,
        help="Seconds after the last heartbeat after which this host counts as stale. Must be "
        "more than two heartbeats.",
    ),
    cfg.IntOpt(
        "window",
        default=256,
        min=1,
        help="Number of messages that may be unacknowledged. With 1 the events of a host are "
        "always in order in the log. With more, if the leader of the stream changes during a "
        "batch, only the events of each port are in order.",
    ),
)


class NatsSink(Sink):
    """Stores the events and the present state of this host in NATS JetStream.

    Its parameters are its options.

    :raises ConfigurationError: one of them cannot be used, or nats-py is not installed.
    """

    options = (*ACCESS_OPTIONS, *STREAM_OPTIONS, *KEEPING_OPTIONS)

    def __init__(
        self,
        servers: Sequence[str] = ("nats://127.0.0.1:4222",),
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        credentials_file: str | None = None,
        ssl_key_file: str | None = None,
        ssl_cert_file: str | None = None,
        ssl_ca_cert_file: str | None = None,
        ssl_check_hostname: bool = True,
        timeout: float = 5,
        stream: str = "dfovsdb",
        ports_bucket: str = "dfovsdb-ports",
        vifs_bucket: str = "dfovsdb-vifs",
        hosts_bucket: str = "dfovsdb-hosts",
        create: bool = True,
        replicas: int = 1,
        max_age: float = 7 * 86400,
        max_bytes: int = -1,
        duplicate_window: float = 120,
        heartbeat: float = 10,
        time_to_live: float = 30,
        window: int = 256,
    ) -> None:
        if time_to_live <= 2 * heartbeat:
            raise ConfigurationError(
                f"time_to_live is {time_to_live:g} s: it must be more than two heartbeats of "
                f"{heartbeat:g} s, so that one late heartbeat does not make the host stale"
            )
        try:
            from dfovsdb.sinks.nats.publisher import Publisher
            from dfovsdb.sinks.nats.servers import Servers
            from dfovsdb.sinks.nats.streams import Streams
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "nats":
                raise
            raise needs_extra("nats-py", "nats") from None
        access = Servers(
            servers,
            user=user,
            password=password,
            token=token,
            credentials_file=credentials_file,
            ssl_key_file=ssl_key_file,
            ssl_cert_file=ssl_cert_file,
            ssl_ca_cert_file=ssl_ca_cert_file,
            ssl_check_hostname=ssl_check_hostname,
        )
        streams = Streams(
            stream=stream,
            ports_bucket=ports_bucket,
            vifs_bucket=vifs_bucket,
            hosts_bucket=hosts_bucket,
            replicas=replicas,
            max_age=max_age,
            max_bytes=max_bytes or -1,
            duplicate_window=duplicate_window,
            time_to_live=time_to_live,
        )
        self.poll_interval = heartbeat
        self._publisher: Publisher = Publisher(
            access, streams, create=create, timeout=timeout, heartbeat=heartbeat, window=window
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, context: SinkContext) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._run(self._publisher.open(context))
        except BaseException:
            self.close()
            raise

    def emit(self, event: PortEvent) -> None:
        self._run(self._publisher.publish([event]))

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self._run(self._publisher.publish(events))

    def sync_started(self, marker: SyncMarker) -> None:
        self._run(self._publisher.sync_started(marker))

    def sync_finished(self, marker: SyncMarker) -> None:
        self._run(self._publisher.sync_finished(marker))

    def poll(self) -> None:
        self._run(self._publisher.beat())

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            loop.run_until_complete(self._publisher.close())
            loop.run_until_complete(_end_tasks())
        finally:
            loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "it is open"
        return self._loop.run_until_complete(coroutine)


async def _end_tasks() -> None:
    """Run what nats-py has left to do."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
