"""The HTTP listener beside a real switch: metrics, health, readiness and ports."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dfovsdb import Monitor, PortEvent, Sink, SinkUnavailable
from dfovsdb.errors import ConfigurationError, LossReason
from dfovsdb.telemetry import http_server
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional.helpers import insert
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "contrib" / "dfovsdb-alerts.yaml"
DASHBOARD = ROOT / "contrib" / "grafana-dashboard.json"


class Moody(Sink):
    """Takes what it receives but where it is down, or held."""

    def __init__(self) -> None:
        self.down = False
        self.free = threading.Event()
        self.free.set()

    def emit(self, event: PortEvent) -> None:  # noqa: ARG002 - any
        self.free.wait(DEADLINE)
        if self.down:
            raise SinkUnavailable("gone")

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            self.emit(event)


class Watched:
    """A monitor with its listener."""

    def __init__(self, connection: str) -> None:
        self.sink = Moody()
        self.capture = CaptureSink()
        self.monitor = Monitor(connection, sinks={"moody": self.sink, "capture": self.capture})
        self.web = Web("0", self.monitor)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.web.url + path, timeout=DEADLINE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Every sample as it is written, `name{labels}`, with its value."""
        text = self.get("/metrics")[1]
        assert list(text_string_to_metric_families(text))
        samples = [line.rpartition(" ") for line in text.splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in samples}

    def wait_for(self, name: str, value: float) -> None:
        wait_until(lambda: self.metrics().get(name) == value)


@pytest.fixture
def watched(ovs_sandbox: Sandbox) -> Iterator[Watched]:
    ovs_sandbox.add_bridge("br-int")
    it = Watched(ovs_sandbox.connection)
    with it.monitor, it.web:
        it.capture.wait_for_sync()
        yield it
        it.sink.free.set()
        it.sink.down = False


def add_vm(switch: Sandbox, name: str) -> None:
    switch.vsctl(
        "add-port",
        "br-int",
        name,
        "--",
        "set",
        "interface",
        name,
        "type=dummy",
        f"external_ids:iface-id=vif-{name}",
    )


def test_metrics_follow_what_happens(ovs_sandbox: Sandbox, watched: Watched) -> None:
    ovs_sandbox.stop_vswitchd()
    ovs_sandbox.vsctl("add-port", "br-int", "veth7")
    add_vm(ovs_sandbox, "tap0")
    watched.wait_for('dfovsdb_ports{kind="vm",state="pending"}', 1)
    ovs_sandbox.start_vswitchd()
    watched.wait_for('dfovsdb_insert_to_ready_seconds_count{kind="vm"}', 1)
    ovs_sandbox.vsctl("set", "interface", "tap0", "external_ids:ovn-installed=true")
    watched.wait_for('dfovsdb_insert_to_ovn_installed_seconds_count{kind="vm"}', 1)
    metrics = watched.metrics()
    assert metrics["dfovsdb_connected"] == metrics["dfovsdb_synced"] == 1
    assert metrics["dfovsdb_last_message_age_seconds"] < 20
    assert metrics["dfovsdb_sync_duration_seconds"] > 0
    assert metrics["dfovsdb_rows"] == 3
    assert metrics["dfovsdb_unclassified_rows"] == 1
    assert metrics['dfovsdb_ports{kind="vm",state="ready"}'] == 1
    assert metrics['dfovsdb_events_total{action="online",kind="vm"}'] == 1
    assert metrics['dfovsdb_sink_delivery_seconds_count{sink="moody"}'] > 0
    ovs_sandbox.stop_database()
    watched.wait_for("dfovsdb_connected", 0)
    ovs_sandbox.start_database()
    watched.wait_for("dfovsdb_syncs_total", 2)
    assert watched.metrics()['dfovsdb_reconnects_total{reason="closed"}'] >= 1


def test_head_is_answered_without_a_body(watched: Watched) -> None:
    for path in ("/", "/healthz", "/metrics", "/ports", "/events", "/nosuch"):
        request = urllib.request.Request(watched.web.url + path, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        assert status == (404 if path == "/nosuch" else 200)
        assert body == b""


def test_a_client_that_says_nothing_and_many_at_once_harm_nobody(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CLIENTS", 20)
    monkeypatch.setattr(http_server, "SLOWEST", 1.0)
    silent = [connect(watched) for _ in range(60)]
    try:
        for one in silent[:3]:
            one.sendall(b"GET / HTTP/1.1\r\nX: ")  # and never the rest
        # Those for whom there is no room are turned away at once, and the others in the end.
        closed: set[int] = set()

        def turned_away() -> bool:
            closed.update(n for n, one in enumerate(silent) if n not in closed and _ended(one))
            return len(closed) == 60

        wait_until(turned_away, DEADLINE)
    finally:
        for one in silent:
            one.close()
    wait_until(lambda: watched.get("/healthz")[0] == 200, DEADLINE)


def test_a_client_that_drips_its_request_is_dropped(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SLOWEST", 1.0)
    client = connect(watched)
    client.sendall(b"GET / HTTP/1.1\r\nX: ")

    def is_dropped() -> bool:
        with contextlib.suppress(OSError):
            client.sendall(b"a")
        return _ended(client)

    wait_until(is_dropped)
    client.close()


UPGRADE = b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"\x00\r\n\r\n", b" 400 "),
        (b"GET /healthz HTTP/1.1\r\n" + UPGRADE + b"\r\n", b" 200 "),
    ],
    ids=["malformed", "upgrade"],
)
def test_what_is_no_request_of_ours_leaves_no_line_in_the_log(
    watched: Watched, caplog: pytest.LogCaptureFixture, request_line: bytes, status: bytes
) -> None:
    with connect(watched) as client:
        client.settimeout(DEADLINE)
        client.sendall(request_line)
        assert status in client.recv(100)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_clients_that_do_not_read_cost_little_and_are_dropped(
    ovs_sandbox: Sandbox, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    ovs_sandbox.stop_vswitchd()
    many = [("map", [["iface-id", f"{number:04000d}"]]) for number in range(2000)]
    ovs_sandbox.transact(
        *(
            operation
            for number, ids in enumerate(many)
            for operation in insert(f"tap{number}", number, external_ids=list(ids))
        )
    )
    wait_until(lambda: len(watched.get("/ports")[1]) > 8_000_000)
    monkeypatch.setattr(http_server, "SLOWEST", 2.0)
    before = watched.metrics()["process_resident_memory_bytes"]
    clients = [connect(watched, buffer=4096) for _ in range(100)]
    for one in clients:
        one.sendall(b"GET /ports HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until(lambda: all(_is_reset(one) for one in clients))
    grown = watched.metrics()["process_resident_memory_bytes"] - before
    assert grown < 100 * 8_000_000 / 5
    for one in clients:
        one.close()


def connect(watched: Watched, buffer: int = 0) -> socket.socket:
    place = urllib.parse.urlsplit(watched.web.url)
    client = socket.socket()
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect((place.hostname, place.port))
    return client


def _is_reset(client: socket.socket) -> bool:
    return bool(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) or not _has_peer(client)


def _has_peer(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("localhost", 200),
        ("LOCALHOST.:1234", 200),
        ("[::1]:80", 200),
        ("proxy.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("10.0.0.1", 403),
    ],
)
def test_only_its_own_names_are_answered(tmp_path: Path, host: str, status: int) -> None:
    monitor = Monitor(f"unix:{tmp_path}/nobody")
    with monitor, Web("0", monitor, hosts=["proxy.example"]) as web:
        request = urllib.request.Request(f"{web.url}/ports", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                found, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                found, body = error.code, error.read()
    assert found == status
    if status == 403:
        assert b"add the name to [http] hosts" in body


def test_interfaces_of_no_kind_are_listed_where_asked(
    ovs_sandbox: Sandbox, watched: Watched
) -> None:
    ovs_sandbox.vsctl("--no-wait", "add-port", "br-int", "nobodys")
    watched.wait_for('dfovsdb_interfaces{state="failed"}', 1)

    def names(query: str) -> list[str]:
        return sorted(port["name"] for port in json.loads(watched.get(f"/ports{query}")[1]))

    assert names("") == ["br-int"]
    assert names("?all=1") == ["br-int", "nobodys"]
    assert names("?all=1&kind=other") == ["nobodys"]
    assert names("?all=0") == ["br-int"]


def test_vifs_on_two_interfaces_and_those_that_ovn_has_left_are_counted(
    ovs_sandbox: Sandbox, watched: Watched
) -> None:
    for name in ("tap0", "tap1", "tap2"):
        add_vm(ovs_sandbox, name)
    watched.wait_for('dfovsdb_ports{kind="vm",state="ready"}', 3)
    assert watched.metrics()["dfovsdb_ports_waiting_for_ovn"] == 0  # OVN is not used here
    ovs_sandbox.vsctl("set", "interface", "tap0", "external_ids:ovn-installed=true")
    watched.wait_for("dfovsdb_ports_waiting_for_ovn", 2)
    ovs_sandbox.vsctl("set", "interface", "tap2", "external_ids:iface-id=vif-tap1")
    watched.wait_for("dfovsdb_duplicate_vifs", 1)
    ovs_sandbox.vsctl("set", "interface", "tap2", "external_ids:xs-vif-uuid=vif-tap1")
    watched.wait_for("dfovsdb_duplicate_vifs", 0)  # the emulated device of the same VIF


def server_sent(watched: Watched, last_id: str = "") -> Generator[dict[str, str], None, None]:
    """The events of /events, as they come."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    request = urllib.request.Request(f"{watched.web.url}/events", headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        event: dict[str, str] = {}
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
            elif event:
                yield event
                event = {}


def test_events_go_on_where_a_client_has_left_off(ovs_sandbox: Sandbox, watched: Watched) -> None:
    def is_shown() -> bool:
        with contextlib.closing(server_sent(watched)) as stream:
            return "br-int" in next(stream)["data"]

    wait_until(is_shown)  # the page is a sink with a thread of its own
    stream = server_sent(watched)
    first = next(stream)
    assert first["event"] == "picture"
    assert [port["name"] for port in json.loads(first["data"])] == ["br-int"]
    status = json.loads(next(stream)["data"])
    assert status["condition"] == "synced"
    add_vm(ovs_sandbox, "tap0")
    event = next(one for one in stream if one["event"] == "port")
    assert json.loads(event["data"])["port"]["name"] == "tap0"
    stream.close()
    add_vm(ovs_sandbox, "tap1")
    watched.wait_for('dfovsdb_events_total{action="online",kind="vm"}', 2)
    resumed = server_sent(watched, event["id"])
    numbers = []
    for one in resumed:
        if one["event"] != "port":
            assert one["event"] == "status"
            continue
        numbers.append(int(one["id"].rpartition(":")[2]))
        data = json.loads(one["data"])
        if data["port"]["name"] == "tap1" and data["port"]["state"] == "ready":
            break
    after = int(event["id"].rpartition(":")[2])
    assert numbers == list(range(after + 1, after + 1 + len(numbers)))
    for unknown in ("x", "other:1", f"{event['id']}9", f"{event['id']}x"):
        assert next(server_sent(watched, unknown))["event"] == "picture"


def _ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_nothing_is_labelled_by_port(ovs_sandbox: Sandbox, watched: Watched) -> None:
    add_vm(ovs_sandbox, "tap0")
    watched.wait_for('dfovsdb_events_total{action="online",kind="vm"}', 1)
    text = watched.get("/metrics")[1]
    for port in watched.monitor.ports().values():
        for word in (port.name, port.uuid, f'"{port.ofport}"', str(port.mac_in_use)):
            assert word not in text


def test_an_outage_is_seen_with_what_it_holds_up(ovs_sandbox: Sandbox, watched: Watched) -> None:
    assert watched.get("/readyz") == (200, "ok\n")
    watched.sink.down = True
    add_vm(ovs_sandbox, "tap0")
    watched.wait_for('dfovsdb_sink_outage{sink="moody"}', 1)
    assert watched.get("/readyz") == (503, "sink moody is unavailable\n")
    assert watched.get("/healthz")[0] == 200
    metrics = watched.metrics()
    assert metrics['dfovsdb_sink_outages_total{sink="moody"}'] == 1
    assert metrics['dfovsdb_sink_queue_length{sink="moody"}'] >= 1
    assert metrics['dfovsdb_sink_oldest_undelivered_age_seconds{sink="moody"}'] > 0
    assert metrics['dfovsdb_sink_outage{sink="capture"}'] == 0
    watched.sink.down = False
    watched.wait_for('dfovsdb_sink_queue_length{sink="moody"}', 0)
    watched.wait_for('dfovsdb_sink_oldest_undelivered_age_seconds{sink="moody"}', 0)
    assert watched.get("/readyz")[0] == 200


def test_a_sync_that_a_sink_has_not_taken_has_an_age(watched: Watched) -> None:
    age = 'dfovsdb_sink_oldest_undelivered_age_seconds{sink="moody"}'
    watched.wait_for(age, 0)
    watched.sink.free.clear()
    watched.monitor.replay()
    wait_until(lambda: watched.metrics()[age] > 0)
    watched.monitor.replay()
    assert watched.metrics()[age] > 0
    watched.sink.free.set()
    watched.wait_for(age, 0)


def test_without_a_server_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    watched = Watched(f"unix:{tmp_path}/nobody")
    with watched.monitor, watched.web:
        wait_until(lambda: "nobody" in watched.get("/readyz")[1])
        assert watched.get("/readyz")[0] == 503
        assert watched.get("/healthz") == (200, "ok\n")
        assert watched.metrics()['dfovsdb_reconnects_total{reason="connect"}'] >= 1
    assert not watched.monitor.alive


def test_ports_are_a_filtered_json_list(ovs_sandbox: Sandbox, watched: Watched) -> None:
    add_vm(ovs_sandbox, "tap0")
    watched.wait_for('dfovsdb_ports{kind="vm",state="ready"}', 1)

    def names(query: str) -> list[str]:
        return sorted(port["name"] for port in json.loads(watched.get("/ports" + query)[1]))

    assert names("") == ["br-int", "tap0"]
    assert names("?kind=vm&state=ready&state=failed") == ["tap0"]
    assert names("?state=failed") == []
    assert names("?name=br-*") == ["br-int"]
    assert watched.get("/ports?colour=red")[0] == 400
    assert watched.get("/ports?kind=vm&kind=router") == (
        400,
        (
            "kind=router: no enabled classifier offers it; "
            "available: bridge, patch, service, tunnel, uplink, vm\n"
        ),
    )
    status, text = watched.get("/ports?state=faild")
    assert status == 400
    assert "there are pending, failed, gone, ready" in text
    assert watched.get("/nosuch")[0] == 404


def test_another_method_is_told_which_are_answered(watched: Watched) -> None:
    request = urllib.request.Request(f"{watched.web.url}/ports", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=DEADLINE)
    refused.value.close()
    assert refused.value.code == 405
    assert refused.value.headers["Allow"] == "GET, HEAD"


def test_ports_say_whether_they_are_those_of_now(ovs_sandbox: Sandbox, watched: Watched) -> None:
    def asked() -> tuple[str | None, list[str]]:
        with urllib.request.urlopen(f"{watched.web.url}/ports", timeout=DEADLINE) as reply:
            return reply.headers["Dfovsdb-Synced"], [port["name"] for port in json.load(reply)]

    assert asked() == ("true", ["br-int"])
    ovs_sandbox.stop_database()
    wait_until(lambda: asked() == ("false", ["br-int"]))
    ovs_sandbox.start_database()
    wait_until(lambda: asked() == ("true", ["br-int"]))


def test_what_is_counted_by_kind_begins_at_0(ovs_sandbox: Sandbox, watched: Watched) -> None:
    metrics = watched.metrics()
    for kind in ("bridge", "patch", "tunnel", "vm"):
        for state in ("pending", "failed", "ready"):
            assert metrics[f'dfovsdb_ports{{kind="{kind}",state="{state}"}}'] >= 0
        for action in ("online", "updated", "offline"):
            assert metrics[f'dfovsdb_events_total{{action="{action}",kind="{kind}"}}'] >= 0
        assert metrics[f'dfovsdb_classifier_errors_total{{kind="{kind}"}}'] == 0
    add_vm(ovs_sandbox, "tap0")
    watched.wait_for('dfovsdb_ports{kind="vm",state="ready"}', 1)
    ovs_sandbox.vsctl("del-port", "tap0")
    watched.wait_for('dfovsdb_events_total{action="offline",kind="vm"}', 1)
    assert watched.metrics()['dfovsdb_ports{kind="vm",state="ready"}'] == 0


def test_every_metric_and_label_of_the_alerts_exists(watched: Watched) -> None:
    there: dict[str, set[str]] = {"up": {"job", "instance"}}  # which Prometheus adds
    for family in text_string_to_metric_families(watched.get("/metrics")[1]):
        for sample in family.samples:
            there.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 5
    for rule in group["rules"]:
        assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert rule["labels"].keys() == {"severity"}
        selected = re.sub(r'"[^"]*"|\[\w+\]', "", rule["expr"])
        names = set(re.findall(r"\b(?:up|dfovsdb_\w+)\b", selected))
        assert names
        assert names <= there.keys()
        labels = set(re.findall(r"(\w+)=(?!=)", selected)) | {
            label for on in re.findall(r"on \(([\w, ]+)\)", selected) for label in on.split(", ")
        }
        labels |= set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert labels <= set.union(*(there[name] for name in names)), rule["alert"]


def test_the_scrape_example_fits_the_listener_and_the_alerts(watched: Watched) -> None:
    guide = (ROOT / "docs" / "operating.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "scrape" in block]
    example = yaml.safe_load(block)
    (job,) = example["scrape_configs"]
    assert f'job="{job["job_name"]}"' in ALERTS.read_text()
    assert Path(example["rule_files"][0]).name == ALERTS.name
    ((target,),) = [some["targets"] for some in job["static_configs"]]
    assert f"listen = {target.rpartition(':')[2]}\n" in guide
    assert watched.get(job.get("metrics_path", "/metrics"))[0] == 200


def test_every_metric_of_the_dashboard_exists(ovs_sandbox: Sandbox, watched: Watched) -> None:
    add_vm(ovs_sandbox, "tap0")
    text = watched.get("/metrics")[1]
    families = list(text_string_to_metric_families(text))
    there = {sample.name for family in families for sample in family.samples}
    for family in families:  # those that have no sample before something happens
        there |= {family.name + suffix for suffix in ("_total", "_bucket", "_count", "_sum")}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = set(re.findall(r"\b(?:dfovsdb|process)_\w+", " ".join(queries)))
    assert named <= there
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in named}
    assert shown >= {name for name in guide_metrics() if name != "dfovsdb_info"}


@pytest.mark.parametrize(
    "listen", ["", "localhost", "127.0.0.1:http", "127.0.0.1:99999", "nobody"]
)
def test_a_place_that_cannot_be_read_is_refused(listen: str) -> None:
    with pytest.raises(ConfigurationError, match="use HOST:PORT"):
        Web(listen, Monitor("unix:/nobody"))


def test_a_port_in_use_is_one_line_and_status_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = agent(tmp_path, f"listen = {port}")
    assert done.returncode == 2
    assert done.stderr == (
        f"dfovsdb: [http] listen = {port}: Address already in use; "
        f"run `ss -ltnp 'sport = :{port}'` to see which process uses it\n"
    )


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    done = agent(tmp_path, "listen = 0", "sys.modules['prometheus_client'] = None; ")
    assert done.returncode == 2
    assert done.stderr == (
        "dfovsdb: [http] listen needs an extra: install dfovsdb[http] "
        "(pip install 'WHEEL[http]' where dfovsdb is from a wheel, "
        ".venv/bin/pip install -e '.[http]' in a clone)\n"
    )


def test_without_listen_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from dfovsdb.cli import run; from dfovsdb import config; "
        "from dfovsdb.monitor import Monitor; "
        "run._web(config.load(), Monitor('unix:/nobody')); "
        "assert not {'prometheus_client', 'http.server'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE)


def agent(tmp_path: Path, text: str, before: str = "") -> subprocess.CompletedProcess[str]:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(f"[ovsdb]\nconnection = unix:{tmp_path}/nobody\n[http]\n{text}\n")
    code = f"import sys; {before}from dfovsdb.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "--config-file", str(file), "run"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_every_reason_is_counted_from_0_and_named_in_the_guide(tmp_path: Path) -> None:
    watched = Watched(f"unix:{tmp_path}/nobody")
    with watched.monitor, watched.web:
        samples = [name for name in watched.metrics() if "reconnects_total" in name]
        counted = {re.findall('reason="(.*)"', name)[0] for name in samples}
    guide = (ROOT / "docs" / "operating.md").read_text()
    (line,) = [line for line in guide.splitlines() if line.startswith("| `reconnects_total`")]
    assert counted == set(get_args(LossReason)) == set(re.findall(r"`(\w+)`", line)[2:])


@pytest.mark.slow
def test_readiness_says_the_last_cause_since_when_and_when_it_is_tried_again(
    ovs_sandbox: Sandbox, watched: Watched
) -> None:
    ovs_sandbox.stop_database()
    why = (
        r"waiting for the server for \d+ s, next try in \d s: cannot connect to \S+ "
        r"\(No such file or directory\)"
    )
    wait_until(lambda: re.match(why, watched.get("/readyz")[1]))
    assert watched.get("/readyz")[0] == 503
    with socket.socket(socket.AF_UNIX) as silent:  # something else than what was there
        silent.bind(str(ovs_sandbox.directory / "db.sock"))
        wait_until(lambda: "(Connection refused)" in watched.get("/readyz")[1])
        silent.listen()
        wait_until(lambda: "waiting for the table" in watched.get("/readyz")[1])
        message = watched.get("/readyz")[1]
    assert re.match(r"waiting for the table for \d+ s; before: .*Connection refused", message)
    (ovs_sandbox.directory / "db.sock").unlink()
    ovs_sandbox.start_database()
    wait_until(lambda: watched.get("/readyz") == (200, "ok\n"))


def test_the_guide_names_every_metric_and_no_other(watched: Watched) -> None:
    text = watched.get("/metrics")[1]
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
    }
    assert guide_metrics() == {name for name in families if name.startswith("dfovsdb_")}


def guide_metrics() -> set[str]:
    """The metrics in the table of the guide."""
    guide = (ROOT / "docs" / "operating.md").read_text().partition("| metric,")[2]
    table = guide.partition("\n\n")[0].splitlines()[2:]
    return {f"dfovsdb_{n}" for line in table for n in re.findall(r"`(\w+)`", line.split("|")[1])}
