from __future__ import annotations

import logging

import pytest

from dfovsdb.sinks.log import LEVELS, LogSink
from tests.unit.samples import event, marker, port


def test_each_event_and_marker_is_a_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sink = LogSink()
    sink.sync_started(marker())
    sink.emit_many([event(), event(action="offline")])
    sink.sync_finished(marker(action="sync_finished", ports=1))
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("dfovsdb.events", "INFO", "sync_started origin=initial"),
        ("dfovsdb.events", "INFO", "online vm tap0 ofport=5 iface_id=vif-1"),
        ("dfovsdb.events", "INFO", "offline vm tap0 ofport=5 iface_id=vif-1"),
        ("dfovsdb.events", "INFO", "sync_finished origin=initial ports=1"),
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_is_an_option(level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    LogSink(level=level).emit(event())
    assert [record.levelname for record in caplog.records] == [level]


def test_a_name_cannot_forge_a_line_or_a_format(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LogSink().emit(event(port(name="%s%d\nonline vm forged")))
    (record,) = caplog.records
    assert r"%s%d\nonline vm forged" in record.getMessage()
    assert "\n" not in record.getMessage()
