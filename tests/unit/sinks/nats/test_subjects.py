"""Names as NATS takes them, whatever a host or a VIF is called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.kv import VALID_KEY_RE

from dfovsdb.sinks.nats import subjects
from dfovsdb.sinks.nats.subjects import name_of, token

#: Short enough to be kept: a character has at most four bytes, and each needs three characters.
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=subjects.LONGEST // 12)


@given(names)
def test_a_name_is_read_back_as_it_was(name: str) -> None:
    assert name_of(token(name)) == name


@given(names | st.text(alphabet=" .*>=/$\t\n\x00é😀", max_size=400))
def test_a_token_is_legal_in_a_subject_and_in_a_key(name: str) -> None:
    word = token(name)
    assert VALID_KEY_RE.match(word)
    assert not re.search(r"[.*>\s]", word)
    assert 0 < len(word) <= subjects.LONGEST


@given(names, names)
def test_two_names_have_two_tokens(one: str, other: str) -> None:
    assert (token(one) == token(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cmp-17", "cmp-17"),
        ("cmp-17.example.org", "cmp-17=2Eexample=2Eorg"),
        ("4aa64e21-d9d6-497e-bfa9-cf6dbb574054", "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"),
        ("", "="),
        ("=", "=3D"),
        ("a b*>", "a=20b=2A=3E"),
        ("é", "=C3=A9"),
    ],
)
def test_tokens_are_these(name: str, word: str) -> None:
    assert token(name) == word


def test_a_name_that_is_too_long_can_be_looked_up_and_not_read_back() -> None:
    long = "v" * 5000
    assert token(long) == token(long) != token(long + "v")
    assert name_of(token(long)) is None


def test_what_is_no_token_of_ours_has_no_name() -> None:
    assert name_of("=FF") is None


def test_keys_and_subjects_are_these() -> None:
    assert subjects.subject("cmp.17", "vm") == "dfovsdb.v1.cmp=2E17.vm"
    assert subjects.port_key("cmp.17", "u-1") == "cmp=2E17.u-1"
    assert subjects.vif_key("v 1", "cmp.17", "u-1") == "v=201.cmp=2E17.u-1"


@given(st.text(alphabet="=0123456789ABCDEFabc-_", max_size=12))
def test_a_name_has_no_second_token(word: str) -> None:
    name = name_of(word)
    assert name is None or token(name) == word


def test_a_token_that_escapes_a_plain_letter_is_not_ours() -> None:
    assert name_of("=61") is None
