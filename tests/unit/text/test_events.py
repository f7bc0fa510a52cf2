"""Lines for people: what the database holds can neither break them nor steer a terminal."""

from __future__ import annotations

import re
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.text.events import (
    event_line,
    marker_line,
    past_lines,
    port_table,
    terminal_lines,
    timeline_lines,
)
from tests.unit.samples import event, marker, port

ESCAPES = re.compile(r"\x1b\[\d+m")


def test_one_port_is_singular_wherever_ports_are_counted() -> None:
    assert list(port_table([port()]))[-1] == "1 port: vm 1"
    assert " is complete, 1 port " in terminal_lines(marker(action="sync_finished", ports=1))[0]


# Log lines.


def test_an_online_port_shows_its_number_and_its_attributes() -> None:
    vm = port(attributes={"iface_id": "vif-1", "vm_id": None, "status": "active"})
    assert event_line(event(vm)) == "online vm tap0 ofport=5 iface_id=vif-1 status=active"


def test_a_pending_port_says_so() -> None:
    assert event_line(event(port(ofport=None, attributes={}))) == "online vm tap0 pending"


def test_a_failed_port_says_why() -> None:
    failed = port(ofport=-1, error="could not open\ndevice", attributes={})
    assert event_line(event(failed)) == r'online vm tap0 failed error="could not open\ndevice"'
    assert event_line(event(port(ofport=-1, attributes={}))) == "online vm tap0 failed"


def test_a_change_shows_what_changed() -> None:
    before = port(ofport=None, attributes={"a": "1", "b": "2"})
    now = port(attributes={"a": "x", "b": None})
    line = event_line(event(now, action="updated", previous=before))
    assert line == "updated vm tap0 ofport=none->5 state=pending->ready a=1->x b=2->none"


def test_an_offline_port_is_shown_as_it_was() -> None:
    assert event_line(event(action="offline")) == "offline vm tap0 ofport=5 iface_id=vif-1"


def test_a_marker_line_has_the_number_of_ports_at_the_end() -> None:
    assert marker_line(marker()) == "sync_started origin=initial"
    finished = marker(action="sync_finished", origin="replay", ports=0)
    assert marker_line(finished) == "sync_finished origin=replay ports=0"


# The terminal.


def test_columns_are_aligned() -> None:
    lines = [
        *terminal_lines(event(port("vm", name="tap0")), width=80),
        *terminal_lines(event(port("tunnel", name="vxlan-1"), action="offline"), width=80),
    ]
    assert len({line.index("ofport=") for line in lines}) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d  online   vm       tap0 {11} {2}ofport=5 .*", lines[0])


def test_colour_changes_nothing_but_the_colour() -> None:
    for item in (event(), event(action="offline"), marker(), marker(ports=3)):
        plain = terminal_lines(item, colour=False, width=60)
        coloured = terminal_lines(item, colour=True, width=60)
        assert "\x1b" not in "".join(plain)
        assert coloured != plain
        assert [ESCAPES.sub("", line) for line in coloured] == plain


def test_an_event_that_is_too_long_goes_on_in_a_second_line_with_the_whole_identity() -> None:
    vif = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
    vm = port(
        "vm",
        {"attached_mac": "fa:16:3e:5b:29:af", "iface_id": vif, "iface_status": "active"},
        name="tap4aa64e21-d9",
        bridge="br-int",
    )
    first, second = terminal_lines(event(vm), width=80)
    assert first[8:] == "  online   vm       tap4aa64e21-d9   ofport=5 bridge=br-int"
    assert second == " " * 19 + f"iface_id={vif} attached_mac=f…"
    assert len(terminal_lines(event(vm), width=200)) == 1


def test_a_change_that_is_too_long_goes_on_in_a_second_line() -> None:
    before = port("vm", {"a": "1" * 20, "b": "2" * 20}, ofport=None)
    now = port("vm", {"a": "3" * 20, "b": "4" * 20})
    first, second = terminal_lines(event(now, action="updated", previous=before), width=80)
    assert first.endswith("vm       tap0             ofport=none->5 state=pending->ready")
    assert second == " " * 19 + f"a={'1' * 20}->{'3' * 20} b={'2' * 13}…"


def test_a_sync_is_a_rule_as_wide_as_asked() -> None:
    (begins,) = terminal_lines(marker(), colour=False, width=60)
    assert begins.startswith("13:00:00  ── initial sync begins ─")
    assert len(begins) == 60
    (complete,) = terminal_lines(marker(ports=7), colour=False, width=50)
    assert complete.startswith("13:00:00  ── initial sync is complete, 7 ports ─")
    assert len(complete) == 50
    assert terminal_lines(marker(), colour=False, width=3) == ["13:00:00  ── initial sync begins "]
    (again,) = terminal_lines(marker(origin="resync", ports=7), colour=False, width=60)
    assert again.startswith("13:00:00  ── sync after a reconnect is complete, 7 ports ─")


anything = st.text(
    alphabet=st.one_of(
        st.characters(codec="utf-8"), st.sampled_from("\n\r\x1b\x9b\u202e\u2028\x7f\u200b")
    ),
    max_size=20,
)


@given(anything, anything, anything)
def test_no_database_content_leaves_its_line(name: str, kind: str, value: str) -> None:
    before = port(kind or "k", {value: value}, name=name)
    now = port(kind or "k", {value: name}, name=value, ofport=-1, error=value)
    for action in ("online", "updated", "offline"):
        delivered = event(now, action=action, previous=before)
        assert event_line(delivered).isprintable()
        lines = terminal_lines(delivered, colour=False, width=60)
        assert all(line.isprintable() and len(line) <= 60 for line in lines)
        assert len(lines) <= 2
        coloured = "".join(terminal_lines(delivered, colour=True, width=60))
        assert ESCAPES.sub("", coloured).isprintable()
        assert len(ESCAPES.findall(coloured)) == 4


def test_a_table_of_ports_is_aligned_and_counts_kinds() -> None:
    ports = [
        port("bridge", {}, name="br-int", ofport=65534),
        port(name="tap0", ofport=None, bridge="br-int", tag=5),
    ]
    assert list(port_table(ports)) == [
        "kind    name    bridge  state    ofport  link  mac  attributes",
        "bridge  br-int  -       ready    65534   up    -",
        "vm      tap0    br-int  pending  -       up    -    iface_id=vif-1 tag=5",
        "2 ports: bridge 1, vm 1",
    ]
    assert list(port_table([]))[1:] == ["0 ports"]


@given(st.text(), st.integers(1, 200))
def test_no_line_of_a_table_is_wider_than_the_terminal_or_steers_it(text: str, width: int) -> None:
    hostile = port("vm", {text: text}, name=text, ofport=-1, error=text, mac_in_use=text)
    for line in port_table([hostile], width=width):
        assert line.isprintable()
        assert len(line) <= width


def test_the_past_on_a_narrow_terminal_has_the_whole_identity_and_the_note_in_a_second_line() -> (
    None
):
    vif = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
    vm = port("vm", {"iface_id": vif, "iface_status": "active"}, name="tap4aa64e21-d9")
    first, second, third = past_lines(event(vm, action="offline", origin="resync"), width=80)
    assert first == "2026-11-22 13:00:00  offline  vm       tap4aa64e21-d9   ofport=5"
    assert second.startswith(f"{'':30}iface_id={vif}")
    assert third == f"{'':30}(found when the connection was back)"
    (whole,) = past_lines(event(vm, action="offline", origin="resync"))
    assert whole.endswith("iface_status=active (found when the connection was back)")
    (earlier,) = timeline_lines(event(vm), timedelta(seconds=-60), width=None)
    assert earlier.startswith("       -60.0 s  2026-11-22 13:00:00  online "), "clocks differ"
    first, second = timeline_lines(event(vm), timedelta(seconds=4.2), width=80)
    assert first.startswith(
        "        +4.2 s  2026-11-22 13:00:00  online   vm       tap4aa64e21-d9"
    )
    assert second.startswith(f"{'':30}iface_id={vif}")
