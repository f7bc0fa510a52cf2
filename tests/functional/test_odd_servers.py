"""Commands against servers that answer in any way but the right one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.waiting import DEADLINE

Answer = Callable[[str, list[Any]], Any]

SCHEMA = {
    "name": "Open_vSwitch",
    "version": "8.3.0",
    "tables": {
        "Interface": {
            "columns": {
                name: {"type": "string"}
                for name in ("name", "type", "ofport", "external_ids", "error", "options")
            }
        }
    },
}


def other_rows(rows: Any) -> Answer:
    """A server that is right but for the rows that it sends."""

    def answer(method: str, _params: list[Any]) -> Any:
        if method == "list_dbs":
            return ["Open_vSwitch"]
        if method == "get_schema":
            return SCHEMA
        if method in ("monitor", "monitor_cond"):
            return {"Interface": rows}
        return [{"rows": rows}]

    return answer


def always(value: Any) -> Answer:
    return lambda _method, _params: value


ODD: dict[str, Answer] = {
    "null": always(None),
    "true": always(True),
    "number": always(7),
    "text": always("x"),
    "list": always([]),
    "list of lists": always([[[]]]),
    "object": always({}),
    "object of null": always({"tables": None, "Interface": None}),
    "rows are text": other_rows("x"),
    "rows are a list": other_rows(["x", 7, None]),
    "a row is null": other_rows({"u": {"initial": None}}),
    "a row is a list": other_rows({"u": {"initial": []}}),
    "a name is a number": other_rows({"u": {"initial": {"name": 7}}}),
    "an ofport is text": other_rows({"u": {"initial": {"name": "a", "ofport": "x"}}}),
    "a map is a set": other_rows({"u": {"initial": {"name": "a", "external_ids": ["set", [1]]}}}),
}


def requests(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield what the other side sends, message by message."""
    decoder, text = json.JSONDecoder(), ""
    while data := connection.recv(65536):
        text += data.decode()
        while text := text.lstrip():
            try:
                request, end = decoder.raw_decode(text)
            except ValueError:
                break
            text = text[end:]
            yield request


def talk(connection: socket.socket, answer: Answer) -> None:
    with connection:
        for request in requests(connection):
            if request.get("method") is not None and request.get("id") is not None:
                result = answer(request["method"], request["params"])
                reply = {"id": request["id"], "result": result, "error": None}
                connection.sendall(json.dumps(reply).encode())


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start a server with these answers; returns its connection."""
    listeners: list[socket.socket] = []

    def accept(listener: socket.socket, answer: Answer) -> None:
        try:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=(connection, answer), daemon=True).start()
        except OSError:
            return

    def start(answer: Answer) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener, answer), daemon=True).start()
        return f"tcp:127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    "command", [("doctor",), ("doctor", "--verify"), ("ports",)], ids=" ".join
)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_server_is_said_without_a_traceback(
    serve: Callable[[Answer], str], odd: str, command: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", *command, serve(ODD[odd])],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    # an object without tables is a switch without interfaces
    assert done.returncode == (0 if (odd, command) == ("object", ("ports",)) else 1), said
    assert all(len(line) < 2500 for line in said.splitlines())
