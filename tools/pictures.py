"""Make the pictures of docs/operating.md from what the commands really print.

    python tools/pictures.py FOLDER

Every command runs on a terminal of its own, on a sandbox with a small host in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from rich import _export_format
from rich.console import Console
from rich.text import Text

from dfovsdb.testing import Sandbox

WIDTH, HEIGHT = 100, 24
_DEADLINE = 20.0  # seconds
#: Of the SVG: fonts that a browser would fetch from elsewhere.
_FETCHED_FONTS = re.compile(r"@font-face \{\{.*?\}\}\n?", re.DOTALL)


class Terminal:
    """A command on a terminal."""

    def __init__(self, *args: str, width: int = WIDTH) -> None:
        self.command = " ".join(("dfovsdb", *args))
        self.width = width
        self._shown = bytearray()
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", *args],
            stdout=follower,
            stderr=follower,
            env=environment | {"TERM": "xterm-256color"},
        )
        os.close(follower)

    def wait_for(self, message: str) -> str:
        """Everything that it has printed once it has printed these."""
        deadline = time.monotonic() + _DEADLINE
        while message not in self._read():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.command}: no {message!r} in {self._read()!r}")
        return self._read()

    def end(self) -> str:
        """Ctrl-C; everything that it has printed."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_DEADLINE)
        shown = self._read()
        os.close(self._leader)
        return shown

    def _read(self) -> str:
        if select.select([self._leader], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):  # the command has ended
                self._shown += os.read(self._leader, 1 << 16)
        return self._shown.decode(errors="replace").replace("\r\n", "\n")


def main(folder: Path) -> None:
    """Write all pictures into the folder."""
    folder.mkdir(exist_ok=True)
    with Sandbox() as switch:
        _furnish(switch)
        at = switch.connection
        Terminal("wait", at, "--name", "eth9", "--state", "failed").wait_for("\n")
        for name, message in (("ports", " ports: "), ("doctor", "wrong\n")):
            terminal = Terminal(name, at, *(["--verify"] if name == "doctor" else []))
            _save(folder, name, terminal, terminal.wait_for(message).rstrip("\n"))
            terminal.end()
        watch, live = Terminal("watch", at), Terminal("watch", "--live", at, width=80)
        watch.wait_for("is complete")
        live.wait_for("vxlan-0a0a0a02")
        frame = _happens(switch, watch, live)
        _save(folder, "live", live, frame)
        live.end()
        _save(folder, "watch", watch, watch.end().replace("^C", "").rstrip("\n"))


def _furnish(switch: Sandbox) -> None:
    for bridge in ("br-int", "br-ex"):
        switch.add_bridge(bridge)
    for number in (2, 3):
        remote = f"options:remote_ip=10.10.10.{number}"
        _add(switch, f"vxlan-0a0a0a0{number}", "type=vxlan", remote, "options:key=flow")
    _add(switch, "int-br-ex", "type=patch", "options:peer=phy-br-ex")
    _add(switch, "qr-5d0cba27-33", "type=internal", "external_ids:iface-id=5d0cba27")
    for name in ("tap4aa64e21-d9", "tap9b1c7f02-5e"):
        _boot(switch, name)
    _add(switch, "eth9", "external_ids:iface-id=9f3e1c44")  # a device that is not there


def _happens(switch: Sandbox, watch: Terminal, live: Terminal) -> str:
    """A VM boots, another leaves; a frame of the live table that shows both."""
    _boot(switch, "tapc03fe815-aa")
    switch.vsctl("del-port", "tap9b1c7f02-5e")
    watch.wait_for("offline")
    return _frame(live, lambda frame: "tapc03fe815-aa" in frame and "offline" in frame)


def _frame(live: Terminal, fits: Callable[[str], bool]) -> str:
    """The last whole frame that fits; each begins where the cursor goes home."""
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        frames = live.wait_for("\x1b[H").split("\x1b[H")[1:-1]
        if fitting := [frame for frame in frames if fits(frame)]:
            return fitting[-1].rstrip()
    raise SystemExit("the live table never showed it")


def _boot(switch: Sandbox, name: str) -> None:
    iface_id = f"{name.removeprefix('tap')}d6-497e-bfa9-cf6dbb574054"
    _add(switch, name, "type=dummy", f"external_ids:iface-id={iface_id}")


def _add(switch: Sandbox, name: str, *settings: str) -> None:
    switch.vsctl(
        "--no-wait", "add-port", "br-int", name, "--", "set", "interface", name, *settings
    )


def _save(folder: Path, name: str, terminal: Terminal, output: str) -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=terminal.width, file=nowhere)
        for line in output.split("\n"):
            console.print(Text.from_ansi(line), soft_wrap=True)
        console.save_svg(
            str(folder / f"{name}.svg"),
            title=terminal.command,
            code_format=_FETCHED_FONTS.sub("", _export_format.CONSOLE_SVG_FORMAT),
            unique_id=f"dfovsdb-{name}",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
