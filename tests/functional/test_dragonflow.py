"""A Dragonflow controller beside a real switch, in process and over real ZeroMQ."""

# ruff: noqa: E501 - a value is a line, as it is sent

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import dfovsdb
from dfovsdb import Monitor, config, plugins
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.sinks.dragonflow import client as dragonflow_zmq
from dfovsdb.testing import Sandbox, wait_until
from tests.controllers import Controller, Subscriber
from tests.freeports import free_port
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
SAMPLE = Path(dfovsdb.__file__).parent / "etc" / "dragonflow.conf"
GUIDE = ROOT / "docs" / "dragonflow.md"
IFACE_ID = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
MAC = "fa:16:3e:00:00:01"
VM = ("type=dummy", f"external_ids:iface-id={IFACE_ID}", f'external_ids:attached-mac="{MAC}"')


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    return ovs_sandbox


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/df"


def add_port(switch: Sandbox, name: str, *settings: str) -> None:
    switch.vsctl("add-port", "br-int", name, "--", "set", "interface", name, *settings)


def column(switch: Sandbox, name: str, column: str) -> str:
    return switch.vsctl("get", "interface", name, column).strip().strip('"')


def wait_for_up(switch: Sandbox, *names: str) -> None:
    for name in names:
        switch.vsctl("wait-until", "interface", name, "link_state=up")


class Received:
    """What a controller in process heard of one name."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def values(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        calls = [
            (action, json.loads(value))
            for _, _, action, value in self.controller.calls
            if value is not None
        ]
        return [(action, value) for action, value in calls if value["name"] == name]

    def life(self, name: str) -> list[str]:
        """Without the sets: the switch writes its facts at once or one by one, and the server
        merges them for who is slow.
        """
        return [action for action, _ in self.values(name) if action != "set"]

    def wait_for_number(self, name: str) -> None:
        wait_until(lambda: [v for _, v in self.values(name)[-1:] if v.get("port_num", -1) > 0])


@pytest.fixture
def received(switch: Sandbox) -> Iterator[Received]:
    controller = Controller()
    with Monitor(
        switch.connection, sinks=[DragonflowSink(callback=controller.db_change_callback)]
    ):
        wait_until(lambda: "switch_sync_finished" in controller.actions)
        yield Received(controller)


# In process.


#: A port's name and its value, with its uuid, mac_in_use and ofport for the `%s`.
SWITCH_PORT = {
    "tap4aa64e21-d9": '{"admin_state":"up","attached_mac":"fa:16:3e:00:00:01","id":"%s","lport":"4aa64e21-d9d6-497e-bfa9-cf6dbb574054","mac_in_use":"%s","name":"tap4aa64e21-d9","port_num":%s,"type":"compute"}',
    "geneve-vtp": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"geneve-vtp","port_num":%s,"tunnel_type":"geneve","type":"tunnel"}',
    "br-int": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"br-int","port_num":%s,"type":"bridge"}',
    "patch-int": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"patch-int","peer":"patch-tun","port_num":%s,"type":"patch"}',
}
OVS_PORT = {
    "tap4aa64e21-d9": '{"admin_state":"up","attached_mac":"fa:16:3e:00:00:01","id":"%s","lport":"4aa64e21-d9d6-497e-bfa9-cf6dbb574054","mac_in_use":"%s","name":"tap4aa64e21-d9","ofport":%s,"type":"vm"}',
    "geneve-vtp": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"geneve-vtp","ofport":%s,"tunnel_type":"geneve","type":"tunnel"}',
    "br-int": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"br-int","ofport":%s,"type":"bridge"}',
    "patch-int": '{"admin_state":"up","id":"%s","mac_in_use":"%s","name":"patch-int","ofport":%s,"peer":"patch-tun","peer_bridge":"br-tun","type":"patch"}',
}


@pytest.mark.parametrize(
    ("dialect", "values"), [("switch_port", SWITCH_PORT), ("ovs_port", OVS_PORT)]
)
def test_the_values_of_a_real_switch_are_those_of_the_contract_byte_for_byte(
    switch: Sandbox, dialect: str, values: dict[str, str]
) -> None:
    switch.add_bridge("br-tun")
    add_port(switch, "tap4aa64e21-d9", *VM)
    add_port(switch, "geneve-vtp", "type=geneve", "options:remote_ip=10.0.0.2")
    add_port(
        switch,
        "patch-int",
        "type=patch",
        "options:peer=patch-tun",
        "external_ids:peer_bridge=br-tun",
    )
    switch.vsctl(
        "add-port",
        "br-tun",
        "patch-tun",
        "--",
        "set",
        "interface",
        "patch-tun",
        "type=patch",
        "options:peer=patch-int",
    )
    wait_for_up(switch, *values)
    controller = Controller()
    sink = DragonflowSink(callback=controller.db_change_callback, dialect=dialect, filter="none")
    with Monitor(switch.connection, sinks=[sink]):
        wait_until(lambda: any(action.endswith("_finished") for action in controller.actions))
    sent = {key: value for _, key, action, value in controller.calls if action == "create"}
    for name, value in values.items():
        uuid, mac, number = (column(switch, name, c) for c in ("_uuid", "mac_in_use", "ofport"))
        assert sent[uuid] == value % (uuid, mac, number)


def test_a_vm_is_created_set_and_deleted_as_last_known(
    switch: Sandbox, received: Received
) -> None:
    add_port(switch, "tap0", *VM)
    received.wait_for_number("tap0")
    wait_for_up(switch, "tap0")
    switch.vsctl("set", "interface", "tap0", 'external_ids:attached-mac="fa:16:3e:00:00:02"')
    wait_until(lambda: received.values("tap0")[-1][1]["attached_mac"] == "fa:16:3e:00:00:02")
    switch.vsctl("del-port", "tap0")
    wait_until(lambda: received.life("tap0") == ["create", "delete"])
    *_, (action, last), (_, deleted) = received.values("tap0")
    assert (action, last["attached_mac"]) == ("set", "fa:16:3e:00:00:02")
    assert deleted == last


def test_a_port_number_that_becomes_invalid_is_reported(
    switch: Sandbox, received: Received
) -> None:
    add_port(switch, "tap0", *VM)
    received.wait_for_number("tap0")
    switch.vsctl("--no-wait", "set", "interface", "tap0", "type=system")  # no such device
    wait_until(lambda: received.values("tap0")[-1][1].get("port_num") == -1)
    assert received.values("tap0")[-1][0] == "set"


# What loses events in the controller's own client.


def test_an_iface_id_that_is_removed_before_its_row_deletes_the_port_once(
    switch: Sandbox, received: Received
) -> None:
    add_port(switch, "tap0", *VM)
    received.wait_for_number("tap0")
    switch.vsctl("remove", "interface", "tap0", "external_ids", "iface-id")
    wait_until(lambda: received.life("tap0") == ["create", "delete"])
    assert received.values("tap0")[-1][1]["lport"] == IFACE_ID
    switch.vsctl("del-port", "tap0")
    add_port(switch, "tap1", *VM)  # what comes later arrives after it
    wait_until(lambda: received.life("tap1"))
    assert received.life("tap0") == ["create", "delete"]


def test_a_port_that_is_deleted_during_a_reconnect_is_deleted_between_the_markers(
    ovsdb_sandbox: Sandbox,
) -> None:
    box, controller = ovsdb_sandbox, Controller()
    box.vsctl("add-br", "br-int")
    for name in ("tap0", "tap1"):
        add_port(box, name, *VM)
    with Monitor(box.connection, sinks=[DragonflowSink(callback=controller.db_change_callback)]):
        wait_until(lambda: "switch_sync_finished" in controller.actions)
        before = len(controller.calls)
        box.stop_database()
        with box.hidden_database():
            box.vsctl("del-port", "tap0")
        box.start_database()
        wait_until(lambda: controller.actions.count("switch_sync_finished") == 2)
    assert controller.actions[before:] == [
        "switch_sync_started",
        "delete",
        "create",
        "create",
        "switch_sync_finished",
    ]
    assert json.loads(controller.calls[before + 1][3])["name"] == "tap0"


def test_a_malformed_neighbour_of_the_same_transaction_costs_nobody_an_event(
    switch: Sandbox, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    commands: list[str] = []
    for name, mac in (("tap0", MAC), ("tap1", "not-a-mac"), ("tap2", MAC)):
        commands += [
            "--",
            "add-port",
            "br-int",
            name,
            "--",
            "set",
            "interface",
            name,
            "type=dummy",
            f"external_ids:iface-id={name}",
            f'external_ids:attached-mac="{mac}"',
        ]
    switch.vsctl(*commands)
    for number in range(3):
        received.wait_for_number(f"tap{number}")
    macs = [received.values(f"tap{n}")[-1][1].get("attached_mac") for n in range(3)]
    assert macs == [MAC, None, MAC]
    assert caplog.text.count("not-a-mac") == 1


# Over ZeroMQ.


@pytest.fixture(scope="session")
def old_msgpack() -> Path:
    """A folder with msgpack 0.6.2, kept in .cache: fetched once, then no network is needed.

    It cannot be a requirement of the tests, as oslo.serialization needs a newer one. The wheel
    is one of Python 3.7, whose compiled part is never used: the pure Python one runs anywhere,
    and nothing has to be built.
    """
    folder = ROOT / ".cache" / "msgpack-0.6.2"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "install",
                    "-q",
                    "--target",
                    f"{new}/lib",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--implementation=cp",
                    "--python-version=3.7",
                    "--abi=cp37m",
                    "--platform=manylinux1_x86_64",
                    "msgpack==0.6.2",
                ],
                env={**os.environ, "PIP_USER": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"msgpack 0.6.2 cannot be fetched: {done.stderr.strip()[-200:]}")
            with contextlib.suppress(OSError):  # another worker was faster
                Path(new, "lib").rename(folder)
    return folder


class OldSubscriber:
    """A process of its own with the old msgpack."""

    def __init__(self, endpoint: str, msgpack: Path) -> None:
        self.messages: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                str(ROOT / "tests/functional/old_subscriber.py"),
                endpoint,
            ],
            env={**os.environ, "PYTHONPATH": str(msgpack), "MSGPACK_PUREPYTHON": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert json.loads(self.process.stdout.readline()) == [0, 6, 2]
        self._thread = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self.messages.append(json.loads(line))

    @property
    def names(self) -> set[str]:
        """Of the ports that a controller has which obeys."""
        ports: dict[str, str] = {}
        for message in self.messages:
            if message["action"] in ("create", "set"):
                ports[message["key"]] = json.loads(message["value"])["name"]
            elif message["action"] == "delete":
                ports.pop(message["key"], None)
        return set(ports.values())

    def wait_for_syncs(self, number: int) -> None:
        wait_until(
            lambda: [m["action"] for m in self.messages].count("switch_sync_finished") >= number
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        self.process.stdout.close()  # type: ignore[union-attr]  # it is a pipe


@pytest.fixture
def old_subscriber(endpoint: str, old_msgpack: Path) -> Iterator[Callable[[], OldSubscriber]]:
    running: list[OldSubscriber] = []

    def start() -> OldSubscriber:
        running.append(OldSubscriber(endpoint, old_msgpack))
        return running[-1]

    yield start
    for one in running:
        one.close()


def test_an_old_subscriber_decodes_every_message_and_a_late_one_has_the_whole_state(
    switch: Sandbox, endpoint: str, old_subscriber: Callable[[], OldSubscriber]
) -> None:
    with Monitor(switch.connection, sinks=[DragonflowSink(endpoint=endpoint)]):
        early = old_subscriber()
        with Subscriber(endpoint) as today:
            early.wait_for_syncs(1)
            today.wait_for_syncs()
            add_port(switch, "tap0", *VM)
            add_port(switch, "tap1", *VM)
            add_port(switch, "geneve0", "type=geneve", "options:remote_ip=10.0.0.2")
            wait_for_up(switch, "tap0", "tap1", "geneve0")
            switch.vsctl("del-port", "tap0")
            wait_until(lambda: early.names == {"br-int", "tap1", "geneve0"})
            late = old_subscriber()
            late.wait_for_syncs(1)
            assert late.names == {"br-int", "tap1", "geneve0"}
            assert late.messages[0]["action"] == "switch_sync_started"
            number = len(late.messages)
            early.wait_for_syncs(2)
            assert early.messages[-number:] == late.messages
            today.wait_for_syncs(2)
            assert today.messages == early.messages[-len(today.messages) :]


def test_a_subscriber_that_is_stopped_is_an_outage_and_no_loss(
    switch: Sandbox,
    endpoint: str,
    old_subscriber: Callable[[], OldSubscriber],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "PIPE_LIMIT", 10)
    for name in ("tap0", "tap1"):  # a message that fills the connection soon
        add_port(switch, name, "type=dummy", f"external_ids:iface-id={'i' * 30_000}")
    with Monitor(switch.connection, sinks=[DragonflowSink(endpoint=endpoint)]) as monitor:
        subscriber = old_subscriber()
        subscriber.wait_for_syncs(1)
        subscriber.process.send_signal(signal.SIGSTOP)

        def outage() -> bool:
            monitor.replay()
            return "does not read" in caplog.text

        wait_until(outage)
        switch.vsctl("del-port", "tap0")
        add_port(switch, "tap2", *VM)
        wait_until(
            lambda: {p.name for p in monitor.ports().values()} == {"br-int", "tap1", "tap2"}
        )
        subscriber.process.send_signal(signal.SIGCONT)
        wait_until(lambda: subscriber.names == {"br-int", "tap1", "tap2"})


def test_closing_waits_for_what_is_on_its_way(
    endpoint: str, old_subscriber: Callable[[], OldSubscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "LINGER", int(DEADLINE * 1000))
    publisher = dragonflow_zmq.ZmqPublisher(endpoint, "D")
    publisher.open()
    subscriber = old_subscriber()
    wait_until(publisher.new_subscribers)
    subscriber.process.send_signal(signal.SIGSTOP)
    for number in range(300):
        publisher.send("switch_port", str(number), "set", "x" * 5000)
    closing = threading.Thread(target=publisher.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    subscriber.process.send_signal(signal.SIGCONT)
    closing.join(DEADLINE)
    wait_until(lambda: len(subscriber.messages) == 300)


# As an operator runs it.


def sample(tmp_path: Path, connection: str, endpoint: str, *lines: str) -> str:
    """The sample configuration, with another server and endpoint."""
    text = SAMPLE.read_text().replace("tcp:127.0.0.1:6640", connection)
    file = tmp_path / "dragonflow.conf"
    file.write_text("\n".join([text.replace("tcp://127.0.0.1:8866", endpoint), *lines]))
    return str(file)


@pytest.fixture
def agent() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(file: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dfovsdb", "--config-file", file, "run"]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.wait()


def names_of(subscriber: Subscriber, *types: str) -> set[str]:
    values = [json.loads(m["value"]) for m in subscriber.messages if m["value"]]
    return {value["name"] for value in values if value["type"] in types}


def test_the_sample_configuration_tells_of_the_metadata_interface_over_tcp(
    switch: Sandbox, tmp_path: Path, agent: Callable[[str], subprocess.Popen[str]]
) -> None:
    add_port(switch, "tap-metadata", "type=internal")
    add_port(switch, "tap-other", "type=internal")
    add_port(switch, "tap0", *VM)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    agent(sample(tmp_path, switch.connection, endpoint))
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()
        assert names_of(subscriber, "unknown") == {"tap-metadata"}
        assert names_of(subscriber, "compute", "bridge") == {"tap0", "br-int"}


def test_a_controller_that_outlives_an_agent_hears_of_what_vanished_meanwhile(
    switch: Sandbox,
    tmp_path: Path,
    endpoint: str,
    agent: Callable[[str], subprocess.Popen[str]],
) -> None:
    add_port(switch, "tap0", *VM)
    uuid = column(switch, "tap0", "_uuid")
    file = sample(tmp_path, switch.connection, endpoint)
    text = Path(file).read_text().replace("#state_dir = /var/lib/dfovsdb", f"state_dir={tmp_path}")
    Path(file).write_text(text)
    first = agent(file)
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()
        assert uuid in subscriber.keys
        first.terminate()
        assert first.wait(DEADLINE) == 0
        switch.vsctl("del-port", "tap0")
        agent(file)
        subscriber.wait_for(lambda: uuid not in subscriber.keys)


@pytest.mark.parametrize(
    ("endpoint", "line", "says"),
    [
        ("tcp://127.0.0.1:TAKEN", "", "cannot be bound: Address already in use"),
        ("tcp://127.0.0.1:TAKEN", "dialect = lport", "dialect"),
        ("udp://127.0.0.1:8866", "", "use tcp://ADDRESS:PORT or ipc://PATH"),
    ],
)
def test_wrong_use_ends_with_status_2_and_one_line_before_anything_is_monitored(
    tmp_path: Path, endpoint: str, line: str, says: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ovsdb,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        connection = f"tcp:127.0.0.1:{ovsdb.getsockname()[1]}"
        endpoint = endpoint.replace("TAKEN", str(taken.getsockname()[1]))
        file = sample(tmp_path, connection, endpoint, line)
        done = subprocess.run(
            [sys.executable, "-m", "dfovsdb", "--config-file", file, "run"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        *before, error = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (2, "")
        # what is found out when a sink is opened follows the line that says what is started
        assert len(before) == (1 if "cannot be bound" in says else 0)
        assert all(" INFO dfovsdb.cli.run [-] dfovsdb " in line for line in before), before
        assert error.startswith("dfovsdb: ")
        assert says in done.stderr
        ovsdb.setblocking(False)
        with pytest.raises(BlockingIOError):
            ovsdb.accept()


# The guide.


def guide(language: str, word: str = "", *changes: tuple[str, str]) -> str:
    pattern = rf"^```{language}\n(.*?)^```"
    blocks = re.findall(pattern, GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    block: str
    (block,) = [block for block in blocks if word in block]
    for old, new in changes:
        assert old in block
        block = block.replace(old, new)
    return block


def test_the_callback_of_the_guide_is_called(
    switch: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    add_port(switch, "tap-metadata", "type=internal")
    code = guide("python", "db_change_callback", ("tcp:127.0.0.1:6640", switch.connection))
    exec(compile(code, "dragonflow.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("None switch_sync_started None") >= 1
    assert any(re.fullmatch(r'switch_port create {.*"tap-metadata".*}', line) for line in lines)


def test_the_configuration_and_the_subscriber_of_the_guide_meet(
    switch: Sandbox, tmp_path: Path, endpoint: str
) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(guide("ini", "", ("tcp://127.0.0.1:8866", endpoint)))
    conf = config.load([str(file)])
    classifiers = plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf)
    sinks = plugins.SINKS.build(conf.dfovsdb.sinks, conf)
    code = guide("python", "import zmq", ("tcp://127.0.0.1:8866", endpoint))
    reader = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout
    with Monitor(switch.connection, classifiers=list(classifiers.values()), sinks=sinks):
        line = reader.stdout.readline()
    reader.kill()
    reader.wait()
    reader.stdout.close()
    assert "'action': 'switch_sync_started'" in line


def test_the_value_in_the_guide_is_what_we_send() -> None:
    value = guide("json").strip()
    assert json.dumps(json.loads(value), sort_keys=True, separators=(",", ":")) == value


def test_the_guide_names_every_option_and_its_default() -> None:
    for option in DragonflowSink.options:
        default = f"`{option.default}`" if option.default else ""
        assert f"| `{option.dest}` | {default}" in GUIDE.read_text()
