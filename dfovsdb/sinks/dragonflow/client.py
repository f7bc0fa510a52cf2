"""The ZeroMQ socket: it notices new subscribers, and subscribers that do not read.

This is the only module that imports pyzmq. An XPUB socket is a publisher that receives the
subscriptions (zmq_socket(3), zmq_setsockopt(3)):

- XPUB_VERBOSE passes on every subscription, not only the first one to a topic.
- XPUB_NODROP refuses a message (EAGAIN) if the queue of one subscriber is full, instead of
  dropping it silently. A message goes to all subscribers or to none.
- MAXMSGSIZE disconnects a peer that sends a longer message, and RCVHWM bounds the subscriptions
  that wait to be read. ZeroMQ itself keeps any number of subscriptions, so they are counted here.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat

import msgspec
import zmq

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.logs import get_logger

LOG = get_logger(__name__)

PIPE_LIMIT = 1000  #: messages queued for one subscriber, in addition to those in its connection
SEND_TIMEOUT = 50  #: milliseconds to wait for a full queue: reading slowly is not an outage
LINGER = 100  #: milliseconds that close() waits for messages in transit, so that a stop is bounded
UNHEARD_LIMIT = 10_000  #: deletions that are kept for the next subscriber
LONGEST_TOPIC = 255  #: bytes
LONGEST_SUBSCRIPTION = 1024  #: bytes of any message of a subscriber; the topic must fit
SUBSCRIPTIONS_WAITING = 100  #: of one subscriber, unread
SUBSCRIPTIONS_A_TURN = 1000  #: read between two messages, so that a flood of them stops nothing
FOREIGN_LIMIT = 10_000  #: subscriptions to other topics before all subscribers are disconnected
IPC_MODE = 0o660  #: owner and group may connect, whatever the umask

_TCP = re.compile(r"tcp://(?:\[[^\]]+\]|[^:\[\]]+):(?:\*|(?P<port>\d{1,5}))")
_HINTS = {
    errno.EADDRINUSE: "; stop the program that listens there, or choose another",
    errno.EADDRNOTAVAIL: "; it must be an address of this host",
    errno.ENODEV: "; it must be an address of this host",
    errno.EACCES: "; choose one that this user may use",
}


class TableUpdate(msgspec.Struct, frozen=True):
    """The message that a controller decodes: a msgpack map with these keys."""

    table: str | None
    key: str | None
    action: str
    value: str | None
    topic: str


class ZmqPublisher:
    """Publishes messages on one topic. It is not open until open(), and is used by one thread.

    :param endpoint: `tcp://ADDRESS:PORT` (`*` selects a free port) or `ipc://PATH`.
    :raises ConfigurationError: the endpoint is not of this form, or the topic is empty.
    """

    def __init__(self, endpoint: str, topic: str) -> None:
        tcp = _TCP.fullmatch(endpoint)
        if not (tcp and int(tcp["port"] or 0) < 1 << 16) and not re.match("ipc://.", endpoint):
            raise ConfigurationError(
                f"endpoint {endpoint!r}: use tcp://ADDRESS:PORT or ipc://PATH"
            )
        if not topic:
            raise ConfigurationError("option topic is empty: the controller's default is D")
        if len(topic.encode()) > LONGEST_TOPIC:
            raise ConfigurationError(f"option topic is longer than {LONGEST_TOPIC} bytes")
        self.endpoint = endpoint
        self._topic = topic
        self._prefix = topic.encode()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes]
        self._subscriptions: set[bytes] = set()  # subscriptions that match the topic
        self._foreign = 0  # subscriptions to other topics, on this socket
        self._unheard: dict[str, TableUpdate] = {}  # deletions, by key

    def open(self) -> None:
        """Bind the endpoint.

        :raises ConfigurationError: it is in use, or cannot be bound.
        """
        # A context of its own: closing it does not wait for sockets of others.
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.set(zmq.XPUB_VERBOSE, 1)
        self._socket.set(zmq.XPUB_NODROP, 1)
        self._socket.set(zmq.SNDHWM, PIPE_LIMIT)
        self._socket.set(zmq.RCVHWM, SUBSCRIPTIONS_WAITING)
        self._socket.set(zmq.MAXMSGSIZE, LONGEST_SUBSCRIPTION)
        self._socket.set(zmq.SNDTIMEO, SEND_TIMEOUT)
        self._socket.set(zmq.LINGER, LINGER)
        self._socket.set(zmq.IPV6, int("[" in self.endpoint))
        try:
            path = _ipc_path(self.endpoint)
            if path is not None:
                _check_unused(path)
            self._socket.bind(self.endpoint)
            self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)
            if path is not None:
                os.chmod(self.endpoint.removeprefix("ipc://"), IPC_MODE)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            number = error.errno or 0
            raise ConfigurationError(
                f"endpoint {self.endpoint} cannot be bound: {os.strerror(number)}"
                f"{_HINTS.get(number, '')}"
            ) from None
        if not _is_local(self.endpoint):
            LOG.warning(
                "publishing on %s, which other hosts can reach. The ports of one "
                "host are meant for the controller of that host: use loopback or ipc",
                self.endpoint,
            )

    def close(self) -> None:
        """Close the socket, and wait for messages in transit for at most LINGER."""
        if self._context is not None:
            self._socket.close()
            self._context.term()
            self._context = None

    def new_subscribers(self) -> bool:
        """Return whether anyone has subscribed to the topic since the last call.

        :raises SinkUnavailable: the endpoint had to be bound again, and cannot be.
        """
        if self._context is None:
            self._rebind()
        new = False
        with contextlib.suppress(zmq.Again):
            for _ in range(SUBSCRIPTIONS_A_TURN):
                notice = self._socket.recv(zmq.NOBLOCK)
                subscribed, prefix = notice[:1] == b"\x01", notice[1:]
                if not self._prefix.startswith(prefix):
                    self._foreign += subscribed
                    if self._foreign > FOREIGN_LIMIT:
                        LOG.warning(
                            "more than %d subscriptions to other topics than %s on %s: all "
                            "subscribers are disconnected, and controllers connect again",
                            FOREIGN_LIMIT,
                            self._topic,
                            self.endpoint,
                        )
                        self._rebind()
                        break
                    continue
                if subscribed:
                    self._subscriptions.add(prefix)
                    new = True
                else:  # sent when the last subscriber has left
                    self._subscriptions.discard(prefix)
        return new

    def _rebind(self) -> None:
        """Replace the socket by a new one, which has no subscriptions."""
        self.close()
        self._foreign = 0
        self._subscriptions.clear()
        try:
            self.open()
        except ConfigurationError as error:
            raise SinkUnavailable(str(error)) from None

    def send(self, table: str | None, key: str | None, action: str, value: str | None) -> None:
        """Publish a message, whether or not there is a subscriber.

        A deletion without a subscriber is kept, and sent first when one subscribes. A controller
        that kept running while dfovsdb was restarted subscribes again only after the first sync,
        and the resend that it receives contains only present ports.

        :raises SinkUnavailable: a subscriber does not read, and its queue is full.
        """
        message = TableUpdate(table, key, action, value, self._topic)
        if self._subscriptions:
            for unheard in list(self._unheard):
                self._send(self._unheard[unheard])
                del self._unheard[unheard]
            self._send(message)
        elif action == "delete" and key is not None:
            if len(self._unheard) >= UNHEARD_LIMIT:
                del self._unheard[next(iter(self._unheard))]
            self._unheard[key] = message

    def _send(self, message: TableUpdate) -> None:
        frames = (self._prefix, msgspec.msgpack.encode(message))
        try:
            self._socket.send_multipart(frames)
        except zmq.Again:
            raise SinkUnavailable(
                f"a subscriber of {self.endpoint} does not read: {PIPE_LIMIT} messages "
                "are queued for it"
            ) from None


def _ipc_path(endpoint: str) -> str | None:
    """Return the file of an ipc endpoint; None for tcp, and for a name that is no file's."""
    path = endpoint.removeprefix("ipc://")
    return None if path == endpoint or path.startswith("@") else path


def _check_unused(path: str) -> None:
    """Check that nothing else is at the path, because ZeroMQ deletes it to replace a stale socket.

    :raises OSError: something listens there, or it is not a socket.
    """
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        if client.connect_ex(path) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _is_local(endpoint: str) -> bool:
    """Return whether only this host can reach what is bound; the address is numeric."""
    if not endpoint.startswith("tcp://"):
        return True
    address = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
