"""What the platforms' rows are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dfovsdb.classifiers.antrea import AntreaClassifier
from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.kube_ovn import KubeOvnClassifier
from dfovsdb.classifiers.ovn_kubernetes import OvnKubernetesClassifier
from dfovsdb.classifiers.ovs_cni import OvsCniClassifier
from dfovsdb.classifiers.proxmox import ProxmoxClassifier
from dfovsdb.classifiers.service import ServiceClassifier
from dfovsdb.classifiers.uplink import UplinkClassifier
from dfovsdb.classifiers.xen import XenClassifier
from dfovsdb.testing import interface
from tests.unit import platforms


def known(classifier: Classifier, rows: platforms.Rows) -> dict[str, Mapping[str, str]]:
    """What is claimed, by name, without the attributes that are None."""
    found = {facts["name"]: classifier.classify(interface(**facts)) for facts in rows}
    return {
        name: {key: value for key, value in attributes.items() if value is not None}
        for name, attributes in found.items()
        if attributes is not None
    }


def test_pods_of_ovn_kubernetes() -> None:
    assert known(OvnKubernetesClassifier(), platforms.OVN_KUBERNETES) == {
        "3a5b9c1d2e4f601": {
            "pod": "coredns-7db6d8ff4d-x2l9k",
            "namespace": "kube-system",
            "ip": "10.244.1.5/24",
            "container_id": "3a5b9c1d2e4f6017788990011223344556677",
            "iface_id": "kube-system_coredns-7db6d8ff4d-x2l9k",
            "attached_mac": "0a:58:0a:f4:01:05",
        },
        "3a5b9c1d2e4f602": {
            "pod": "web-0",
            "namespace": "default",
            "container_id": "3a5b9c1d",
            "iface_id": "blue.net1_default_web-0",
        },
    }


def test_pods_of_kube_ovn() -> None:
    assert known(KubeOvnClassifier(), platforms.KUBE_OVN) == {
        "5d7c0a1b2c3d_h": {
            "pod": "web-0",
            "namespace": "default",
            "ip": "10.16.0.9",
            "iface_id": "web-0.default",
        }
    }


def test_pods_of_antrea() -> None:
    assert AntreaClassifier.columns == {"Port.external_ids"}
    assert known(AntreaClassifier(), platforms.ANTREA) == {
        "web-0-a1b2c3": {
            "pod": "web-0",
            "namespace": "default",
            "ip": "10.10.1.5",
            "container_id": "f0e1d2c3",
            "attached_mac": "9a:3e:41:00:00:05",
        }
    }


def test_pods_of_ovs_cni() -> None:
    assert known(OvsCniClassifier(), platforms.OVS_CNI) == {
        "veth7a2b3c4d": {
            "pod_uid": "1f2e3d4c",
            "container_iface": "net1",
            "netns": "/var/run/netns/cni-5",
        },
        "veth00000001": {
            "iface_id": "default_vm1",
            "pod_uid": "1f2e3d4c",
            "container_iface": "net2",
        },
    }


def test_both_rows_of_a_vif_of_xen_are_one_identity_and_the_second_says_so() -> None:
    vif = {"iface_id": "0c55", "vm_id": "7d1a", "attached_mac": "5a:00:00:00:00:01"}
    assert known(XenClassifier(), platforms.XEN) == {
        "vif5.0": vif,
        "tap5.0": vif | {"twin": "vif5.0"},
    }


def test_vms_and_containers_of_proxmox_have_nothing_but_a_name() -> None:
    assert known(ProxmoxClassifier(), platforms.PROXMOX) == {
        "tap100i0": {"vm_id": "100", "iface_id": "100/net0"},
        "veth101i1": {"vm_id": "101", "iface_id": "101/net1"},
        "fwln102o0": {"vm_id": "102", "iface_id": "102/net0"},
    }


@pytest.mark.parametrize("name", ["tap0", "qr-1", "ovn-k8s-mp0", "o-hm0"])
def test_an_internal_port_with_an_iface_id_is_a_service(name: str) -> None:
    row = interface(name=name, type="internal", external_ids={"iface-id": "x"})
    assert ServiceClassifier().classify(row) is not None
    assert ServiceClassifier(names=("ovn*",)).classify(row) == (
        ServiceClassifier().classify(row) if name.startswith("ovn") else None
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "x", "type": "internal"},
        {"name": "x", "external_ids": {"iface-id": "x"}},
        {"name": "x", "type": "internal", "external_ids": {"iface-id": ""}},
    ],
)
def test_other_rows_are_no_service(facts: dict[str, Any]) -> None:
    assert ServiceClassifier().classify(interface(**facts)) is None


def test_the_metadata_port_of_ovn_is_a_service_and_no_vm() -> None:
    ids = {"iface-id": "99999999-d9d6-497e-bfa9-cf6dbb574054"}
    row = interface(name="tap0123abcd-e0", external_ids=ids)
    assert ServiceClassifier().classify(row)
    for vm in (
        interface(name="tap99999999-d0", external_ids={"iface-id": "99999999-d0d6-497e"}),
        interface(name="tap0123abcd-e0", external_ids={**ids, "attached-mac": "aa"}),
        interface(name="tap0123abcd-e1", external_ids=ids),
        interface(name="tap0123abcd-e0", type="dpdkvhostuser", external_ids=ids),
    ):
        assert ServiceClassifier().classify(vm) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "eth7"},
        {"name": "eno1"},
        {"name": "enp4s0f0np0"},
        {"name": "ens3", "type": "system"},
        {"name": "enx001122334455"},
        {"name": "bond0"},
        {"name": "p1p1"},
        {"name": "ib0"},
        {"name": "enX0"},
        {"name": "end0"},
        {"name": "enp2s0", "type": "afxdp"},
        {"name": "anything", "type": "dpdk", "options": {"dpdk-devargs": "0000:04:00.0"}},
    ],
)
def test_the_name_of_a_nic_or_dpdk_is_an_uplink(facts: dict[str, Any]) -> None:
    attributes = UplinkClassifier().classify(interface(**facts))
    assert attributes == {
        "driver": None,
        "devargs": facts.get("options", {}).get("dpdk-devargs"),
    }


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "tap0"},
        {"name": "veth0"},
        {"name": "s1-eth1"},
        {"name": "eth0", "type": "internal"},
        {"name": "enp4s0f0_1"},
        {"name": "enp4s0f0r1"},
        {"name": "enp6s0pf0sf88"},
        {"name": "enp3s0f0npf0hpf"},
        {"name": "rep0", "type": "dpdk", "options": {"dpdk-devargs": "0:1.0,representor=[0]"}},
        {"name": "eth0", "external_ids": {"iface-id": "x"}},
        {"name": "eth0", "external_ids": {"xs-vif-uuid": "x"}},
        {"name": "eth1", "port_external_ids": {"contPodUid": "x"}},
        {"name": "dpdk0", "type": "dpdk", "external_ids": {"iface-id": "x"}},
    ],
)
def test_other_rows_are_no_uplink(facts: dict[str, Any]) -> None:
    assert UplinkClassifier().classify(interface(**facts)) is None


def test_the_driver_is_known_where_status_is_read() -> None:
    assert UplinkClassifier().columns == frozenset()
    reading = UplinkClassifier(status=True)
    assert reading.columns == {"status"}
    row = interface(name="eth0", columns={"status": {"driver_name": "ixgbe"}})
    assert reading.classify(row) == {"driver": "ixgbe", "devargs": None}
