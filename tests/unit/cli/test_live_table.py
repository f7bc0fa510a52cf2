"""The live table: what it highlights, what it counts, and that it fits."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dfovsdb.cli.live_table import MOMENT, LiveTable
from dfovsdb.selection import Selection
from tests.unit.samples import event, marker, port

RED, GREEN, YELLOW = "31", "32", "33"


class Screen:
    """A board, its clock, and what it shows."""

    def __init__(self, selection: Selection | None = None) -> None:
        self.time = 1000.0
        self.board = LiveTable(selection or Selection(), lambda: self.time)

    def show(self, *, width: int = 80, height: int = 24, colour: bool = False) -> list[str]:
        console = Console(
            file=io.StringIO(),
            width=width,
            height=height,
            highlight=False,
            force_terminal=colour,
            color_system="standard" if colour else None,
            no_color=False,
            legacy_windows=False,
        )
        console.print(self.board.render("unix:/db.sock  synced", width, height))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().splitlines()

    def line(self, name: str) -> str:
        (line,) = [line for line in self.show(colour=True) if name in line]
        return line


def test_it_shows_the_server_the_counts_and_the_ports() -> None:
    screen = Screen()
    screen.board.emit(event(port(name="tap0")))
    screen.board.emit(event(port("bridge", {}, uuid="b", name="br-int", ofport=65534)))
    assert [line.split() for line in screen.show() if line.strip()] == [
        ["unix:/db.sock", "synced"],
        ["2", "ports", "bridge", "1", "vm", "1", "0.2", "events/s"],
        ["kind", "name", "bridge", "state", "ofport", "link", "mac", "attributes"],
        ["bridge", "br-int", "-", "ready", "65534", "up", "-"],
        ["vm", "tap0", "-", "ready", "5", "up", "-", "iface_id=vif-1"],
        ["by", "failures", "and", "kind;", "s", "sorts,", "arrows", "scroll,", "q", "quits"],
    ]


@pytest.mark.parametrize(
    ("action", "colour"), [("online", GREEN), ("updated", YELLOW), ("offline", RED)]
)
def test_a_change_is_highlighted_for_a_moment(action: str, colour: str) -> None:
    screen = Screen()
    screen.board.emit(event(port(name="tap0"), action=action))
    assert re.search(rf"\x1b\[[\d;]*{colour}m", screen.line("tap0"))
    screen.time += MOMENT
    if action == "offline":
        assert not [line for line in screen.show() if "tap0" in line]
    else:
        assert f"{colour}m" not in screen.line("tap0")


def test_a_first_sync_is_no_change() -> None:
    screen = Screen()
    screen.board.sync_started(marker())
    screen.board.emit(event(port(name="tap0"), origin="initial"))
    screen.board.sync_finished(marker(action="sync_finished", ports=1))
    assert f"{GREEN}m" not in screen.line("tap0")
    assert "0.0 events/s" in screen.show()[1]


def test_a_port_that_left_is_not_counted_and_comes_back() -> None:
    screen = Screen()
    screen.board.emit(event(port(name="tap0")))
    screen.board.emit(event(port(name="tap0"), action="offline"))
    assert "0 ports" in screen.show()[1]
    assert "offline" in screen.line("tap0")
    screen.board.emit(event(port(name="tap0")))
    assert "1 port " in screen.show()[1]


def test_the_rate_is_of_the_last_ten_seconds() -> None:
    screen = Screen()
    for _ in range(50):
        screen.board.emit(event(port(), action="updated"))
    assert "5.0 events/s" in screen.show()[1]
    screen.time += 11
    assert "0.0 events/s" in screen.show()[1]


def test_only_what_was_asked_for_is_shown_and_counted() -> None:
    screen = Screen(Selection(kinds=["bridge"]))
    screen.board.emit(event(port(name="tap0")))
    assert "0 ports" in screen.show()[1]


def test_of_two_thousand_ports_those_that_changed_last_are_shown() -> None:
    screen = Screen()
    screen.board.sync_started(marker())
    for number in range(2000):
        screen.board.emit(event(port(uuid=f"{number}", name=f"tap{number:04}")))
    screen.board.sync_finished(marker(action="sync_finished", ports=2000))
    screen.time += 60
    screen.board.emit(event(port(uuid="777", name="tap0777", ofport=9), action="updated"))
    lines = screen.show(height=24)
    assert len(lines) == 24
    assert "2,000 ports  vm 2,000" in lines[1]
    assert [line for line in lines if "tap0777" in line]
    foot = "1 to 20 of 2,000, by failures and kind; s sorts, arrows scroll, q quits"
    assert lines[-1] == foot


def test_keys_scroll_sort_and_end_the_table() -> None:
    screen = Screen()
    screen.board.sync_started(marker())
    for number in range(100):
        screen.board.emit(event(port(uuid=f"{number}", name=f"tap{number}")))
    screen.board.emit(event(port(uuid="x", name="zzz", ofport=-1)))
    screen.board.sync_finished(marker(action="sync_finished", ports=101))
    height = 14  # of which 10 are ports

    def names() -> list[str]:
        return [line.split()[1] for line in screen.show(height=height)[3:-1]]

    assert names() == ["zzz", *(f"tap{number}" for number in range(9))]  # failures, then 2 < 10
    assert screen.board.press("\x1b[6~", height)
    assert names() == [f"tap{number}" for number in range(9, 19)]
    assert screen.board.press("\x1b[B", height)
    assert names()[0] == "tap10"
    for _ in range(20):
        screen.board.press(" ", height)
    assert names()[-1] == "tap99"  # not past the end
    for _ in range(20):
        screen.board.press("\x1b[5~", height)
    screen.board.press("s", height)
    assert names()[0] == "tap0"
    assert screen.board.press("", height)
    assert not screen.board.press("q", height)


@given(st.text(max_size=300), st.integers(20, 200), st.integers(6, 60))
def test_whatever_the_database_holds_it_fits_and_steers_nothing(
    text: str, width: int, height: int
) -> None:
    screen = Screen()
    for number in range(9):
        now = port(text or "x", {text: text}, uuid=str(number), name=text, ofport=-1, error=text)
        screen.board.emit(event(now))
    lines = screen.show(width=width, height=height)
    assert len(lines) <= height
    assert all(line.isprintable() for line in lines)


def test_eighty_columns_have_the_name_the_state_and_the_whole_identity() -> None:
    screen = Screen()
    iface_id = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
    for name in ("tap4aa64e21-d9", "tap9b1c7f02-5e"):
        screen.board.emit(
            event(port("vm", {"iface_id": iface_id}, uuid=name, name=name, ofport=-1))
        )
    shown = [line for line in screen.show(width=80) if "tap" in line]
    assert len(shown) == 2
    for line in shown:
        assert iface_id in line
        assert " failed " in line


def test_columns_do_not_jump_when_a_long_name_has_left() -> None:
    screen = Screen()
    other = port(uuid="b", name="a-much-longer-name-of-a-port")
    screen.board.emit(event(port(name="tap0")))
    before = screen.show(width=200)[2].index("attributes")
    screen.board.emit(event(other))
    during = screen.show(width=200)[2].index("attributes")
    screen.board.emit(event(other, action="offline"))
    screen.time += 2 * MOMENT
    after = screen.show(width=200)
    assert not any(other.name in line for line in after)
    assert before < during == after[2].index("attributes")
