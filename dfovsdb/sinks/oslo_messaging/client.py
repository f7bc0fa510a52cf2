"""The client of oslo.messaging: a notifier that reports whether a notification arrived.

This is the only module that imports oslo.messaging. Its Notifier logs and swallows every error, so
the one method through which its messaging drivers send (`Transport._send_notification`) is
wrapped, and records what it raises. Its rabbit driver reconnects without reporting it, so its pool
is asked for the channel. Neither is public: tests with a real broker check both, and if the first
is missing, the sink cannot be built.

After a failure the bus is closed, and the next notification opens a new one. Nothing continues to
retry in the background, and each outage causes one log line of this sink.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from oslo_config import cfg

from dfovsdb import entry_points
from dfovsdb.errors import ConfigurationError, DfovsdbError
from dfovsdb.logs import Hush


@contextlib.contextmanager
def _without_news_of(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


with warnings.catch_warnings():  # the imports below warn about eventlet, which they import too
    warnings.simplefilter("ignore")
    from oslo_service import backend

    if backend.get_backend_type() is None:  # its own default is eventlet
        with _without_news_of("oslo_service.backend"):
            backend.init_backend(backend.BackendType.THREADING)
    import oslo_messaging

_SAY_WHETHER = ("messaging", "messagingv2")  # the drivers that send over a transport
_SPEAKER = "oslo.messaging._drivers.impl_rabbit"
_SAYS_OF_THE_BROKER = "The broker has "  # blocked, or unblocked, the connection


class BusFailure(DfovsdbError):
    """The bus does not have the notification, as far as is known."""


class Bus:
    """Sends notifications. It is used by one thread.

    :param transport_url: as in oslo.messaging; options of its drivers may follow a `?`.
    :param driver: the notification driver: `messagingv2`, …
    :param timeout: seconds of silence after which a broker is considered down.
    :raises ConfigurationError: the URL cannot be used, or there is no such driver.
    """

    def __init__(
        self,
        transport_url: str,
        *,
        driver: str,
        topics: Sequence[str],
        control_exchange: str,
        timeout: float,
    ) -> None:
        _known("driver", driver, "oslo.messaging.notify.drivers")
        self._driver = driver
        self._topics = list(topics)
        # a configuration of its own, independent of other uses of oslo.messaging in this program
        self._conf = cfg.ConfigOpts()
        self._conf([], project="dfovsdb", default_config_files=[], default_config_dirs=[])
        self._transport: oslo_messaging.Transport | None = None
        self._notifier: oslo_messaging.Notifier
        self._error: Exception | None = None
        self._last: object = None  # the channel of the last notification
        self._lost = False  # the last connection has failed, so what was sent over it may be lost
        self._url = self._parsed(transport_url, timeout)
        passwords = [host.password for host in self._url.hosts if host.password]
        self._secrets = {*passwords, *map(quote, passwords)}
        self._make()  # this does not connect yet
        self._conf.set_override("control_exchange", control_exchange)
        self.close()

    @property
    def name(self) -> str:
        """Return the addresses of the brokers, without credentials."""
        hosts = ", ".join(f"{host.hostname}:{host.port}" for host in self._url.hosts)
        return f"{self._url.transport}://{hosts}"

    def notify(self, publisher: str, event_type: str, payload: dict[str, Any]) -> bool:
        """Send one notification; return when the bus has it.

        :returns: True if it was sent over another connection than the previous one.
        :raises BusFailure: it did not arrive, or the confirmation was lost.
        """
        self._error = None
        with self._failing_as_one():
            self._connect()
            self._notifier.prepare(publisher_id=publisher).info({}, event_type, payload)
            if self._error is not None:
                raise self._error
            return self._is_another(self._channel())

    def check(self) -> bool:
        """Return whether the connection is another one than that of the last notification.

        :raises BusFailure: there is none.
        """
        if self._last is None and not self._lost:  # nothing was sent, or there is no channel
            return False
        with self._failing_as_one():
            self._connect()
            channel = self._channel()
            if channel is None:
                raise ConnectionError("the connection is lost")
            return self._is_another(channel)

    def reopen(self) -> None:
        """Let the next notification open a new connection, for example with renewed
        certificates.
        """
        self.close()
        self._last = None  # this loses nothing that was sent

    def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            with contextlib.suppress(Exception):  # the broker may be gone
                self._transport.cleanup()
            self._transport = None

    def _parsed(self, text: str, timeout: float) -> oslo_messaging.TransportURL:
        place, slash, path = text.partition("://")[2].partition("/")
        if slash and "@" in path and "@" not in place:  # the password ends early
            raise ConfigurationError(
                "option transport_url: write a / in the user name or password as %2F"
            )
        try:
            url = oslo_messaging.TransportURL.parse(self._conf, text)
        except Exception:  # noqa: BLE001 - what it says repeats the URL
            url = None
        if url is None or not url.transport:
            raise ConfigurationError(
                "option transport_url cannot be read: use rabbit://USER:PASSWORD@HOST:PORT/VHOST"
            )
        _known("transport_url", url.transport.partition("+")[0], "oslo.messaging.drivers")
        if url.transport in ("rabbit", "kombu"):
            url.query.setdefault("heartbeat_timeout_threshold", str(max(1, round(timeout))))
            url.query.setdefault("kombu_reconnect_delay", "0")  # the worker does the waiting
        return url

    def _make(self) -> None:
        try:
            transport = oslo_messaging.get_notification_transport(self._conf, self._url)
            send = transport._send_notification  # noqa: SLF001 - see above
        except Exception as error:  # noqa: BLE001 - an option in the URL, a driver that is missing
            raise ConfigurationError(
                f"option transport_url cannot be used: {self._text(error)}"
            ) from None

        def kept(*args: Any, **kwargs: Any) -> None:
            try:
                send(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - it is raised again by notify()
                self._error = error

        transport._send_notification = kept  # noqa: SLF001 - see above
        self._transport = transport
        self._notifier = oslo_messaging.Notifier(
            transport, driver=self._driver, topics=self._topics, retry=0
        )

    def _connect(self) -> None:
        if self._transport is None:
            self._make()

    def _channel(self) -> object:
        """Return the object that each connection of rabbit's pool creates; None for other
        drivers.
        """
        driver: Any = getattr(self._transport, "_driver", None)
        if self._driver not in _SAY_WHETHER or not hasattr(driver, "_get_connection"):
            return None
        with driver._get_connection("send", 0) as connection:  # noqa: SLF001 - see above
            if (heartbeat := connection._heartbeat_thread) is not None:  # noqa: SLF001 - see above
                _hush.heartbeats.add(heartbeat)
            return connection.channel

    def _is_another(self, channel: object) -> bool:
        another = self._lost or (self._last is not None and channel is not self._last)
        self._last, self._lost = channel, False
        return another

    @contextlib.contextmanager
    def _failing_as_one(self) -> Iterator[None]:
        """Turn any error of the bus into a BusFailure, and close it."""
        failure = ""
        with _hush.during_a_call():
            try:
                yield
            except Exception as error:  # noqa: BLE001 - of any driver, whatever it raises
                failure = self._text(error)
                self._lost = self._lost or self._last is not None
                self.close()
        if failure:
            raise BusFailure(failure)

    def _text(self, error: Exception) -> str:
        if _is_rejected(error):  # the text of the driver says that it cannot connect
            return "the broker rejects notifications: a queue of the topics is full (max-length)"
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in getattr(self, "_secrets", ()):
            text = text.replace(secret, "***")
        return text


def _is_rejected(error: BaseException | None) -> bool:
    """Return whether the broker has answered a notification with nack."""
    while error is not None:
        if type(error).__name__ == "MessageNacked":  # of amqp
            return True
        error = error.__context__
    return False


def _known(option: str, name: str, group: str) -> None:
    """Check that there is such a driver: oslo.messaging would only log that there is none."""
    names = sorted(entry.name for entry in entry_points.find(group))
    if name not in names:
        raise ConfigurationError(
            f"option {option}: {name!r} does not exist; use one of {', '.join(names)}"
        )


class _Hush(Hush):
    """Drops log messages of oslo.messaging about errors that the callers receive anyway."""

    def __init__(self) -> None:
        super().__init__(_SPEAKER)
        #: loggers of the connections. A broker that blocks them is an error, and is shown
        self.heartbeats: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(_SAYS_OF_THE_BROKER):  # and raises nothing
            return True
        if threading.current_thread() in self.heartbeats and record.levelno < logging.ERROR:
            return False
        return super().filter(record)


_hush = _Hush()
