"""Make docs/pictures/page.png: the page that `dfovsdb web` shows, of a small host.

    python tools/page_picture.py FOLDER

It needs chromium, of the package of this name.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from dfovsdb import Monitor
from dfovsdb.model import TABLES
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import Sandbox, wait_until

SIZE = {"width": 1320, "height": 700}
PORTS = 16


def main(folder: str) -> None:
    """Take the picture."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no chromium: install the package chromium")
    with Sandbox() as box:
        _fill(box)
        monitor = Monitor(box.connection, tables=TABLES, host="cmp-17")
        with monitor, Web("0", monitor) as web, sync_playwright() as playwright:
            wait_until(lambda: len(monitor.ports()) == PORTS)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]  # a plain dict is taken
            page.goto(web.url)
            page.get_by_text(f"{PORTS} ports", exact=True).wait_for()
            page.wait_for_timeout(1000)  # the ports have faded in
            page.screenshot(path=Path(folder) / "page.png")
            browser.close()


def _fill(box: Sandbox) -> None:
    for bridge in ("br-ex", "br-int", "br-tun"):
        box.add_bridge(bridge)

    def add(bridge: str, name: str, *settings: str) -> None:
        box.vsctl("--no-wait", "add-port", bridge, name, "--", "set", "interface", name, *settings)

    for number in range(1, 5):
        add(
            "br-int",
            f"tap4aa64e2{number}-d9",
            "type=dummy",
            f"external_ids:iface-id=4aa64e2{number}-d9d6-497e-bfa9-cf6dbb574054",
        )
    for name, peer in (("patch-tun", "patch-int"), ("patch-int", "patch-tun")):
        bridge = "br-int" if name == "patch-tun" else "br-tun"
        add(bridge, name, "type=patch", f"options:peer={peer}")
    for name, peer in (("int-br-ex", "phy-br-ex"), ("phy-br-ex", "int-br-ex")):
        bridge = "br-int" if name == "int-br-ex" else "br-ex"
        add(bridge, name, "type=patch", f"options:peer={peer}")
    for number in range(1, 4):
        add("br-tun", f"vxlan-{number}", "type=vxlan", f"options:remote_ip=10.10.10.{number}")
    add("br-int", "vhu-broken", "external_ids:iface-id=0b9d3c1e-0000-4b5a-8000-000000000003")
    add("br-ex", "eth2", "mtu_request=1500")


if __name__ == "__main__":
    main(sys.argv[1])
