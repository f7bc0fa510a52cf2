from __future__ import annotations

import inspect

import pytest

from dfovsdb.classifiers.base import Classifier, like


@pytest.mark.parametrize(
    ("name", "patterns", "is_like"),
    [
        ("tap0", ("*",), True),
        ("tap0", ("qvo*", "tap*"), True),
        ("tap0", ("tap?",), True),
        ("tap0", ("tap[0-3]",), True),
        ("tap0", ("tap",), False),
        ("tap0", ("TAP*",), False),
        ("tap0", (), False),
        ("xtap0", ("tap*",), False),
        ("a\nb", ("a*b",), True),
        ("", ("*",), True),
        ("", ("?*",), False),
    ],
)
def test_a_name_is_matched_by_shell_patterns(
    name: str, patterns: tuple[str, ...], is_like: bool
) -> None:
    assert bool(like(patterns)(name)) is is_like


def test_the_base_has_no_init_and_asks_for_one_method() -> None:
    assert "__init__" not in vars(Classifier)
    assert Classifier.__abstractmethods__ == {"classify"}
    public = {name for name in vars(Classifier) if not name.startswith("_")}
    assert public == {"options", "columns", "classify", "nearly"}
    assert "kind" in inspect.get_annotations(Classifier)
