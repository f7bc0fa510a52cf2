"""Our own plugins keep every promise; those of the example package have tests of their own."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from dfovsdb import from_json
from dfovsdb.classifiers.antrea import AntreaClassifier
from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.bridge import BridgeClassifier
from dfovsdb.classifiers.kube_ovn import KubeOvnClassifier
from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.classifiers.ovn_kubernetes import OvnKubernetesClassifier
from dfovsdb.classifiers.ovs_cni import OvsCniClassifier
from dfovsdb.classifiers.patch import PatchClassifier
from dfovsdb.classifiers.proxmox import ProxmoxClassifier
from dfovsdb.classifiers.service import ServiceClassifier
from dfovsdb.classifiers.tunnel import TunnelClassifier
from dfovsdb.classifiers.uplink import UplinkClassifier
from dfovsdb.classifiers.vm import VmClassifier
from dfovsdb.classifiers.xen import XenClassifier
from dfovsdb.errors import SinkUnavailable
from dfovsdb.model import Interface, PortEvent
from dfovsdb.sinks import jsonl
from dfovsdb.sinks.base import Sink
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.sinks.jsonl import JsonlSink
from dfovsdb.sinks.log import LogSink
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.sinks.nats import client as nats_client
from dfovsdb.sinks.oslo_messaging import OsloMessagingSink
from dfovsdb.sinks.webhook import WebhookSink
from dfovsdb.testing import CaptureSink, interface
from dfovsdb.testing.conformance import ClassifierConformance, SinkConformance, event_word
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.unit import platforms


class TestPatch(ClassifierConformance):
    plugin = PatchClassifier


class TestTunnel(ClassifierConformance):
    plugin = TunnelClassifier


class TestBridge(ClassifierConformance):
    plugin = BridgeClassifier


class TestVm(ClassifierConformance):
    plugin = VmClassifier


class TestService(ClassifierConformance):
    plugin = ServiceClassifier


class TestUplink(ClassifierConformance):
    def make(self) -> Classifier:
        return UplinkClassifier(status=True)


class TestOvnKubernetes(ClassifierConformance):
    plugin = OvnKubernetesClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.OVN_KUBERNETES]


class TestKubeOvn(ClassifierConformance):
    plugin = KubeOvnClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.KUBE_OVN]


class TestAntrea(ClassifierConformance):
    plugin = AntreaClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.ANTREA]


class TestOvsCni(ClassifierConformance):
    plugin = OvsCniClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.OVS_CNI]


class TestXen(ClassifierConformance):
    plugin = XenClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.XEN]


class TestProxmox(ClassifierConformance):
    plugin = ProxmoxClassifier

    def rows(self) -> list[Interface]:
        return [interface(**facts) for facts in platforms.PROXMOX]


class TestMatch(ClassifierConformance):
    def make(self) -> Classifier:
        return MatchClassifier(
            "dhcp",
            types=["internal"],
            names=["tap*", "q[rg]-*"],
            external_ids=["iface-id"],
            attributes=["iface-id", "attached-mac"],
        )


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().split(" "))


class TestLog(SinkConformance):
    plugin = LogSink

    @pytest.fixture(autouse=True)
    def _log(self) -> Iterator[None]:
        self.log = _Lines()
        logger = logging.getLogger("dfovsdb.events")
        logger.addHandler(self.log)
        logger.setLevel(logging.INFO)
        yield
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(self.log)

    def arrived(self, sink: Sink) -> Sequence[str]:
        events = [text for text in self.log.lines if not text[0].startswith("sync_")]
        return [f"{action} {name}" for action, _kind, name, *_facts in events]


class TestJsonl(SinkConformance):
    def make(self) -> Sink:
        return JsonlSink(str(self.tmp_path / "events.jsonl"))

    def arrived(self, sink: Sink) -> Sequence[str]:
        items = map(from_json, (self.tmp_path / "events.jsonl").read_bytes().splitlines())
        return [event_word(item) for item in items if isinstance(item, PortEvent)]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        """A disk that is full in the middle of a line."""
        left = after

        def write(fd: int, data: bytes) -> int:
            nonlocal left
            if left < 0:
                raise OSError(28, "No space left on device")
            lines = data.splitlines(keepends=True)
            some = b"".join(lines[:left])
            if len(lines) > left:
                some += lines[left][:7]
            left = left - len(lines) if len(lines) <= left else -1
            return os.write(fd, some)

        class FullDisk:
            def __getattr__(self, name: str) -> Any:
                return write if name == "write" else getattr(os, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsonl, "os", FullDisk())
            yield


class _Controller:
    """Keeps what it is called with; it may be down."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.takes: int | None = None

    def __call__(
        self, _table: str | None, _key: str | None, action: str, value: str | None
    ) -> None:
        if value is None:
            return
        if self.takes == 0:
            raise SinkUnavailable("the controller is busy")
        if self.takes is not None:
            self.takes -= 1
        text = {"create": "online", "set": "updated", "delete": "offline"}
        self.accepted.append(f"{text[action]} {json.loads(value).get('name', '')}")


class TestDragonflowInProcess(SinkConformance):
    def make(self) -> Sink:
        self.controller = _Controller()
        return DragonflowSink(callback=self.controller, filter="none")

    def arrived(self, sink: Sink) -> Sequence[str]:
        return self.controller.accepted

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        self.controller.takes = after
        yield
        self.controller.takes = None


class TestDragonflowPublished(SinkConformance):
    def make(self) -> Sink:
        return DragonflowSink(endpoint=f"ipc://{self.tmp_path}/df")


class _Hook(http.server.ThreadingHTTPServer):
    """Keeps what it takes; it may take only so many more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookHandler)
        self.accepted: list[str] = []
        self.takes: int | None = None


class _HookHandler(http.server.BaseHTTPRequestHandler):
    server: _Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        items = [from_json(json.dumps(one["data"])) for one in _list(body)]
        events = [item for item in items if isinstance(item, PortEvent)]
        if self.server.takes is not None and self.server.takes < len(events):
            self.send_response(503)
        else:
            self.server.takes = self.server.takes and self.server.takes - len(events)
            self.server.accepted += map(event_word, events)
            self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def _list(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


class TestWebhook(SinkConformance):
    @pytest.fixture(autouse=True)
    def _hook(self) -> Iterator[None]:
        with _Hook() as self.hook:
            thread = threading.Thread(target=self.hook.serve_forever, args=(0.01,))
            thread.start()
            yield
            self.hook.shutdown()
            thread.join()

    def make(self) -> Sink:
        return WebhookSink(f"http://127.0.0.1:{self.hook.server_port}/", batch_events=2)

    def arrived(self, sink: Sink) -> Sequence[str]:
        return self.hook.accepted

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        self.hook.takes = after
        yield
        self.hook.takes = None


class TestOsloMessaging(SinkConformance):
    """With its driver `test`; with a real RabbitMQ in functional/test_notifications.py."""

    def make(self) -> Sink:
        sink = OsloMessagingSink("fake://", driver="test")
        from oslo_messaging.notify import _impl_test  # which the sink imports with care

        _impl_test.reset()
        self.accepted = _impl_test.NOTIFICATIONS
        return sink

    def arrived(self, sink: Sink) -> Sequence[str]:
        items = [from_json(json.dumps(accepted[1]["payload"])) for accepted in self.accepted]
        return [event_word(item) for item in items if isinstance(item, PortEvent)]


class TestNats(SinkConformance):
    """With a real server; the outage is its end."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        with NatsServer(tmp_path / "nats") as self.server:
            yield

    def make(self) -> Sink:
        return NatsSink([self.server.url])

    def arrived(self, sink: Sink) -> Sequence[str]:
        with Fleet([self.server.url]) as fleet:
            return [event_word(item) for item in fleet.events()]

    def believes(self, sink: Sink) -> Iterable[str]:
        """What the bucket of ports says."""
        with Fleet([self.server.url]) as fleet:
            return [port.name for port in fleet.ports("host").values()]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        """The server is killed when it has the messages of so many events."""
        left = after * 3  # one in the log, and one in the buckets of ports and of VIFs

        async def publish(client: Client, *args: Any, **options: Any) -> None:
            nonlocal left
            if left == 0 and self.server.process:
                await client.flush()
                self.server.stop()
            left -= 1
            await Client.publish(client, *args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nats_client._Client, "publish", publish)
            yield
        if not self.server.process:
            self.server.start()
            self.server.wait()


class TestCapture(SinkConformance):
    plugin = CaptureSink

    def arrived(self, sink: Sink) -> Sequence[str]:
        assert isinstance(sink, CaptureSink)
        return [event_word(event) for event in sink.events]


class TestBatchesOfTheGuide(SinkConformance):
    """The example of docs/sinks.md, as it is there."""

    def make(self) -> Sink:
        names: dict[str, Any] = {}
        exec(compile(_example("class TableSink"), "sinks.md", "exec"), names)
        sink: Sink = names["TableSink"](str(self.tmp_path / "events.sqlite"))
        return sink

    def arrived(self, sink: Sink) -> Sequence[str]:
        with contextlib.closing(sqlite3.connect(self.tmp_path / "events.sqlite")) as db:
            rows = db.execute("SELECT action, name FROM events ORDER BY epoch, seq")
            return [f"{action} {name}" for action, name in rows]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        """Somebody else holds the database."""
        with contextlib.closing(sqlite3.connect(self.tmp_path / "events.sqlite")) as db:
            db.execute("BEGIN EXCLUSIVE")
            yield
            db.rollback()


def _example(word: str) -> str:
    guide = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)
