"""What the database holds can neither break a line nor control a terminal."""

from __future__ import annotations

import pytest

from dfovsdb.text.escape import clean, counted


def test_printable_text_stays_as_it_is() -> None:
    for text in ("", "tap0", "a b", "é😀", "}{\"'\\"):
        assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egnp", r"\u202egnp"),
        ("\u2028\x7f", r"\u2028\x7f"),
        ("\r\t\0", r"\r\t\x00"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_is_not_printable_is_shown_escaped(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_one_is_singular_and_everything_else_is_plural() -> None:
    assert [counted(n, "port") for n in (0, 1, 2, 1234)] == [
        "0 ports",
        "1 port",
        "2 ports",
        "1,234 ports",
    ]
    assert counted(1, "row waits", "rows wait") == "1 row waits"
    assert counted(3, "row waits", "rows wait") == "3 rows wait"


def test_very_long_text_is_cut() -> None:
    assert clean("x" * 200) == "x" * 200
    assert clean("x" * 201) == "x" * 199 + "…"
