"""One agent, and one server after the other that tries to fill its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dfovsdb.testing import Sandbox, wait_until
from tests.functional import faultproxy
from tests.functional.churning import Churn
from tests.functional.faultproxy import Fault, FaultProxy

LIMIT = 200  # MB

_MEGABYTE = 1 << 20


def _endless(beginning: bytes, piece: bytes) -> type[Fault]:
    """A server that begins a message and never ends it."""

    class Endless(Fault):
        greets = False

        def to_client(self, data: bytes) -> Iterator[bytes]:  # noqa: ARG002 - it is not read
            yield beginning
            while True:
                yield piece * (65536 // len(piece))

    return Endless


def _each(message: bytes) -> type[Fault]:
    """A server that sends one message again and again."""
    return _endless(b"", message)


def _rows(number: int) -> dict[str, Any]:
    row = {"name": "x" * 200, "external_ids": ["map", [["iface-id", "y" * 200]]]}
    uuids = (f"00000000-0000-0000-0000-{at:012x}" for at in range(number))
    table = {uuid: {"insert": row} for uuid in uuids}
    return {"id": None, "method": "update2", "params": ["dfovsdb", {"Interface": table}]}


def hostile() -> dict[str, Callable[[Random], Fault]]:
    """Return the servers by name. They hold megabytes, which no other test is to carry."""
    return {
        "a string without an end": faultproxy.EndlessMessage,
        "nesting without an end": _endless(b'{"id":', b"["),
        "blanks without an end": _endless(b"", b" "),
        "an array without an end": _endless(b'{"id":1,"error":null,"result":[', b"[],"),
        "members without an end": _endless(b'{"id":1,"error":null,"result":{', b'"a":{},'),
        "notifications": faultproxy.Flood,
        "probes that are never answered": _each(b'{"id":"e","method":"echo","params":["xxxx"]}'),
        "a long id": faultproxy.inserting(b'{"id":[' + b"[]," * (2 * _MEGABYTE) + b"[]]}"),
        "a long error": faultproxy.inserting(
            b'{"id":1,"result":null,"error":"' + b"e" * 20 * _MEGABYTE + b'"}'
        ),
        "a long probe": faultproxy.inserting(
            b'{"id":"e","method":"echo","params":["' + b"p" * 20 * _MEGABYTE + b'"]}'
        ),
        "a long uuid": faultproxy.inserting(
            b'{"id":null,"method":"update2","params":["dfovsdb",{"Interface":{"'
            + b"u" * 20 * _MEGABYTE
            + b'":{"insert":{"name":"a"}}}}]}'
        ),
        "thirty thousand rows": faultproxy.inserting(_rows(30_000)),
    }


@pytest.mark.slow
def test_no_server_fills_the_memory_of_an_agent(tmp_path: Path) -> None:
    with Sandbox() as box, FaultProxy(box.connection) as proxy:
        box.add_bridge("br-int")
        conf, log = tmp_path / "conf", tmp_path / "log"
        conf.write_text(
            f"[ovsdb]\nconnection = {proxy.connection}\ninactivity_probe = 1\nreconnect_max = 1\n"
            "[dfovsdb]\nsinks = log\n"
        )
        with log.open("wb") as file:
            agent = subprocess.Popen(
                [sys.executable, "-m", "dfovsdb", "--config-file", str(conf), "run"], stderr=file
            )
        try:
            with Churn(box) as churn:
                for name, fault in hostile().items():
                    syncs, accepted = _syncs(log), proxy.accepted
                    proxy.fault = fault
                    proxy.cut()
                    # some are refused, and some are ignored
                    wait_until(
                        partial(_is_met, proxy, accepted + 3, log, syncs),
                        what=name,
                    )
                    churn.wait_for_rounds(20)
                    syncs = _syncs(log)
                    proxy.heal()
                    wait_until(partial(_has_synced, log, syncs), what=f"a sync after {name}")
                    assert agent.poll() is None, name
                    most = _peak(agent.pid)
                    assert most < LIMIT, f"{most} MB after {name}"
        finally:
            agent.kill()
            agent.wait()


def _is_met(proxy: FaultProxy, connections: int, log: Path, syncs: int) -> bool:
    return proxy.accepted >= connections or _has_synced(log, syncs)


def _has_synced(log: Path, before: int) -> bool:
    return _syncs(log) > before


def _syncs(log: Path) -> int:
    return log.read_text().count(": synced, ")


def _peak(pid: int) -> int:
    """The most memory that a process has had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024
