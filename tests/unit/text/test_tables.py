"""Tables, the order of names, and durations."""

from __future__ import annotations

import pytest

from dfovsdb.text.durations import seconds
from dfovsdb.text.events import port_table, terminal_lines
from dfovsdb.text.natural import natural
from dfovsdb.text.tables import table
from tests.unit.samples import event, port

VIF = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"


def test_columns_give_way_in_order_until_a_line_fits() -> None:
    header, row = ("a", "bb", "ccc", "rest"), ("1", "2", "3", "all of this")

    def lines(width: int | None) -> list[str]:
        return list(table(header, [row], width=width, gives_way=("ccc", "a"), last=11))

    assert lines(None) == ["a  bb  ccc  rest", "1  2   3    all of this"]
    assert lines(23) == lines(None)
    assert lines(22) == ["a  bb  rest", "1  2   all of this"]
    assert lines(17) == ["bb  rest", "2   all of this"]
    assert lines(10) == ["bb  rest", "2   all o…"]


def test_at_80_columns_name_state_link_and_the_whole_vif_are_there() -> None:
    ports = [
        port("vm", {"iface_id": VIF, "attached_mac": "fa:16:3e:00:00:01"}, name="tap4aa64e21-d9"),
        port("bridge", {}, name="br-int"),
    ]
    lines = list(port_table(ports, width=80))
    assert all(len(line) <= 80 for line in lines)
    for word in ("tap4aa64e21-d9", "ready", "up", f"iface_id={VIF}"):
        assert word in lines[1]
    assert lines[-1] == "2 ports: bridge 1, vm 1 (without kind, bridge, ofport, mac: --wide)"
    assert "fa:16:3e:00:00:01" in next(iter(port_table(ports[:1], width=None))) + "".join(
        port_table(ports[:1], width=None)
    )


@pytest.mark.parametrize(
    "names",
    [
        ["tap2", "tap10"],
        ["br-2", "br-10", "br-int"],
        ["a", "a1", "a01b", "a2"],
        ["tap9x1", "tap10"],
        ["", "0", "1", "10", "x"],
    ],
)
def test_names_are_in_the_order_of_a_person(names: list[str]) -> None:
    assert sorted([*names[1:], *names[:1]], key=natural) == names


@pytest.mark.parametrize(
    ("text", "value"),
    [("30", 30), ("30s", 30), ("1.5", 1.5), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0", 0)],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1w", "1 h", "nan", "inf", "1e3", "\uff110", "9" * 999]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is (not a duration|too long)"):
        seconds(text)


@pytest.mark.parametrize(("state", "colour"), [("ready", "32"), ("failed", "31"), ("gone", "31")])
def test_a_port_that_has_failed_is_not_green(state: str, colour: str) -> None:
    ofport = {"ready": 5, "failed": -1, "gone": 5}[state]
    delivered = event(
        port(ofport=ofport)
        if state != "gone"
        else port(ofport=ofport, admin_state="down", link_state="down", mac_in_use=None)
    )
    assert delivered.port.state == state
    assert f"\x1b[{colour}monline" in terminal_lines(delivered, colour=True)[0]
