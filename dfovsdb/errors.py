"""What can go wrong, as types.

    DfovsdbError              everything that this package raises on purpose
    ├── ConfigurationError    wrong use: an option, a connection string, a plugin  (exit status 2)
    ├── ConnectionLost        this connection is over; the next one starts again
    │   └── ProtocolError     because of what the server sent, or refused to send
    ├── SinkUnavailable       raised by sinks: the destination is down, offer it again
    ├── MonitorStopped        a Monitor was stopped, or ended by itself, while somebody waited
    └── WaitTimeout           the time given to watch() or wait_for() has passed

A message is one line and says what to do, where something can be done.
"""

from __future__ import annotations

from typing import Literal

#: Why a connection is over: it could not be made; TLS failed; it was closed or broke; it fell
#: silent; the server canceled the monitor; what it sent was wrong; an internal error.
LossReason = Literal["connect", "tls", "closed", "silent", "canceled", "protocol", "internal"]

LONGEST_RETRY_AFTER = 3600.0  #: seconds that a sink waits, whatever its destination asks for


_LONGEST = 2000  # characters of an error that may quote what a server sent


class DfovsdbError(Exception):
    """Base of every error that dfovsdb raises on purpose."""


class ConfigurationError(DfovsdbError):
    """Wrong use: an option, a connection string or a plugin. Nothing was started."""


def needs_extra(what: str, extra: str) -> ConfigurationError:
    """Return the error to raise if the library of an extra is not installed."""
    return ConfigurationError(
        f"{what} needs an extra: install dfovsdb[{extra}] "
        f"(pip install 'WHEEL[{extra}]' where dfovsdb is from a wheel, "
        f".venv/bin/pip install -e '.[{extra}]' in a clone)"
    )


class ConnectionLost(DfovsdbError):
    """This connection has ended. The monitor reconnects and starts again.

    :param reason: one of a few words that are counted.
    """

    def __init__(self, message: str, reason: LossReason = "closed") -> None:
        # it may quote the server, and is kept for as long as the connection is lost
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…")
        self.reason: LossReason = reason


class ProtocolError(ConnectionLost):
    """The server sent something invalid, or refused what is needed (RFC 7047, section 4)."""

    def __init__(self, message: str, reason: LossReason = "protocol") -> None:
        super().__init__(message, reason)


class SinkUnavailable(DfovsdbError):
    """Raised by a sink whose destination is down.

    :param message: what is wrong, one line.
    :param delivered: how many events of this batch, counted from its beginning, did arrive.
        The rest is offered again, with backoff and jitter, for as long as it takes.
    :param retry_after: seconds after which the destination wants to be tried again; at most 3600
        are waited. None leaves it to the backoff.
    """

    def __init__(
        self,
        message: str = "no reason was given",
        delivered: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.delivered = delivered
        self.retry_after = retry_after


class MonitorStopped(DfovsdbError):
    """The Monitor was stopped, or ended by itself: what was waited for cannot come any more."""


class WaitTimeout(DfovsdbError, TimeoutError):
    """The time given to watch() or wait_for() has passed; also a TimeoutError."""
