"""What the database holds can neither break a line nor control a terminal."""

from __future__ import annotations

import json

import pytest

from dfovsdb.text.escape import clean, clean_json, counted


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


INVISIBLE = (
    "\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0100\U000e0041\u200b\u202e\u00ad"
)


@pytest.mark.parametrize("character", INVISIBLE)
def test_what_cannot_be_seen_is_escaped(character: str) -> None:
    shown = clean(f"tap{character}0")
    assert character not in shown
    assert shown.startswith("tap\\")
    line = clean_json(b'{"a":"tap' + character.encode() + b'"}')
    assert character.encode() not in line
    assert json.loads(line) == {"a": f"tap{character}"}


def test_what_can_be_seen_stays() -> None:
    assert clean("naïve 日本語 😀 Ω") == "naïve 日本語 😀 Ω"
