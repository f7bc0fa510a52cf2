"""Events as notifications on the message bus of a cloud, through oslo.messaging.

This file decides what is sent when. Sending is in client.py, which is imported only when a sink is
built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError, SinkUnavailable, needs_extra
from dfovsdb.json_v1 import to_json
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.event_type import event_type

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker
    from dfovsdb.sinks.oslo_messaging.client import Bus

#: seconds after which a restart of the broker is noticed at the latest, if nothing happens
POLL_INTERVAL = 5.0


class OsloMessagingSink(Sink):
    """Send one notification for each event; it is delivered when the broker confirms it.

    After a lost connection the full state is resent, unless `replay` is off, because the broker
    may have lost notifications that were not yet read.
    """

    poll_interval = POLL_INTERVAL
    options = (
        cfg.StrOpt(
            "transport_url",
            required=True,
            secret=True,
            help="URL of the message bus, as in other services: "
            "rabbit://USER:PASSWORD@HOST:PORT/VHOST. Options of [oslo_messaging_rabbit] may "
            "follow: …/VHOST?ssl=true&amqp_durable_queues=true. Needs the extra "
            "dfovsdb[oslo-messaging].",
        ),
        cfg.ListOpt(
            "topics",
            default=["notifications"],
            help="Topics. Each notification is sent to each of them.",
        ),
        cfg.StrOpt(
            "driver",
            default="messagingv2",
            help="Notification driver. Only messagingv2 and messaging report whether a "
            "notification arrived.",
        ),
        cfg.StrOpt(
            "control_exchange",
            default="openstack",
            help="The exchange of the topics.",
        ),
        cfg.FloatOpt(
            "timeout",
            default=10,
            min=1,
            max=600,
            help="Seconds of silence after which the broker is considered down.",
        ),
        cfg.BoolOpt(
            "replay",
            default=True,
            help="Resend the full state after a lost connection, because the broker may have lost "
            "notifications that were not yet read.",
        ),
    )

    def __init__(
        self,
        transport_url: str,
        topics: Sequence[str] = ("notifications",),
        driver: str = "messagingv2",
        control_exchange: str = "openstack",
        timeout: float = 10,
        replay: bool = True,
    ) -> None:
        if not topics:
            raise ConfigurationError(
                "option topics is empty: give at least one, such as notifications"
            )
        self._bus = _bus(transport_url, topics, driver, control_exchange, timeout)
        self._replay = replay
        self._context: SinkContext
        self._publisher = ""

    def open(self, context: SinkContext) -> None:
        self._context = context
        self._publisher = f"dfovsdb.{context.host}"

    def emit(self, event: PortEvent) -> None:
        self._notify(event)

    def sync_started(self, marker: SyncMarker) -> None:
        self._notify(marker)

    def sync_finished(self, marker: SyncMarker) -> None:
        self._notify(marker)

    def poll(self) -> None:
        self._ask(self._bus.check)

    def reopen(self) -> None:
        self._bus.reopen()

    def close(self) -> None:
        self._bus.close()

    def _notify(self, item: PortEvent | SyncMarker) -> None:
        payload = json.loads(to_json(item))
        self._ask(partial(self._bus.notify, self._publisher, event_type(item), payload))

    def _ask(self, call: Callable[[], bool]) -> None:
        """Call the bus, and request a resend if its connection has been replaced."""
        from dfovsdb.sinks.oslo_messaging.client import BusFailure

        try:
            reconnected = call()
        except BusFailure as error:
            raise SinkUnavailable(f"{self._bus.name}: {error}") from None
        if reconnected and self._replay:
            self._context.request_replay()


def _bus(
    transport_url: str, topics: Sequence[str], driver: str, exchange: str, timeout: float
) -> Bus:
    try:
        from dfovsdb.sinks.oslo_messaging.client import Bus
    except ImportError as error:
        raise needs_extra(f"oslo.messaging ({error})", "oslo-messaging") from None
    return Bus(
        transport_url, driver=driver, topics=topics, control_exchange=exchange, timeout=timeout
    )
