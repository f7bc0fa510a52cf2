"""Log lines about what others have made."""

from __future__ import annotations

import pytest

from dfovsdb.logs import get_logger


class ShowsNothing:
    def __repr__(self) -> str:
        raise SystemExit


def test_what_cannot_be_shown_raises_nothing_where_it_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    get_logger("dfovsdb.tests").warning("it is %r", ShowsNothing())
    assert caplog.messages == ["it is %r <no text: SystemExit>"]
