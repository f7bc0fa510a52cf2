"""The sink oslo_messaging: a real RabbitMQ, stopped, killed and started under load."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import amqp
import pytest

from dfovsdb import Monitor, PortEvent, config, from_json, plugins
from dfovsdb.json_v1 import decode_port
from dfovsdb.model import Port
from dfovsdb.sinks.base import Sink
from dfovsdb.sinks.oslo_messaging import OsloMessagingSink
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.conformance import SinkConformance, event_word
from dfovsdb.testing.conformance.driven_sink import DrivenSink
from tests.functional.churning import MANY, Churn, ports_of, wait_for_the_same
from tests.functional.faultproxy import Cut, Fault, FaultProxy
from tests.functional.rabbitmq import PASSWORD, USER, RabbitMQ
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs" / "notifications.md"
DURABLE = "?amqp_durable_queues=true"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


@pytest.fixture
def topic() -> str:
    """Of this test alone."""
    return f"topic{next(_numbers)}"


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


def sink_to(broker: RabbitMQ, topic: str, query: str = "", **options: Any) -> OsloMessagingSink:
    sink = OsloMessagingSink(
        broker.url + query,
        [topic],
        control_exchange="durable" if query else "openstack",
        **{"timeout": 2, **options},
    )
    sink.poll_interval = 0.2
    return sink


def guide(language: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    block: str = blocks[0]
    return block


class Reader:
    """The reader of the guide; a context manager."""

    def __init__(self, broker: RabbitMQ, topic: str, query: str = "") -> None:
        names: dict[str, Any] = {"__name__": "reader"}
        exec(compile(guide("python"), "notifications.md", "exec"), names)
        self._view = names["View"]()
        url = f"{broker.url}{query or '?'}&rabbit_retry_backoff=0&kombu_reconnect_delay=0"
        self._listener = names["listener"](
            url, topic, self._view, "durable" if query else "openstack"
        )

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.stop()
        self._listener.wait()

    def ports(self) -> dict[str, Port]:
        ports = self._view.hosts.get("cmp-1", {"ports": {}})["ports"]
        return {uuid: decode_port(json.dumps(port)) for uuid, port in dict(ports).items()}


class Queue:
    """What is in a queue, taken out of it."""

    def __init__(self, broker: RabbitMQ, topic: str) -> None:
        self._broker = broker
        self._name = f"{topic}.info"
        self.messages: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """Everything that has come until now; a busy broker may refuse to say more."""
        with (
            contextlib.suppress(ConnectionRefusedError),
            amqp.Connection(f"127.0.0.1:{self._broker.port}", USER, PASSWORD) as connection,
        ):
            channel = connection.channel()
            with contextlib.suppress(amqp.exceptions.NotFound):
                while message := channel.basic_get(self._name, no_ack=True):
                    body = json.loads(message.body)
                    self.messages.append(json.loads(body["oslo.message"]))
        return self.messages

    def text(self) -> list[str]:
        """Its events."""
        items = [from_json(json.dumps(message["payload"])) for message in self.read()]
        return [event_word(item) for item in items if isinstance(item, PortEvent)]


def test_a_notification_has_publisher_type_and_json_version_1(
    box: Sandbox, broker: RabbitMQ, topic: str
) -> None:
    queue = Queue(broker, topic)
    with Monitor(box.connection, sinks=[sink_to(broker, topic)], host="cmp-1") as monitor:
        box.vsctl(
            "add-port",
            "br-int",
            "tap0",
            "--",
            "set",
            "interface",
            "tap0",
            "external_ids:iface-id=v0",
        )
        wait_until(lambda: "online tap0" in queue.text())
        box.vsctl("set", "interface", "tap0", "ofport=7")
        wait_until(lambda: "updated tap0" in queue.text())
        monitor.reopen()  # which is no reason for a replay
        box.vsctl("del-port", "tap0")
        wait_until(lambda: "offline tap0" in queue.text())
    assert {message["publisher_id"] for message in queue.messages} == {"dfovsdb.cmp-1"}
    assert {message["priority"] for message in queue.messages} == {"INFO"}
    types = [message["event_type"] for message in queue.messages]
    assert types[0] == "dfovsdb.sync.started"
    assert types.count("dfovsdb.sync.started") == 1
    assert "dfovsdb.sync.finished" in types
    assert types[-1] == "dfovsdb.port.offline"
    assert {"dfovsdb.port.online", "dfovsdb.port.updated"} <= set(types)
    seqs = [from_json(json.dumps(message["payload"])).seq for message in queue.messages]
    assert seqs == list(range(1, len(seqs) + 1))


def test_each_topic_has_each_notification(box: Sandbox, broker: RabbitMQ, topic: str) -> None:
    sink = OsloMessagingSink(broker.url, [topic, topic + "b"])
    queues = [Queue(broker, topic), Queue(broker, topic + "b")]
    with Monitor(box.connection, sinks=[sink]):
        for queue in queues:
            wait_until(lambda q=queue: "online br-int" in q.text())  # type: ignore[misc]  # mypy cannot infer a lambda with a default


@pytest.mark.parametrize(("query", "kill"), [("", False), (DURABLE, True)])
def test_a_broker_restarted_under_load_is_an_outage_after_which_the_reader_has_everything(
    box: Sandbox,
    broker: RabbitMQ,
    topic: str,
    caplog: pytest.LogCaptureFixture,
    query: str,
    kill: bool,
) -> None:
    sink = sink_to(broker, topic, query)
    with (
        Churn(box) as churn,
        Reader(broker, topic, query) as reader,
        Monitor(box.connection, sinks={"bus": sink}, host="cmp-1"),
    ):
        wait_until(lambda: len(reader.ports()) >= MANY)
        broker.stop(kill=kill)
        wait_until(lambda: "sink bus is unavailable: rabbit://127.0.0.1" in caplog.text)
        churn.wait_for_rounds(20)
        broker.start()
        churn.wait_for_rounds(20)
        churn.end()
        wait_for_the_same(box, reader.ports)
    assert PASSWORD not in caplog.text


def test_what_an_idle_broker_loses_is_reported_again_when_it_is_back(
    box: Sandbox, broker: RabbitMQ, topic: str
) -> None:
    """Nobody reads, the queue is not durable, and nothing changes while it restarts."""
    queue = Queue(broker, topic)
    with Monitor(box.connection, sinks=[sink_to(broker, topic)], host="cmp-1") as monitor:
        wait_until(lambda: delivered(monitor) >= 1)
        broker.stop()
        broker.start()
        wait_until(lambda: "dfovsdb.sync.finished" in {m["event_type"] for m in queue.read()})
    origins = [message["payload"]["origin"] for message in queue.messages]
    assert set(origins) == {"replay"}  # the first sync is lost
    assert "online br-int" in queue.text()


def test_without_replay_what_is_lost_is_lost_until_one_is_asked_for(
    box: Sandbox, broker: RabbitMQ, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sink = sink_to(broker, topic, replay=False)
    with Monitor(box.connection, sinks={"bus": sink}, host="cmp-1") as monitor:
        wait_until(lambda: delivered(monitor) >= 1)
        broker.stop()
        wait_until(lambda: not monitor.status().sinks[0].available)
        broker.start()
        wait_until(lambda: monitor.status().sinks[0].available)
        lines = [r.getMessage() for r in caplog.records if r.levelname != "INFO"]
        assert len(lines) == 1, lines  # whatever oslo.messaging has to say of it
        assert "sink bus is unavailable" in lines[0]
        wait_until(lambda: "sink bus is available again" in caplog.text)  # just after it
        with Reader(broker, topic) as reader:
            box.vsctl(
                "add-port",
                "br-int",
                "tap0",
                "--",
                "set",
                "interface",
                "tap0",
                "external_ids:iface-id=v0",
            )
            wait_until(lambda: {port.name for port in reader.ports().values()} == {"tap0"})
            monitor.replay()
            wait_for_the_same(box, reader.ports)


def test_a_durable_queue_of_a_killed_broker_keeps_whatever_was_confirmed(
    box: Sandbox, broker: RabbitMQ, topic: str
) -> None:
    sink = sink_to(broker, topic, DURABLE, replay=False)
    with Churn(box) as churn, Monitor(box.connection, sinks=[sink], host="cmp-1") as monitor:
        churn.wait_for_rounds(10)
        broker.stop(kill=True)
        churn.wait_for_rounds(10)
        broker.start()
        churn.end()
        wait_until(lambda: monitor.status().sinks[0].queued == 0)
        with Reader(broker, topic, DURABLE) as reader:
            wait_for_the_same(box, reader.ports)


def test_a_broker_that_is_silent_is_an_outage(
    box: Sandbox, broker: RabbitMQ, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Churn(box) as churn,
        Reader(broker, topic) as reader,
        Monitor(box.connection, sinks={"bus": sink_to(broker, topic)}, host="cmp-1"),
    ):
        wait_until(lambda: len(reader.ports()) >= MANY)
        broker.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: "sink bus is unavailable" in caplog.text)
        finally:
            broker.signal(signal.SIGCONT)
        churn.end()
        wait_for_the_same(box, reader.ports)


class Closed(Fault):
    """Every connection is closed as soon as the broker says something."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        raise Cut


def delivered(monitor: Monitor) -> int:
    return monitor.status().sinks[0].counters.get("delivered", 0)


# Secrets, and wrong use.


def agent(folder: Path, box: Sandbox, *lines: str) -> list[str]:
    file = folder / "dfovsdb.conf"
    file.write_text(
        "\n".join(
            [
                f"[ovsdb]\nconnection = {box.connection}",
                "[dfovsdb]\nhost = cmp-1\nstop_timeout = 0.1\nsinks = oslo_messaging",
                "[sink_oslo_messaging]",
                *lines,
            ]
        )
    )
    return [sys.executable, "-m", "dfovsdb", "--debug", "--config-file", str(file)]


@pytest.mark.parametrize("user", [USER, "nobody"])
def test_the_password_is_in_no_log_no_error_and_not_in_plugins(
    box: Sandbox, broker: RabbitMQ, topic: str, tmp_path: Path, user: str
) -> None:
    """With --debug: delivered, cut off, delivered again; and refused."""
    errors = tmp_path / "stderr"
    with FaultProxy(broker.port) as proxy, errors.open("wb") as stderr:
        url = f"rabbit://{user}:{PASSWORD}@{proxy.connection.removeprefix('tcp:')}/"
        command = agent(tmp_path, box, f"transport_url = {url}", f"topics = {topic}")
        process = subprocess.Popen([*command, "run"], stderr=stderr)
        if user == USER:
            wait_until(lambda: "online br-int" in Queue(broker, topic).text())
            proxy.fault = Closed
            proxy.cut()
            box.vsctl("add-br", "br-ex")
            wait_until(lambda: "is unavailable" in errors.read_text())
        else:
            wait_until(lambda: "ACCESS_REFUSED" in errors.read_text())
        process.terminate()
        assert process.wait(DEADLINE) == 0
    listed = subprocess.run([*command, "plugins"], capture_output=True, text=True, check=True)
    assert "oslo_messaging" in listed.stdout
    assert PASSWORD not in errors.read_text() + listed.stdout + listed.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "[sink_oslo_messaging] transport_url is required"),
        (["transport_url = s3cr3t-pass"], "transport_url cannot be read: use rabbit://"),
        (["transport_url = rabbit://u:s3cr3t-pass@[::1/"], "cannot be read: use rabbit://"),
        (
            ["transport_url = carrot://u:s3cr3t-pass@h/"],
            "option transport_url: 'carrot' does not exist; use one of",
        ),
        (["transport_url = rabbit://u:s3cr3t-pass@h/?nonsense=1"], "cannot be used"),
        (
            ["transport_url = rabbit://u:s3cr3t-pass@h/", "driver = pigeon"],
            "option driver: 'pigeon' does not exist; use one of log",
        ),
        (["transport_url = rabbit://u:s3cr3t-pass@h/", "topics ="], "topics is empty"),
    ],
)
def test_wrong_use_is_one_line_that_repeats_no_secret(
    box: Sandbox, tmp_path: Path, lines: list[str], says: str
) -> None:
    command = agent(tmp_path, box, *lines)
    command.remove("--debug")
    done = subprocess.run(
        [*command, "run"], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr
    assert PASSWORD not in done.stderr


UNPATCHED = """
import socket, threading, time
before = (socket.socket, threading.Thread, time.sleep)
from dfovsdb.sinks.oslo_messaging import OsloMessagingSink
OsloMessagingSink("rabbit://localhost/")
assert before == (socket.socket, threading.Thread, time.sleep)
from eventlet import patcher
assert not any(map(patcher.is_monkey_patched, ("socket", "thread", "time", "os", "select")))
"""


def test_nothing_is_patched_by_eventlet_although_it_is_installed() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", UNPATCHED], check=True, timeout=DEADLINE)


# The promises of a sink, with a real broker.


class TestConformance(SinkConformance):
    @pytest.fixture(autouse=True)
    def _broker(self, broker: RabbitMQ, topic: str) -> Iterator[None]:
        self.topic, self.queue = topic, Queue(broker, topic)
        with FaultProxy(broker.port) as self.proxy:
            yield

    def make(self) -> Sink:
        where = self.proxy.connection.removeprefix("tcp:")
        return OsloMessagingSink(f"rabbit://{USER}:{PASSWORD}@{where}/", [self.topic], timeout=2)

    def arrived(self, sink: Sink) -> Sequence[str]:
        return self.queue.text()

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        """The broker cannot be reached from the next notification but so many on."""
        assert isinstance(sink, OsloMessagingSink)
        notify: Callable[..., bool] = sink._bus.notify
        left = itertools.count(after, -1)

        def cut_in_time(*args: Any) -> bool:
            if next(left) == 0:
                self.proxy.fault = Closed
                self.proxy.cut()
            return notify(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sink._bus, "notify", cut_in_time)
            yield
        self.proxy.heal()

    @contextlib.contextmanager
    def _driven(self, *args: Any, **options: Any) -> Iterator[tuple[Sink, DrivenSink]]:
        with super()._driven(*args, **options) as driven:
            yield driven
        self.proxy.cut()  # its own threads and sockets, of connections that the sink has closed


# The guide.


def test_the_reader_of_the_guide_runs_as_a_program(
    box: Sandbox, broker: RabbitMQ, topic: str, tmp_path: Path
) -> None:
    code = guide("python").replace(
        "listening.start()",
        "listening.start()\n    from dfovsdb.testing import wait_until\n"
        "    wait_until(lambda: listening.dispatcher.endpoints[0].hosts)\n"
        "    print('delivered', flush=True)",
    )
    (tmp_path / "reader.py").write_text(code)
    program = subprocess.Popen(
        [sys.executable, "reader.py", broker.url, topic],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    with Monitor(box.connection, sinks=[sink_to(broker, topic)]):
        assert program.stdout.readline() == "delivered\n"
    program.kill()
    program.wait()
    program.stdout.close()


def test_the_configuration_of_the_guide_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(guide("ini"))
    conf = config.load([str(file)])
    (sink,) = plugins.SINKS.build(conf.dfovsdb.sinks, conf).values()
    assert isinstance(sink, OsloMessagingSink)


def test_the_guide_names_every_option_and_its_default() -> None:
    for option in OsloMessagingSink.options:
        default = option.default[0] if isinstance(option.default, list) else option.default
        shown = str(default).lower() if isinstance(default, bool) else default
        assert f"| `{option.dest}` | " + (f"`{shown}`" if shown else "") in GUIDE.read_text()


def test_the_reader_has_what_the_reference_has(box: Sandbox, broker: RabbitMQ, topic: str) -> None:
    with Reader(broker, topic) as reader:
        with Monitor(box.connection, sinks=[sink_to(broker, topic)], host="cmp-1"):
            wait_for_the_same(box, reader.ports)
        assert set(reader.ports()) == set(ports_of(box))
