"""Metrics in the format of Prometheus. This is the only module that imports prometheus_client.

Everything is read at the time of a request; nothing is labelled by port. What is counted by kind
begins at 0, so that the first event of a kind is an increase.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dfovsdb.classifiers import vif
from dfovsdb.errors import LossReason
from dfovsdb.histogram import Histogram, HistogramCounts
from dfovsdb.model import Action, Interface, Port, State, state_of
from dfovsdb.monitor import Monitor
from dfovsdb.status import SinkStatus, Status
from dfovsdb.telemetry.event_counter import EventCounter
from dfovsdb.version import __version__


class Metrics:
    """All metrics of one monitor and of this process.

    :param observer: attached to the monitor.
    """

    def __init__(self, monitor: Monitor, observer: EventCounter) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(monitor, observer))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return the text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, monitor: Monitor, observer: EventCounter) -> None:
        self._monitor = monitor
        self._observer = observer

    def describe(self) -> list[Metric]:
        return []  # so that registering collects nothing

    def collect(self) -> Iterator[Metric]:
        status = self._monitor.status()
        yield InfoMetricFamily("dfovsdb", "Version of dfovsdb.", {"version": __version__})
        yield from _connection(status)
        yield from _ports(status)
        yield from _switch(self._monitor.rows(), self._monitor.ports().values())
        yield from _sinks(status)
        never = dict.fromkeys(itertools.product(get_args(Action), status.kinds), 0)
        yield _counter(
            "dfovsdb_events",
            "Events by action and kind.",
            ("action", "kind"),
            never | self._observer.events.copy(),
        )
        yield _waits(
            "dfovsdb_insert_to_ready_seconds",
            "Time from the first sight of a row until the port is ready.",
            self._observer.to_ready,
        )
        yield _waits(
            "dfovsdb_insert_to_ovn_installed_seconds",
            "Time from the first sight of a row to external_ids:ovn-installed.",
            self._observer.to_ovn_installed,
        )


def _connection(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "dfovsdb_connected", "Whether there is a connection to the server.", status.connected
    )
    yield GaugeMetricFamily(
        "dfovsdb_synced", "Whether the table was read on this connection.", status.synced
    )
    if status.message_age is not None:
        yield GaugeMetricFamily(
            "dfovsdb_last_message_age_seconds",
            "Time since the last message of the server.",
            status.message_age,
        )
    yield _counter(
        "dfovsdb_reconnects",
        "Connections and connection attempts that ended, by reason.",
        ("reason",),
        {(reason,): status.losses.get(reason, 0) for reason in get_args(LossReason)},
    )
    yield CounterMetricFamily(
        "dfovsdb_syncs", "Number of times that the tables were read.", status.syncs
    )
    if status.sync_seconds is not None:
        yield GaugeMetricFamily(
            "dfovsdb_sync_duration_seconds",
            "Time from the connection to the complete tables, at the last sync.",
            status.sync_seconds,
        )


def _ports(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily("dfovsdb_rows", "Rows of the Interface table.", status.rows)
    yield GaugeMetricFamily(
        "dfovsdb_unclassified_rows", "Rows that no classifier claims.", status.unclassified
    )
    ports = GaugeMetricFamily("dfovsdb_ports", "Ports by kind and state.", None, ("kind", "state"))
    none = dict.fromkeys(itertools.product(status.kinds, get_args(State)), 0)
    for labels, count in sorted((none | dict(status.ports)).items()):
        ports.add_metric(labels, count)
    yield ports
    yield _counter(
        "dfovsdb_classifier_errors",
        "Exceptions of classifiers, by kind.",
        ("kind",),
        {(kind,): status.classifier_errors.get(kind, 0) for kind in status.kinds},
    )


def _switch(rows: Sequence[Interface], ports: Collection[Port]) -> Iterator[Metric]:
    """Yield what is true of all rows, and of the VIFs."""
    interfaces = GaugeMetricFamily(
        "dfovsdb_interfaces", "Rows of the Interface table by state.", None, ("state",)
    )
    states = Counter(state_of(row)[0] for row in rows)
    for state in get_args(State):
        interfaces.add_metric((state,), states[state])
    yield interfaces
    vifs = Counter(own for port in ports if (own := _own_vif(port)))
    yield GaugeMetricFamily(
        "dfovsdb_duplicate_vifs",
        "VIFs (iface-id) that more than one interface has as its own.",
        sum(count > 1 for count in vifs.values()),
    )
    under_ovn = any(port.attributes.get("ovn_installed") is not None for port in ports)
    yield GaugeMetricFamily(
        "dfovsdb_ports_waiting_for_ovn",
        "Ports of VIFs that are ready, but not marked ovn-installed, on a switch that OVN uses.",
        sum(under_ovn and _waits_for_ovn(port) for port in ports),
    )


def _waits_for_ovn(port: Port) -> bool:
    return port.state == "ready" and not vif.ovn_installed(port) and _own_vif(port) is not None


def _own_vif(port: Port) -> str | None:
    """Return the VIF whose own interface a port is."""
    if port.attributes.get("twin") or (port.interface and vif.is_second(port.interface)):
        return None
    iface_id = port.attributes.get("iface_id")
    return iface_id if isinstance(iface_id, str) else None


class _Fact(NamedTuple):
    name: str
    help: str
    read: Callable[[SinkStatus], float]


_SINK_COUNTERS = (
    _Fact("delivered", "Events that a sink has accepted.", lambda s: s.counters["delivered"]),
    _Fact(
        "refused", "Events and markers that a sink has refused.", lambda s: s.counters["refused"]
    ),
    _Fact("outages", "Outages of a sink.", lambda s: s.counters["outages"]),
    _Fact(
        "errors",
        "Failures of a sink in poll(), reopen() or close().",
        lambda s: s.counters["errors"],
    ),
    _Fact(
        "catchups",
        "Number of times that a sink fell behind and received the present state instead.",
        lambda s: s.counters["catchups"],
    ),
)
_SINK_GAUGES = (
    _Fact("outage", "Whether a sink is unavailable.", lambda s: not s.available),
    _Fact("queue_length", "Changes that wait for a sink.", lambda s: s.queued),
    _Fact(
        "oldest_undelivered_age_seconds",
        "Age of the oldest change that waits for a sink.",
        lambda s: s.oldest_age,
    ),
)


def _sinks(status: Status) -> Iterator[Metric]:
    for name, text, read in _SINK_COUNTERS:
        counter = CounterMetricFamily(f"dfovsdb_sink_{name}", text, None, ("sink",))
        for sink in status.sinks:
            counter.add_metric((sink.name,), read(sink))
        yield counter
    for name, text, read in _SINK_GAUGES:
        gauge = GaugeMetricFamily(f"dfovsdb_sink_{name}", text, None, ("sink",))
        for sink in status.sinks:
            gauge.add_metric((sink.name,), read(sink))
        yield gauge
    deliveries = HistogramMetricFamily(
        "dfovsdb_sink_delivery_seconds",
        "Duration of calls that a sink has accepted: an event, a batch or a marker.",
        labels=("sink",),
    )
    for sink in status.sinks:
        if sink.deliveries is not None:
            _add(deliveries, sink.name, sink.deliveries)
    yield deliveries


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, None, labels)
    for values, count in sorted(dict(counts).items()):
        family.add_metric(values, count)
    return family


def _waits(name: str, text: str, waits: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("kind",))
    for kind, durations in sorted(dict(waits).items()):
        _add(family, kind, durations.read())
    return family


def _add(family: HistogramMetricFamily, label: str, histogram: HistogramCounts) -> None:
    buckets = [
        ("+Inf" if bound == float("inf") else str(bound), float(count))
        for bound, count in histogram.buckets
    ]
    family.add_metric((label,), buckets, histogram.total)
