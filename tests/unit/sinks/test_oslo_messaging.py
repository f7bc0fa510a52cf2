"""What is said of a broker that is there and takes nothing."""

from __future__ import annotations

import logging
import sys

import pytest
from amqp.exceptions import MessageNacked

from dfovsdb.sinks.oslo_messaging.client import _SPEAKER, Bus, BusFailure


@pytest.fixture
def bus() -> Bus:
    return Bus(
        "rabbit://u:p@127.0.0.1:1/",
        driver="messagingv2",
        topics=["t"],
        control_exchange="openstack",
        timeout=1,
    )


def rejected() -> None:
    """Fail as the driver does."""
    try:
        raise MessageNacked
    except MessageNacked:
        text = "Unable to connect to AMQP server after 0 tries:"
        raise sys.modules["oslo_messaging"].MessageDeliveryFailure(text)  # noqa: B904 - it names no cause


def test_a_full_queue_is_not_called_a_broker_that_cannot_be_reached(bus: Bus) -> None:
    with pytest.raises(BusFailure, match="a queue of the topics is full"), bus._failing_as_one():
        rejected()


def test_a_broker_that_blocks_the_connection_is_in_the_log_whoever_waits_for_it(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connection = sys.modules[_SPEAKER.replace(".", "_", 1)].Connection
    with bus._failing_as_one():
        connection._on_connection_blocked("low on memory")
        connection._on_connection_unblocked()
        logging.getLogger(_SPEAKER).error("what is raised as well")
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "The broker has blocked the connection",
        "The broker has unblocked the connection",
    ]
