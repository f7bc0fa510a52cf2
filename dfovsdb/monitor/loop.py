"""The loop: bytes become messages and messages facts, on one thread, until it is stopped.

Below it every sink is on a thread of its own (delivery/dispatcher.py), so nothing here ever waits
for a sink.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dfovsdb.errors import ConnectionLost, ProtocolError
from dfovsdb.logs import get_logger
from dfovsdb.monitor.outage_log import OutageLog
from dfovsdb.monitor.pipeline import Pipeline
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.session import Session, Snapshot
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.text.escape import clean, counted

if TYPE_CHECKING:
    from dfovsdb.tls import Tls

THREAD = "dfovsdb-monitor"  #: name of the thread of the loop
PULSE = 5.0  #: longest time in seconds between two iterations, so that the loop is seen to respond

LOG = get_logger(__name__)


class Loop:
    """Reads one server, and reconnects, until it is stopped.

    :param ended: called when the thread has ended, or was never started and is stopped.
    """

    def __init__(
        self,
        address: Address,
        tls: Tls | None,
        session: Session,
        pipeline: Pipeline,
        ended: Callable[[], None],
    ) -> None:
        self.address = address
        self.session = session
        self.outage = OutageLog()
        self.was_synced = threading.Event()
        self.started = False  #: from the moment when its start begins
        self.stopping = False
        self.died: BaseException | None = None  #: why the loop ended by itself
        self.turned_at = 0.0  #: monotonic seconds, as the next two
        self.unsynced_since: float | None = None
        self.next_try_at: float | None = None
        self.syncs = 0
        self.sync_seconds: float | None = None
        self._tls = tls
        self._pipeline = pipeline
        self._ended = ended
        self._connected_at = 0.0  # monotonic seconds
        self._transport: Transport | None = None
        self._thread: threading.Thread | None = None
        self._process: int | None = None  # that has the thread

    @property
    def over(self) -> bool:
        """Return whether it was stopped, or has ended by itself, or stayed in another process."""
        return self.stopping or self.died is not None or self.is_copy

    @property
    def is_copy(self) -> bool:
        """Return whether this is a forked process, which has none of the threads."""
        return self._process not in (None, os.getpid())

    @property
    def running(self) -> bool:
        """Return whether it is started, not stopped, and has not ended by itself."""
        return self._thread is not None and not self.over

    @property
    def alive(self) -> bool:
        """Return whether it responds: it does every few seconds, connected or not."""
        turning = time.monotonic() - self.turned_at < 3 * PULSE
        return self._thread is not None and self._thread.is_alive() and turning

    @property
    def condition(self) -> str:
        """Return the state of the connection in one line: `synced`, or what is waited for."""
        if self.died is not None:
            return f"ended by itself: {type(self.died).__name__}: {clean(str(self.died))}"
        if self.stopping:
            return "stopped"
        if self.is_copy:
            return "it runs in the process that started it, not in this fork; make another Monitor"
        if busy := self._pipeline.busy():
            return busy
        if self.outage.text:
            return f"waiting: {clean(self.outage.text, 2000)}"
        return "synced" if self.session.synced else "connecting"

    def start(self) -> None:
        """Begin to connect, on a thread of its own."""
        self.turned_at = self.unsynced_since = time.monotonic()
        self._process = os.getpid()
        self._transport = Transport(self.address, self._tls)
        self._thread = threading.Thread(
            target=self._run, args=(self._transport,), name=THREAD, daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Disconnect, and wait that many seconds for the thread to end."""
        self.stopping = True
        if self._thread and self._transport:
            self._transport.wake()
            if self._thread is not threading.current_thread():
                self._thread.join(timeout)
        self.was_synced.set()
        self._ended()

    def _run(self, transport: Transport) -> None:
        try:
            with transport:
                while not self.stopping:
                    if lost := self.turn(self.session, transport):
                        transport.close()
                        self._is_lost(lost, time.monotonic())
            self._pipeline.sum_up()
        except BaseException as error:
            self.died = error
            LOG.critical(
                "the monitor thread ended by itself: no change is seen any more; restart the "
                "program and report this error",
                exc_info=error,
            )
        finally:
            self.was_synced.set()  # who waits for it looks at what it means
            self._ended()

    def turn(self, session: Session, transport: Transport) -> ConnectionLost | None:
        """Connect if it is time to, then read once and publish the result."""
        try:
            self.turned_at = time.monotonic()
            step = session.next_step(self.turned_at)
            if step == "connect":
                self.next_try_at = None
                session.connecting(time.monotonic())
                transport.open()
            elif step == "disconnect":
                return ConnectionLost(f"{self.address}: {transport.silence}", "silent")
            if transport.ready and not session.connected:
                self._connected_at = time.monotonic()
                session.begin(self._connected_at)
            transport.send(session.outgoing())
            timeout = session.timeout(time.monotonic())
            data = transport.wait(PULSE if timeout is None else min(timeout, PULSE))
            for message in session.received(data, time.monotonic()):
                self._pipeline.apply(message)
                if isinstance(message, Snapshot):
                    self._is_synced()
        except ConnectionLost as lost:
            return lost
        except Exception as error:  # noqa: BLE001 - ours, or one of Python's: start over, say it
            self._pipeline.forget()
            mistake = ProtocolError(f"internal error: {error!r}", "internal")
            mistake.__cause__ = error
            return mistake
        return None

    def _is_lost(self, lost: ConnectionLost, now: float) -> None:
        if self.session.synced:
            self.unsynced_since = now
        self.session.lost(lost, now)
        wait = self.session.timeout(now)
        self.next_try_at = None if wait is None else now + wait
        self.outage.say(lost, now)

    def _is_synced(self) -> None:
        now = time.monotonic()
        lasted = self.outage.over(now)
        self.unsynced_since = None
        self.sync_seconds = now - self._connected_at
        self.syncs += 1
        self.was_synced.set()
        after = "" if lasted is None else f", after {lasted:.1f} s without the server"
        LOG.info(
            "%s: synced, %s%s", self.address, counted(self._pipeline.rows, "interface"), after
        )
