"""A scripted day of a host: a sandbox, a monitor on it, and what an operator would see."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from dfovsdb.cli.web import LISTEN
from dfovsdb.defaults import DEFAULT_CONNECTION
from dfovsdb.errors import DfovsdbError
from dfovsdb.model import TABLES, Port, PortEvent, SyncMarker
from dfovsdb.monitor import Monitor
from dfovsdb.sinks.base import Sink
from dfovsdb.telemetry import listen_address
from dfovsdb.testing.sandbox import Sandbox, SandboxError
from dfovsdb.text.escape import counted
from dfovsdb.text.events import terminal_lines

_WAIT = 20.0  # seconds for the effects of the switch to arrive
_PORT = int(DEFAULT_CONNECTION.rpartition(":")[2])


def play(*, pause: float, record: str | None = None, web: bool = False) -> bool:
    """Play the day on standard output.

    :param pause: seconds between two scenes.
    :param record: file for a recording of the day.
    :param web: serve the page too, and stay until Ctrl-C.
    :returns: whether the reported ports are the ports of the switch at the end.
    :raises SandboxError: Open vSwitch is not installed.
    """
    with _sandbox() as sandbox:
        screen = _Screen()
        options: dict[str, Any] = {"host": "demo", "record": record} if record else {}
        if web:
            options |= {"host": "demo", "tables": TABLES}
        monitor = Monitor(sandbox.tcp_connection, sinks=[screen], **options)
        page = listen_address.web("--web")(LISTEN, monitor) if web else contextlib.nullcontext()
        with monitor, page:
            if web:
                print(f"Open http://{LISTEN}/ in a browser; the day begins in 5 seconds.\n")
                time.sleep(5)
            day = _Day(sandbox, monitor, screen, pause)
            day.play()
            settled = day.settles()
            screen.summary(settled=settled)
            while web:
                time.sleep(1)  # until Ctrl-C
        return settled


def _sandbox() -> Sandbox:
    """Return a sandbox on the standard port if that is free, otherwise on another."""
    try:
        return Sandbox(port=_PORT).start()
    except SandboxError:
        return Sandbox().start()


class _Day:
    """Play the script."""

    def __init__(self, sandbox: Sandbox, monitor: Monitor, screen: _Screen, pause: float) -> None:
        self._sandbox = sandbox
        self._monitor = monitor
        self._screen = screen
        self._pause = pause

    def play(self) -> None:
        vsctl, say = self._sandbox.vsctl, self._scene
        say(f"A switch on {self._sandbox.tcp_connection}; its first bridge")
        self._sandbox.add_bridge("br-int")
        self._ready("br-int")

        say("Tunnels to three other hosts")
        self._sandbox.add_bridge("br-tun")
        for number, tunnel in enumerate(("vxlan", "gre", "geneve"), start=1):
            name = f"{tunnel}-host{number}"
            vsctl(
                "add-port",
                "br-tun",
                name,
                "--",
                "set",
                "interface",
                name,
                f"type={tunnel}",
                f"options:remote_ip=10.10.10.{number}",
            )
            self._ready(name)

        say("A patch pair joins the two bridges")
        vsctl(
            *self._patch("br-int", "patch-tun", "patch-int"),
            "--",
            *self._patch("br-tun", "patch-int", "patch-tun"),
        )
        self._ready("patch-int")

        say("Two VMs boot")
        self._boot("tap4aa64e21-d9", "4aa64e21-d9d6-497e-bfa9-cf6dbb574054", "01")
        self._boot("tap7c1e5b02-3f", "7c1e5b02-3f44-4a0b-9d1c-2f6a51f0a9e3", "02")

        say("A VM whose device does not exist")
        vsctl(
            "add-port",
            "br-int",
            "vhu-broken",
            "--",
            "set",
            "interface",
            "vhu-broken",
            "external_ids:iface-id=0b9d3c1e-0000-4b5a-8000-000000000003",
        )
        self._until(lambda p: p.name == "vhu-broken" and p.state == "failed")

        say("It is removed, and the first VM shuts down")
        vsctl("del-port", "vhu-broken")
        vsctl("del-port", "tap4aa64e21-d9")
        self._gone("tap4aa64e21-d9")

        say("The database is killed; a tunnel leaves and a VM arrives in the meantime")
        self._sandbox.stop_database(kill=True)
        with self._sandbox.hidden_database():
            self._sandbox.vsctl("--no-wait", "del-port", "gre-host2")
            self._boot("tap91d0c7aa-5e", "91d0c7aa-5e10-4a3c-8f7e-6b1c2d3e4f50", "03", wait=False)
        say("It is back: everything is sent again, and the port that left goes offline")
        self._sandbox.start_database()
        self._ready("tap91d0c7aa-5e")

        say("The last scene: the tunnel bridge is removed")
        vsctl("del-br", "br-tun")
        self._gone("br-tun")

    def settles(self) -> bool:
        """Return whether the reported ports become those of the switch."""
        return self._wait(lambda: self._screen.ports == self._monitor.ports())

    @staticmethod
    def _patch(bridge: str, name: str, peer: str) -> tuple[str, ...]:
        return (
            "add-port",
            bridge,
            name,
            "--",
            "set",
            "interface",
            name,
            "type=patch",
            f"options:peer={peer}",
        )

    def _boot(self, name: str, iface_id: str, mac: str, *, wait: bool = True) -> None:
        self._sandbox.vsctl(
            "--no-wait",
            "add-port",
            "br-int",
            name,
            "--",
            "set",
            "interface",
            name,
            "type=dummy",
            f"external_ids:iface-id={iface_id}",
            f'external_ids:attached-mac="fa:16:3e:00:00:{mac}"',
            "external_ids:iface-status=active",
        )
        if wait:
            self._until(lambda p: p.name == name and p.link_state is not None)

    def _ready(self, name: str) -> None:
        self._until(lambda port: port.name == name and port.state == "ready")

    def _until(self, predicate: Callable[[Port], bool]) -> None:
        self._monitor.wait_for(predicate, timeout=_WAIT)

    def _gone(self, name: str) -> None:
        if not self._wait(lambda: all(p.name != name for p in self._screen.ports.copy().values())):
            raise DfovsdbError(f"{name} does not go offline")

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _WAIT
        while not (done := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return done

    def _scene(self, text: str) -> None:
        time.sleep(self._pause)
        self._screen.scene(text)


class _Screen(Sink):
    """Prints events between the scenes, and counts them."""

    def __init__(self) -> None:
        self.ports: dict[str, Port] = {}
        self._counts: Counter[str] = Counter()
        self._terminal = sys.stdout.isatty()
        self._colour = self._terminal and "NO_COLOR" not in os.environ
        self._columns = shutil.get_terminal_size().columns if self._terminal else None

    def scene(self, text: str) -> None:
        """Announce what happens next."""
        print(f"\n\x1b[1m{text}\x1b[0m" if self._colour else f"\n{text}", flush=True)

    def emit(self, event: PortEvent) -> None:
        self._counts[event.action] += 1
        if event.action == "offline":
            del self.ports[event.port.uuid]
        else:
            self.ports[event.port.uuid] = event.port
        self._print(event)

    def sync_started(self, marker: SyncMarker) -> None:
        self._print(marker)

    def sync_finished(self, marker: SyncMarker) -> None:
        self._counts["syncs"] += 1
        self._print(marker)

    def summary(self, *, settled: bool) -> None:
        """Print what has happened."""
        counts = self._counts
        left = counted(len(self.ports), "port is", "ports are")
        self.scene("The day is over")
        print(
            f"{counts['online']} online, {counts['updated']} updated, {counts['offline']} "
            f"offline, {counts['syncs']} syncs; {left} left. The ports "
            f"reported are {'exactly' if settled else 'NOT'} those of the switch."
        )

    def _print(self, item: PortEvent | SyncMarker) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        for line in terminal_lines(item, colour=self._colour, width=self._columns):
            sys.stdout.buffer.write(line.encode(encoding, errors="replace") + b"\n")
        sys.stdout.buffer.flush()
