"""The page in a real browser, beside a real switch."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pytest

from dfovsdb import Monitor
from dfovsdb.model import TABLES
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import Sandbox, wait_until
from tests.freeports import free_port
from tests.functional.test_hostile import HOSTILE
from tests.functional.test_odd_servers import requests
from tests.waiting import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "chromium-headless-shell")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
#: From now on, window.frames_ has the milliseconds between two frames.
COUNT_FRAMES = (
    "window.frames_ = []; let last = performance.now();"
    "(function next(now) { window.frames_.push(now - last); last = now;"
    " requestAnimationFrame(next); })(last)"
)
AXE = Path(__file__).parents[2] / ".cache/npm/axe-core/package/axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium: tools/chromium.sh fetches one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page that follows a switch; what must never happen in it is kept."""

    def __init__(self, browser: Browser, connection: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.connection = connection
        self.problems: list[str] = []
        self._start()
        self.page: Page = browser.new_page()
        self.page.set_default_timeout(DEADLINE * 1000)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", self._asked)
        self.page.goto(self.web.url + "/")

    def _start(self) -> None:
        self.monitor = Monitor(self.connection, tables=TABLES, host="cmp-17", reconnect_max=1)
        self.web = Web(str(self.port), self.monitor)
        self.monitor.start()
        self.web.__enter__()

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self.web.close()
        self.monitor.stop()

    def _said(self, message: Any) -> None:
        # what the browser itself says of a server that is not there
        if message.type == "error" and "net::ERR_" not in message.text:
            self.problems.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.web.url + "/", "data:")):
            self.problems.append(f"a request to {request.url}")

    def ports(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.web.url + "/ports", timeout=DEADLINE) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def shown(self) -> dict[str, tuple[str, str]]:
        return shown(self.page)

    def chips(self) -> list[str]:
        return chips(self.page)

    def equals_the_agent(self) -> bool:
        ports = self.ports()
        table = {port["name"]: (port["kind"], port["state"]) for port in ports}
        return self.shown() == table and self.chips() == sorted(table)

    def text(self, selector: str) -> str:
        return self.page.text_content(selector) or ""


def shown(page: Page) -> dict[str, tuple[str, str]]:
    """The rows of the table that are drawn: name to kind and state."""
    rows = page.evaluate(
        "[...document.querySelectorAll('.body .row')].filter(r => !r.hidden)"
        ".map(r => [...r.children].map(c => c.textContent))"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def chips(page: Page) -> list[str]:
    """The names of the ports in the picture."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.chip .name')].map(c => c.textContent)"
    )
    return sorted(names)


class FakeSwitch:
    """A server of so many rows that Open vSwitch would need minutes to make them."""

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        self._reply = {"Interface": {uuid: {"initial": row} for uuid, row in rows.items()}}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def connection(self) -> str:
        return f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def _serve(self) -> None:
        self._client, _ = self._listener.accept()
        for request in requests(self._client):
            result: Any = request["params"] if request["method"] == "echo" else self._reply
            if request["method"] == "get_schema":
                result = {"tables": {name: {"columns": {}} for name in TABLES}}
            reply = {"id": request["id"], "result": result, "error": None}
            self._client.sendall(json.dumps(reply).encode())

    def update(self, rows: dict[str, Any]) -> None:
        assert self._client is not None
        params = ["dfovsdb", {"Interface": rows}]
        notification = {"id": None, "method": "update2", "params": params}
        self._client.sendall(json.dumps(notification).encode())


@pytest.fixture
def watched(browser: Browser, ovs_sandbox: Sandbox) -> Iterator[Watched]:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.add_bridge("br-tun")
    it = Watched(browser, ovs_sandbox.connection)
    yield it
    it.page.close()
    it.stop()
    assert not it.problems


def add(switch: Sandbox, bridge: str, name: str, *settings: str) -> None:
    switch.vsctl("--no-wait", "add-port", bridge, name, "--", "set", "interface", name, *settings)


def test_the_page_begins_with_what_happened_before_it_was_opened(
    browser: Browser, ovs_sandbox: Sandbox, tmp_path: Path
) -> None:
    """With a jsonl sink the agent shows its events from before a restart, each once."""
    ovs_sandbox.add_bridge("br-int")
    port = free_port()
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text(
        f"[ovsdb]\nconnection = {ovs_sandbox.connection}\n[dfovsdb]\nsinks = events=jsonl\n"
        f"[sink_events]\npath = {tmp_path}/events.jsonl\n[http]\nlisten = {port}\n"
    )
    command = [sys.executable, "-m", "dfovsdb", "--config-file", str(conf), "run"]
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz") as answer:
            return bool(answer.status == 200)
        return False

    for run in (1, 2):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
            try:
                wait_until(is_ready)
                if run == 1:
                    ovs_sandbox.add_bridge("br-ex")
                    ovs_sandbox.vsctl("del-br", "br-ex")
                    events = tmp_path / "events.jsonl"
                    wait_until(lambda file=events: '"offline"' in file.read_text())  # type: ignore[misc]  # bound on purpose
                    continue
                page = browser.new_page()
                page.goto(f"{url}/")

                def lines(shown: Any = page) -> list[str]:
                    found: list[str] = shown.locator("#events li").all_text_contents()
                    return found

                wait_until(lambda said=lines: any("offline" in s and "br-ex" in s for s in said()))  # type: ignore[misc]  # bound on purpose
                online = [s for s in lines() if " online " in s and "br-ex" in s]
                assert len(online) == 1
                page.close()
            finally:
                agent.terminate()


def test_the_page_follows_the_switch(ovs_sandbox: Sandbox, watched: Watched) -> None:
    switch = ovs_sandbox
    for number in range(3):
        add(switch, "br-int", f"tap{number}", "type=dummy", f"external_ids:iface-id=vif-{number}")
    add(switch, "br-int", "to-tun", "type=patch", "options:peer=to-int")
    add(switch, "br-tun", "to-int", "type=patch", "options:peer=to-tun")
    add(switch, "br-tun", "vxlan1", "type=vxlan", "options:remote_ip=10.10.10.1")
    add(switch, "br-int", "vhu-broken", "external_ids:iface-id=vif-broken")
    wait_until(lambda: len(watched.ports()) == 9 and watched.equals_the_agent())
    wait_until(lambda: watched.page.locator(".lines path.patch").count() == 1)
    wait_until(lambda: watched.page.locator(".lines path.tunnel").count() == 1)
    assert watched.text(".remotes li[data-remote='10.10.10.1']") == "10.10.10.1"
    wait_until(lambda: "failed: 1" in watched.text("#counts"))
    assert next(iter(watched.shown())) == "vhu-broken"  # failures first
    assert watched.text("#host") == "cmp-17"
    watched.page.click(".chip[data-label^='tap1,']")
    assert "vif-1" in watched.text("#facts")
    assert watched.page.url.endswith("#iface-id=vif-1")
    switch.vsctl("del-port", "tap1")
    wait_until(lambda: watched.text("#detail-title") == "tap1 (gone)")
    wait_until(watched.equals_the_agent)
    assert "offline" in watched.text("#history")
    assert "offline vm tap1" in watched.text("#events li:first-child")


@pytest.mark.slow
def test_the_day_of_the_demo_is_watched_to_its_end(browser: Browser) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code = (
        "import dfovsdb.cli.demo_day as demo; "
        f"demo.LISTEN = {url.removeprefix('http://')!r}; demo.play(pause=0.1, web=True)"
    )
    problems: list[str] = []
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True) as day:
        assert day.stdout is not None
        assert any(url in line for line in day.stdout)  # up to the line that says where to look
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(url + "/")
        drawn: set[str] = set()
        said = ""
        for said in day.stdout:
            names = page.evaluate(
                "[...document.querySelectorAll('.chip .name')].map(c => c.textContent)"
            )
            drawn.update(names)
            if "The ports reported are" in said:
                break
        assert "The ports reported are exactly those of the switch." in said
        assert len(drawn) > 5  # it moved with the day, and was not drawn at its end alone

        def equal() -> bool:
            with urllib.request.urlopen(url + "/ports", timeout=DEADLINE) as answer:
                ports = {p["name"]: (p["kind"], p["state"]) for p in json.load(answer)}
            return shown(page) == ports and chips(page) == sorted(ports)

        wait_until(equal)
        page.close()
        day.terminate()
    assert problems == []


def test_a_database_that_is_killed_and_an_agent_that_is_restarted_are_said(
    ovs_sandbox: Sandbox, watched: Watched
) -> None:
    wait_until(watched.equals_the_agent)
    ovs_sandbox.stop_database(kill=True)
    wait_until(lambda: "waiting: " in watched.text("#condition"))
    ovs_sandbox.start_database()
    wait_until(lambda: ": synced" in watched.text("#condition"))
    watched.stop()
    wait_until(lambda: watched.page.is_visible("#banner"))
    assert "The agent cannot be reached. What is shown is from" in watched.text("#banner")
    add(ovs_sandbox, "br-int", "tap9", "type=dummy", "external_ids:iface-id=vif-9")
    watched._start()
    wait_until(lambda: not watched.page.is_visible("#banner"))
    wait_until(lambda: "tap9" in watched.shown() and watched.equals_the_agent())


def test_the_table_is_filtered(ovs_sandbox: Sandbox, watched: Watched) -> None:
    for number in (10, 2):
        add(
            ovs_sandbox,
            "br-int",
            f"tap{number}",
            "type=dummy",
            f"external_ids:iface-id=vif-{number}",
        )
    wait_until(lambda: len(watched.shown()) == 4)
    watched.page.fill("#filter-text", "VIF-")
    wait_until(lambda: list(watched.shown()) == ["tap2", "tap10"])  # as a person would count
    assert watched.text("#found") == "2 of 4 ports"
    watched.page.fill("#filter-text", "")
    watched.page.select_option("#filter-bridge", "br-tun")
    wait_until(lambda: list(watched.shown()) == ["br-tun"])


def test_hostile_names_are_text(ovs_sandbox: Sandbox, watched: Watched) -> None:
    names = [
        *(text for name, text in HOSTILE.items() if name != "a megabyte"),
        "<img src=x onerror=alert(1)>",
        "</script><script>document.title='owned'</script>",
        "javascript:alert(1)",
        "&lt;b&gt;",
    ]
    ovs_sandbox.stop_vswitchd()  # it would remove what it cannot make
    for number, name in enumerate(names):
        add(ovs_sandbox, "br-int", f"t{number}", f"external_ids:iface-id=vif-{number}")
        quoted = json.dumps(name, ensure_ascii=False)
        ovs_sandbox.vsctl("--no-wait", "set", "interface", f"t{number}", f"error={quoted}")
        ovs_sandbox.vsctl(
            "--no-wait", "set", "interface", f"t{number}", f"external_ids:iface-id={quoted}"
        )
    wait_until(lambda: len(watched.ports()) == len(names) + 2)
    wait_until(lambda: watched.text("#found") == f"{len(names) + 2} ports")
    watched.page.click(".chip[data-label^='t0,']")
    text = watched.page.inner_text("body")
    assert not {c for c in text if not c.isprintable() and c not in "\n\t"}
    assert watched.page.title() == "cmp-17 - dfovsdb"
    assert watched.page.locator("img, main script").count() == 0
    assert "<img src=x" in text


def many_vms(number: int) -> dict[str, dict[str, Any]]:
    return {
        f"00000000-0000-4000-8000-{n:012d}": {
            "name": f"tap{n}",
            "type": "dummy",
            "ofport": n + 1,
            "external_ids": ["map", [["iface-id", f"vif-{n}"]]],
        }
        for n in range(number)
    }


def test_ten_thousand_ports_and_a_storm_leave_it_responsive(browser: Browser) -> None:
    rows = many_vms(10_000)
    with FakeSwitch(rows) as switch:
        watched = Watched(browser, switch.connection)
        try:
            wait_until(lambda: watched.text("#found") == "10000 ports")
            assert watched.page.locator(".body .row").count() < 100
            watched.page.evaluate("document.querySelector('.view').scrollTop = 200000")
            wait_until(lambda: "tap7142" in watched.shown())
            watched.page.evaluate(COUNT_FRAMES)
            for number in range(300):
                uuid = f"00000000-0000-4000-8000-{number:012d}"
                switch.update({uuid: {"modify": {"ofport": 20_000 + number}}})
                time.sleep(0.005)
            wait_until(lambda: watched.text("#events li").count("tap") >= 1)
            assert statistics.median_high(watched.page.evaluate("window.frames_")) < 200  # ms
            assert not watched.problems
        finally:
            watched.page.close()
            watched.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_a_keyboard_or_a_screen_reader_cannot_use(
    ovs_sandbox: Sandbox, watched: Watched, scheme: Literal["light", "dark"]
) -> None:
    if not AXE.exists():
        pytest.skip("there is no axe-core: tools/npm-packages.sh fetches it")
    for bridge in ("br-int", "br-tun"):
        ovs_sandbox.add_bridge(bridge)
    add(ovs_sandbox, "br-int", "tap1", "type=dummy", "external_ids:iface-id=vif-1")
    add(ovs_sandbox, "br-int", "eth7", "mtu_request=1400")
    add(ovs_sandbox, "br-tun", "vx1", "type=vxlan", "options:remote_ip=192.0.2.1")
    add(ovs_sandbox, "br-int", "pa", "type=patch", "options:peer=pb")
    add(ovs_sandbox, "br-tun", "pb", "type=patch", "options:peer=pa")
    watched.page.emulate_media(color_scheme=scheme)
    wait_until(lambda: len(watched.ports()) == 7 and watched.equals_the_agent())
    watched.page.click(".chip[data-label^='tap1,']")
    assert faults(watched.page) == []


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    page.evaluate(AXE.read_text() + ";null")
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:100] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.slow
def test_memory_stays_flat_in_a_minute_of_a_thousand_events_a_second(browser: Browser) -> None:
    rows = many_vms(200)
    with FakeSwitch(rows) as switch:
        watched = Watched(browser, switch.connection)
        try:
            wait_until(lambda: watched.text("#found") == "200 ports")
            devtools = watched.page.context.new_cdp_session(watched.page)

            def heap() -> float:
                devtools.send("HeapProfiler.collectGarbage")
                used = devtools.send("Runtime.getHeapUsage")["usedSize"]
                return float(used) / 1e6  # MB

            watched.page.evaluate(COUNT_FRAMES)
            measured = []
            number = 0
            for _ in range(6):
                for _ in range(100):  # a hundred messages of a hundred changes
                    update = {}
                    for row in range(100):
                        number += 1
                        uuid = f"00000000-0000-4000-8000-{row:012d}"
                        update[uuid] = {"modify": {"ofport": 1000 + number}}
                    switch.update(update)
                    time.sleep(0.1)
                measured.append(heap())
            assert statistics.median_high(watched.page.evaluate("window.frames_")) < 200  # ms
            assert measured[-1] < 1.5 * measured[1], measured
            wait_until(
                lambda: 1000 + number in [port["ofport"] for port in watched.ports()],
                what="the last event",
            )
            assert not watched.problems
        finally:
            watched.page.close()
            watched.stop()
