"""What dfovsdb.fleet offers to programs."""

from __future__ import annotations

import importlib.util

import pytest

from dfovsdb import fleet


@pytest.mark.skipif(not importlib.util.find_spec("nats"), reason="nats-py is not installed")
@pytest.mark.parametrize("name", fleet.__all__)
def test_each_name_is_the_one_of_its_module(name: str) -> None:
    assert getattr(fleet, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = fleet.nosuch
