"""The reverse proxy of docs/operating.md, as a real nginx reads it, before a real listener."""

from __future__ import annotations

import base64
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dfovsdb import Monitor
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import Sandbox, wait_until
from tests.certificates import Pki
from tests.freeports import free_port
from tests.waiting import DEADLINE

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.mark.skipif(NGINX is None, reason="there is no nginx here: install package nginx-light")
def test_the_example_serves_the_page_to_whoever_has_the_password(
    ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    assert NGINX is not None
    (example,) = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    pki = Pki(tmp_path / "pki")
    pair = pki.issue("proxy", "switch.example", "127.0.0.1")
    users = tmp_path / "users"
    users.write_text("me:{PLAIN}secret\n")
    port, inner = free_port(), free_port()
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/switch.pem", str(pair.cert)),
        ("/etc/ssl/private/switch.key", str(pair.key)),
        ("/etc/nginx/dfovsdb.users", str(users)),
        ("127.0.0.1:9641", f"127.0.0.1:{inner}"),
    ):
        assert old in example
        example = example.replace(old, new)
    conf = tmp_path / "nginx.conf"
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error;\n"
        f"events {{}}\nhttp {{ access_log off;\n{folders}{example}\n}}\n"
    )
    context = ssl.create_default_context(cafile=str(pki.ca.cert))
    context.check_hostname = False  # it is asked for by its address, with the name in Host

    def get(path: str, password: str) -> tuple[int, bytes]:
        headers = {
            "Host": "switch.example",
            "Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode(),
        }
        request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE, context=context) as answer:
                return answer.status, answer.read1(4096)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b""
        except urllib.error.URLError:
            return 0, b""

    ovsdb_sandbox.add_bridge("br-int")
    monitor = Monitor(ovsdb_sandbox.connection)
    with monitor, Web(str(inner), monitor, hosts=["switch.example"]):
        assert monitor.wait_synced(DEADLINE)
        nginx = subprocess.Popen([NGINX, "-c", str(conf), "-e", str(tmp_path / "error")])
        try:
            wait_until(lambda: get("/", "secret")[0] == 200 or nginx.poll() is not None)
            assert nginx.poll() is None, (tmp_path / "error").read_text()
            assert get("/", "wrong")[0] == 401
            assert b"br-int" in get("/ports", "secret")[1]
            request_of_events = get("/events", "secret")[1]  # returns at once: nothing is buffered
            assert b"event: picture" in request_of_events
        finally:
            nginx.terminate()
            nginx.wait(DEADLINE)
