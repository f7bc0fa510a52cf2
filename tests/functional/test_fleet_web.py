"""dfovsdb fleet web: the hosts, where a VIF is, and the page of a host, from a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from dfovsdb.testing import wait_until
from tests.freeports import free_port
from tests.functional.test_fleet import Agent, vif
from tests.functional.test_page import AXE, faults
from tests.functional.test_page import browser as browser
from tests.natsserver import NatsServer
from tests.waiting import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class Served:
    """The command, and what it answers; a context manager."""

    def __init__(self, server: NatsServer) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        where = self.url.removeprefix("http://")
        command = [sys.executable, "-m", "dfovsdb", "fleet", "web", "--servers", server.url]
        self._process = subprocess.Popen(
            [*command, "--listen", where],
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self.url in self._process.stdout.readline().decode()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=DEADLINE)

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=DEADLINE) as answer:
                text = answer.read().decode()
                kind = answer.headers["Content-Type"]
                return answer.status, json.loads(text) if "json" in kind else text
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


def test_hosts_where_and_conflicts_are_answered(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as one, Agent(server, "cmp-2") as two, Served(server) as served:
        one.sync(vif("v1"))
        two.sync(vif("v2", "u-2"))
        wait_until(lambda: len(served.get("/hosts")[1]) == 2)
        _, hosts = served.get("/hosts")
        assert [(host["host"], host["ports"]) for host in hosts] == [("cmp-1", 1), ("cmp-2", 1)]
        _, claims = served.get("/where?iface_id=v2")
        assert [(claim["host"], claim["port"]["name"]) for claim in claims] == [
            ("cmp-2", "tap-v2")
        ]
        assert served.get("/where?iface_id=nobody")[1] == []
        assert served.get("/where")[0] == 400
        assert served.get("/conflicts") == (200, [])
        status, text = served.get("/nosuch")
        assert status == 404
        assert "/host/NAME/" in text


def test_before_any_agent_has_written_one_line_says_so(server: NatsServer) -> None:
    with Served(server) as served:
        for path in ("/hosts", "/conflicts", "/where?iface_id=v1"):
            status, text = served.get(path)
            assert (status, text.count("\n")) == (503, 1)
            assert text.startswith("no agent has written to these servers yet: ")


def test_a_nats_server_that_is_gone_is_one_line_and_comes_back(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as agent, Served(server) as served:
        agent.sync(vif("v1"))
        assert served.get("/where?iface_id=v1")[0] == 200
        server.stop()
        status, text = served.get("/where?iface_id=v1")
        assert status == 503
        assert len(text.splitlines()) == 1
        server.start()
        wait_until(lambda: served.get("/where?iface_id=v1")[0] == 200)


def test_the_events_of_all_hosts_go_on_where_a_client_was(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as one, Agent(server, "cmp-2") as two, Served(server) as served:
        one.sync(vif("v1"))
        two.sync(vif("v2", "u-2"))

        def until(name: str, last: str = "") -> list[tuple[str, str, str]]:
            """The events up to one of this port: id, host and name."""
            request = urllib.request.Request(served.url + "/events")
            if last:
                request.add_header("Last-Event-ID", last)
            found: list[tuple[str, str, str]] = []
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                number = ""
                for line in answer:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        number = value
                    elif field == "data" and "port" in (event := json.loads(value)):
                        found.append((number, event["host"], event["port"]["name"]))
                        if event["port"]["name"] == name:
                            return found
            raise AssertionError("the stream has ended")

        first = until("tap-v2")
        assert [(host, name) for _, host, name in first] == [
            ("cmp-1", "tap-v1"),
            ("cmp-2", "tap-v2"),
        ]
        one.tell(vif("v3", "u-3"))
        two.tell(None, "u-2")
        again = until("tap-v2", last=first[-1][0])
        assert [(host, name) for _, host, name in again] == [
            ("cmp-1", "tap-v3"),
            ("cmp-2", "tap-v2"),
        ]
        # a place that is not in this log, as after it was made again: from the beginning
        assert until("tap-v1", last="999999999999")[0][:1] == first[0][:1]


def test_the_pages_show_the_cloud_and_a_host_live(server: NatsServer, browser: Browser) -> None:
    problems: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(DEADLINE * 1000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda said: problems.append(said.text) if said.type == "error" else None,
    )
    # The browser's event loop runs in this thread, and those of the agents need another.
    with ThreadPoolExecutor(1) as hand, Served(server) as served:

        def do(what: Callable[..., Any], *with_: Any) -> Any:
            return hand.submit(what, *with_).result(DEADLINE)

        def shows(selector: str, text: str) -> None:
            wait_until(lambda: text in (page.text_content(selector) or ""), what=text)

        one, two = do(Agent, server, "cmp-1"), do(Agent, server, "cmp/2 <b>")
        do(one.sync, vif("v1"))
        do(two.sync, vif("v2", "u-2"), vif("v3", "u-3"))
        page.goto(served.url + "/")
        shows("#condition", "2 hosts, 2 fresh, 0 stale: 3 ports")
        shows("#events", "tap-v3")
        do(one.tell, vif("v5", "u-5"))
        wait_until(lambda: "tap-v5" in (page.text_content("#events li") or ""))  # the newest first
        assert (page.text_content("#events li") or "").startswith("cmp-1 ")
        if AXE.exists():
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert faults(page) == []
        page.fill("#iface-id", "v3")
        page.press("#iface-id", "Enter")
        shows("#claims", "tap-v3")
        page.click("#claims a")  # to the page of the host, at the port
        shows("#detail-title", "tap-v3")
        shows("#host", "cmp/2 <b>")
        shows("#events", "tap-v2")  # from before the page was opened
        do(two.tell, vif("v4", "u-4"))
        shows("#found", "3 ports")
        do(two.tell, None, "u-2")
        shows("#found", "2 ports")
        shows("#condition", "synced")
        page.close()
        for agent in (one, two):
            do(agent.sink.close)
    assert problems == []
