"""What a Dragonflow controller receives, to the byte and in which order."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import dfovsdb
from dfovsdb import config, plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import Interface, Port, PortEvent, port_of
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.sinks.dragonflow.messages import DIALECTS
from dfovsdb.testing import wait_until
from tests.controllers import Controller, Running, event, marker, ports

SAMPLE = Path(dfovsdb.__file__).parent / "etc" / "dragonflow.conf"
UUID = "6b6acd03-5a83-4b9c-9cc6-0c3c4f9f2d5c"
IFACE_ID = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
MAC = "fa:16:3e:00:00:01"
VM = Interface(
    uuid=UUID,
    name="tap4aa64e21-d9",
    external_ids={"iface-id": IFACE_ID, "attached-mac": MAC},
)
TUNNEL = Interface(
    uuid=UUID,
    name="geneve-vtp",
    type="geneve",
    ofport=1,
    admin_state="up",
    mac_in_use="aa:55:aa:55:00:11",
    options={"remote_ip": "10.0.0.2", "key": "flow"},
)
BRIDGE = Interface(
    uuid=UUID,
    name="br-int",
    type="internal",
    ofport=65534,
    admin_state="up",
    mac_in_use="aa:55:aa:55:00:12",
)
PATCH = Interface(
    uuid=UUID,
    name="patch-int",
    type="patch",
    ofport=3,
    admin_state="down",
    options={"peer": "patch-tun"},
    external_ids={"peer_bridge": "br-tun"},
)
METADATA = Interface(uuid=UUID, name="tap-metadata", type="internal", ofport=4)
DHCP = Interface(uuid=UUID, name="dhcp0", type="internal", ofport=5)

replace = msgspec.structs.replace


def port(row: Interface, **changes: Any) -> Port:
    """The port that the default classifiers, and one for two other kinds, make of a row."""
    others = [MatchClassifier(kind="other", names=["tap-metadata", "dhcp*"])]
    found = Chain([*others, *plugins.default_classifiers()]).port(replace(row, **changes), None)
    assert found is not None
    return found


def received(events: list[PortEvent], **options: Any) -> list[tuple[Any, ...]]:
    """What a controller in process receives of these events."""
    controller = Controller()
    sink = DragonflowSink(callback=controller.db_change_callback, **options)
    for item in events:
        sink.emit(item)
    return controller.calls


def value(row: Interface, **options: Any) -> str:
    """The value that is sent of a row."""
    ((_table, _key, _action, sent),) = received([event("online", port(row))], **options)
    assert isinstance(sent, str)
    return sent


# The words.


#: The contract's own, and the same for the other dialect.
VALUES = """
tap4aa64e21-d9 switch_port {"attached_mac":"fa:16:3e:00:00:01","id":"UUID","lport":"IFACE","name":"tap4aa64e21-d9","type":"compute"}
tap4aa64e21-d9 ovs_port {"attached_mac":"fa:16:3e:00:00:01","id":"UUID","lport":"IFACE","name":"tap4aa64e21-d9","type":"vm"}
geneve-vtp switch_port {"admin_state":"up","id":"UUID","mac_in_use":"aa:55:aa:55:00:11","name":"geneve-vtp","port_num":1,"tunnel_type":"geneve","type":"tunnel"}
geneve-vtp ovs_port {"admin_state":"up","id":"UUID","mac_in_use":"aa:55:aa:55:00:11","name":"geneve-vtp","ofport":1,"tunnel_type":"geneve","type":"tunnel"}
br-int switch_port {"admin_state":"up","id":"UUID","mac_in_use":"aa:55:aa:55:00:12","name":"br-int","port_num":65534,"type":"bridge"}
patch-int switch_port {"admin_state":"down","id":"UUID","name":"patch-int","peer":"patch-tun","port_num":3,"type":"patch"}
patch-int ovs_port {"admin_state":"down","id":"UUID","name":"patch-int","ofport":3,"peer":"patch-tun","peer_bridge":"br-tun","type":"patch"}
tap-metadata switch_port {"id":"UUID","name":"tap-metadata","port_num":4,"type":"unknown"}
"""  # noqa: E501 - a line each, as it is sent


@pytest.mark.parametrize("line", VALUES.strip().splitlines(), ids=lambda line: line.split("{")[0])
def test_the_value_of_a_port_is_that_of_the_contract_byte_for_byte(line: str) -> None:
    name, dialect, expected = line.replace("UUID", UUID).replace("IFACE", IFACE_ID).split(" ")
    (row,) = (r for r in (VM, TUNNEL, BRIDGE, PATCH, METADATA) if r.name == name)
    assert value(row, dialect=dialect, filter="none") == expected


def test_a_vm_is_created_set_and_deleted_as_last_known() -> None:
    first = port(VM)
    second = port(VM, ofport=2, admin_state="up", mac_in_use="aa:55:aa:55:00:10")
    calls = received(
        [event("online", first), event("updated", second, first), event("offline", second)]
    )
    last = (
        '{"admin_state":"up","attached_mac":"fa:16:3e:00:00:01","id":"' + UUID + '",'
        '"lport":"' + IFACE_ID + '","mac_in_use":"aa:55:aa:55:00:10","name":"tap4aa64e21-d9",'
        '"port_num":2,"type":"compute"}'
    )
    assert [call[:3] for call in calls] == [
        ("switch_port", UUID, action) for action in ("create", "set", "delete")
    ]
    assert [call[3] for call in calls[1:]] == [last, last]


@pytest.mark.parametrize(
    ("dialect", "table", "word"),
    [("switch_port", "switch_port", "switch_sync"), ("ovs_port", "ovs_port", "ovs_sync")],
)
def test_a_dialect_has_its_own_table_and_markers(dialect: str, table: str, word: str) -> None:
    controller = Controller()
    sink = DragonflowSink(callback=controller.db_change_callback, dialect=dialect)
    sink.sync_started(marker("sync_started"))
    sink.emit(event("online", port(VM)))
    sink.sync_finished(marker("sync_finished"))
    assert [call[:3] for call in controller.calls] == [
        (None, None, f"{word}_started"),
        (table, UUID, "create"),
        (None, None, f"{word}_finished"),
    ]
    assert controller.calls[0][3] is None
    assert controller.calls[2][3] is None


def test_a_kind_that_the_controller_does_not_know_is_unknown() -> None:
    assert json.loads(value(DHCP, filter="none"))["type"] == "unknown"


def test_the_metadata_interface_is_unknown_even_where_it_is_of_another_kind() -> None:
    assert json.loads(value(VM, metadata_interface=VM.name))["type"] == "unknown"


def test_a_tunnel_that_a_match_classifier_claims_has_its_tunnel_type() -> None:
    claimed = port_of(TUNNEL, "tunnel", {})
    ((*_, sent),) = received([event("online", claimed)])
    assert json.loads(sent)["tunnel_type"] == "geneve"


def test_a_value_is_ascii_whatever_a_name_holds() -> None:
    sent = value(replace(BRIDGE, name='br-ü"'))
    assert sent.isascii()
    assert json.loads(sent)["name"] == 'br-ü"'


def test_a_mac_is_sent_in_lower_case() -> None:
    ids = {"iface-id": "v1", "attached-mac": "FA:16:3E:00:00:01"}
    row = replace(VM, mac_in_use="AA:55:AA:55:00:10", external_ids=ids)
    sent = json.loads(value(row))
    assert (sent["mac_in_use"], sent["attached_mac"]) == ("aa:55:aa:55:00:10", "fa:16:3e:00:00:01")


@pytest.mark.parametrize(
    "mac",
    ["fa:16:3e", "fa:16:3e:00:00:zz", "fa-16-3e-00-00-01", "fa163e000001", f"{MAC} ", f"{MAC}\n"],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_malformed_mac_is_left_out(mac: str, dialect: str) -> None:
    row = replace(
        VM, mac_in_use=mac, ofport=5, external_ids={"iface-id": "v1", "attached-mac": mac}
    )
    sent = json.loads(value(row, dialect=dialect))
    assert sent == {
        "id": UUID,
        "lport": "v1",
        "name": VM.name,
        DIALECTS[dialect].number: 5,
        "type": DIALECTS[dialect].vm,
    }


def test_an_admin_state_that_the_controller_does_not_know_is_left_out() -> None:
    assert "admin_state" not in json.loads(value(replace(VM, admin_state="testing")))


def test_what_is_left_out_is_warned_of_once_for_each_port(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = [port(VM, uuid=f"u{n}", mac_in_use="fa:16", admin_state="testing") for n in range(2)]
    calls = received(
        [
            event("online", bad[0]),
            event("updated", bad[0], bad[0]),
            event("online", bad[1]),
            event("online", bad[0], bad[0]),
        ]
    )
    assert len(calls) == 4
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    for number, message in enumerate(caplog.messages):
        assert f"port {VM.name} (u{number})" in message
        assert "admin_state 'testing', mac_in_use 'fa:16'" in message


def test_a_value_that_goes_bad_later_is_warned_of_too(caplog: pytest.LogCaptureFixture) -> None:
    bad, worse = port(VM, mac_in_use="fa:16"), port(VM, mac_in_use="fa:17", admin_state="testing")
    received([event("online", bad), event("updated", worse, bad)])
    assert len(caplog.messages) == 2
    assert "admin_state 'testing':" in caplog.messages[1]


# The filter.


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        (VM, True),
        (TUNNEL, True),
        (BRIDGE, True),
        (METADATA, True),
        (PATCH, False),
        (DHCP, False),
        (replace(BRIDGE, name="qg-1"), False),
        (replace(VM, ofport=-1), True),
    ],
    ids=lambda parameter: getattr(parameter, "name", None),
)
def test_the_filter_is_by_kind_and_name_alone_and_none_tells_everything(
    row: Interface, passes: bool
) -> None:
    now = port(row)
    events = [event("online", now), event("updated", now, now), event("offline", now)]
    assert [call[2] for call in received(events)] == (
        ["create", "set", "delete"] if passes else []
    )
    assert [call[2] for call in received(events, filter="none")] == ["create", "set", "delete"]


def test_a_port_number_that_becomes_invalid_is_reported_as_a_set() -> None:
    good, bad = port(VM, ofport=5), port(VM, ofport=-1)
    _, (*_, action, sent) = received([event("online", good), event("updated", bad, good)])
    assert (action, json.loads(sent)["port_num"]) == ("set", -1)


def test_a_port_that_changes_its_name_across_the_filter_is_created_and_deleted() -> None:
    shown, hidden = port(VM), port(VM, name="qgtap")
    calls = received(
        [
            event("online", hidden),
            event("updated", shown, hidden),
            event("updated", hidden, shown),
            event("offline", hidden),
            event("online", shown),
            event("online", hidden, shown),  # as in a replaying sync
        ]
    )
    assert [call[2] for call in calls] == ["create", "delete", "create", "delete"]
    assert {json.loads(call[3])["name"] for call in calls} == {VM.name}


def test_a_port_that_is_reported_again_is_created_again() -> None:
    now = port(VM, ofport=2)
    assert [call[2] for call in received([event("online", now, port(VM))])] == ["create"]


# In process, with a real worker.


def test_an_exception_of_the_callback_refuses_one_event_and_no_neighbour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller = Controller()
    controller.choke_on = '"tap1"'
    running = Running(DragonflowSink(callback=controller.db_change_callback))
    with running as dispatcher:
        dispatcher.publish_sync(ports(3))
        wait_until(lambda: "switch_sync_finished" in controller.actions)
        assert [call[1] for call in controller.calls] == [None, "u0", "u1", "u2", None]
        assert "the controller chokes" in caplog.text
        assert running.worker.counters["refused"] == 1
        controller.choke_on = ""
        dispatcher.replay()
        wait_until(lambda: controller.actions.count("switch_sync_finished") == 2)
        assert sorted(call[1] for call in controller.calls[6:-1]) == ["u0", "u1", "u2"]


def test_a_sync_whose_beginning_is_refused_has_no_end() -> None:
    controller = Controller()
    controller.choke_on = "switch_sync_started"
    with Running(DragonflowSink(callback=controller.db_change_callback)) as dispatcher:
        dispatcher.publish_sync(ports(1))
        wait_until(lambda: "create" in controller.actions)
        controller.choke_on = ""
        dispatcher.replay()
        wait_until(lambda: "switch_sync_finished" in controller.actions)
    assert controller.actions == [
        "switch_sync_started",
        "create",
        "switch_sync_started",
        "create",
        "switch_sync_finished",
    ]


def test_a_sync_of_mere_differences_has_no_end() -> None:
    """At the end the controller deletes the flows of every port that did not arrive within."""
    controller = Controller()
    sink = DragonflowSink(callback=controller.db_change_callback)
    with Running(sink, resync="diff") as dispatcher:
        dispatcher.publish_sync(ports(2))
        wait_until(lambda: "switch_sync_finished" in controller.actions)
        dispatcher.publish_sync([*ports(3), ("u0", None)])
        wait_until(lambda: len(controller.calls) == 7)
        dispatcher.replay()
        wait_until(lambda: controller.actions[-1] == "switch_sync_finished")
    assert controller.actions[4:] == [
        "switch_sync_started",
        "delete",
        "create",
        "switch_sync_started",
        "create",
        "create",
        "switch_sync_finished",
    ]


def test_a_controller_in_process_is_never_polled() -> None:
    assert DragonflowSink(callback=Controller().db_change_callback).poll_interval is None


# Wrong use.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "option endpoint is required"),
        ({"endpoint": ""}, "option endpoint is required"),
        ({"endpoint": "ipc:///tmp/x", "callback": print}, "exclude each other"),
        ({"callback": "db_change_callback"}, "cannot be called"),
        ({"callback": print, "dialect": "lport"}, "dialect 'lport': use switch_port or ovs_port"),
        ({"callback": print, "filter": "all"}, "filter 'all': use dragonflow or none"),
        ({"endpoint": "tcp://127.0.0.1"}, "use tcp://ADDRESS:PORT or ipc://PATH"),
        ({"endpoint": "tcp://127.0.0.1:99999"}, "use tcp://ADDRESS:PORT or ipc://PATH"),
        ({"endpoint": "tcp://::1:8866"}, "use tcp://ADDRESS:PORT or ipc://PATH"),
        ({"endpoint": "inproc://df"}, "use tcp://ADDRESS:PORT or ipc://PATH"),
        ({"endpoint": "ipc://"}, "use tcp://ADDRESS:PORT or ipc://PATH"),
        ({"endpoint": "ipc:///tmp/x", "topic": ""}, "option topic is empty"),
    ],
)
def test_wrong_options_are_refused_when_it_is_built(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        DragonflowSink(**options)


@pytest.mark.parametrize("option", ["dialect = lport", "filter = all", "endpoint ="])
def test_wrong_options_of_the_configuration_name_their_group(option: str, tmp_path: Path) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(f"[sink_dragonflow]\nendpoint = ipc:///tmp/df\n{option}\n")
    with pytest.raises(ConfigurationError, match=r"^\[sink_dragonflow\] [^\n]*$"):
        plugins.SINKS.build(["dragonflow"], config.load([str(file)]))


def test_without_pyzmq_an_endpoint_says_what_to_install_and_a_callback_works() -> None:
    code = (
        "import sys; sys.modules['zmq'] = None\n"
        "from dfovsdb.sinks.dragonflow import DragonflowSink\n"
        "DragonflowSink(callback=print)\n"
        "try: DragonflowSink(endpoint='ipc:///tmp/x')\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "install dfovsdb[dragonflow] (pip install 'WHEEL[dragonflow]' where" in done.stdout


def test_pyzmq_is_imported_only_where_an_endpoint_is_configured() -> None:
    code = (
        "import sys; from dfovsdb import unknown_options, plugins; unknown_options.list_opts()\n"
        "plugins.SINKS.build(['log'])\n"
        "from dfovsdb.sinks.dragonflow import DragonflowSink; DragonflowSink(callback=print)\n"
        "print('zmq' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# The sample configuration.


def test_the_sample_configuration_builds_the_chain_and_the_sink() -> None:
    conf = config.load([str(SAMPLE)])
    chain = Chain(list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()))
    sinks = plugins.SINKS.build(conf.dfovsdb.sinks, conf)
    assert {name: type(sink) for name, sink in sinks.items()} == {"dragonflow": DragonflowSink}
    rows = (VM, TUNNEL, BRIDGE, PATCH, METADATA, DHCP)
    found = [chain.port(row, None) for row in rows]
    assert [p and p.kind for p in found] == ["vm", "tunnel", "bridge", "patch", "other", None]


def test_the_sample_configuration_names_every_option_and_its_default() -> None:
    text = SAMPLE.read_text().partition("\n[sink_dragonflow]\n")
    parser = configparser.ConfigParser()
    parser.read_string(text[1] + re.sub(r"^#(?=\w+ = )", "", text[2], flags=re.MULTILINE))
    named = dict(parser["sink_dragonflow"])
    assert named.pop("endpoint") == "tcp://127.0.0.1:8866"
    defaults = {o.dest: o.default for o in DragonflowSink.options if o.dest != "endpoint"}
    assert named == defaults
