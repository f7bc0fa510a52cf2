"""Three nats-servers that are killed one after the other, twenty agents on twenty switches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet_soak import (
    CHANGES,
    HOSTS,
    FleetSoak,
    check_order,
    churn,
    hosts,
    is_delivered,
    leader,
    lies,
    truth,
    wait_for,
)
from tests.natsserver import NatsCluster
from tests.natsview import Fleet

pytestmark = pytest.mark.slow


def test_log_and_buckets_are_true_after_leaders_were_killed_one_after_the_other(
    tmp_path: Path,
) -> None:
    with NatsCluster(tmp_path) as cluster, hosts(tmp_path, cluster) as made:
        with Fleet(cluster.urls, timeout=60) as fleet:
            wait_for(lambda: is_delivered(fleet, made), "every host being heard of")
        with churn(made) as done:
            for stream in ("dfovsdb", "KV_dfovsdb-ports"):
                aim = done[0] + CHANGES * HOSTS
                wait_for(lambda aim=aim: done[0] >= aim, "changes before the blow")
                victim = leader(cluster, stream)
                victim.stop()  # SIGKILL
                aim = done[0] + CHANGES * HOSTS
                wait_for(lambda aim=aim: done[0] >= aim, "changes while it is gone")
                victim.start()
                victim.wait()
        assert sum(host.outages() for host in made) >= HOSTS, "nobody noticed"
        with Fleet(cluster.urls, timeout=60) as fleet:
            there = {host.name: truth(host) for host in made}
            wait_for(lambda: not lies(fleet, made, there), "log and buckets being true")
            check_order(fleet.log())


def test_log_and_buckets_are_true_under_faults_of_every_side(tmp_path: Path) -> None:
    soak = FleetSoak(1, tmp_path, print)
    soak.run(seconds=600, rounds=1)
    assert soak.rounds == 1
    assert soak.faults.total() == 4
