"""Every promise that dfovsdb asks of a plugin: python -m pytest"""

import contextlib
from collections.abc import Iterator

from dfovsdb_dhcp.classifier import DhcpClassifier
from dfovsdb_dhcp.sink import PortListSink

from dfovsdb import Sink
from dfovsdb.testing import ClassifierConformance, SinkConformance


class TestDhcp(ClassifierConformance):
    plugin = DhcpClassifier


class TestPortList(SinkConformance):
    def make(self) -> Sink:
        return PortListSink(str(self.tmp_path / "ports.txt"))

    def again(self, sink: Sink) -> Sink:
        return self.make()

    def believes(self, sink: Sink) -> list[str]:
        lines = (self.tmp_path / "ports.txt").read_text().splitlines()
        return [line.split()[1] for line in lines]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        """Its folder is gone; a file that is replaced as a whole takes nothing in between."""
        away = self.tmp_path.with_name("away")
        self.tmp_path.rename(away)
        try:
            yield
        finally:
            away.rename(self.tmp_path)
