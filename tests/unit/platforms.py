"""Rows as the platforms write them, with what is on their Port rows."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]

OVN_KUBERNETES: Rows = [
    {
        "name": "3a5b9c1d2e4f601",
        "ofport": 7,
        "external_ids": {
            "attached_mac": "0a:58:0a:f4:01:05",
            "iface-id": "kube-system_coredns-7db6d8ff4d-x2l9k",
            "iface-id-ver": "5b0c9f3e-7d7c-4c9d-8a0e-0c1b7d0f5f11",
            "ip_addresses": "10.244.1.5/24",
            "ovn-installed": "true",
            "sandbox": "3a5b9c1d2e4f6017788990011223344556677",
        },
    },
    {
        "name": "3a5b9c1d2e4f602",
        "external_ids": {
            "iface-id": "blue.net1_default_web-0",
            "k8s.ovn.org/nad": "blue/net1",
            "sandbox": "3a5b9c1d",
        },
    },
    {
        "name": "ovn-k8s-mp0",
        "type": "internal",
        "external_ids": {"iface-id": "k8s-node-1", "ovn-installed": "true"},
    },
]

KUBE_OVN: Rows = [
    {
        "name": "5d7c0a1b2c3d_h",
        "ofport": 9,
        "external_ids": {
            "iface-id": "web-0.default",
            "ip": "10.16.0.9",
            "pod_name": "web-0",
            "pod_namespace": "default",
            "pod_netns": "/var/run/netns/cni-1",
            "vendor": "kube-ovn",
        },
    },
    {
        "name": "ovn0",
        "type": "internal",
        "external_ids": {"iface-id": "node-worker1", "ip": "100.64.0.2"},
    },
    {"name": "mirror0", "type": "internal", "external_ids": {"vendor": "kube-ovn"}},
]

ANTREA: Rows = [
    {
        "name": "web-0-a1b2c3",
        "ofport": 5,
        "port_external_ids": {
            "antrea-type": "container",
            "attached-mac": "9a:3e:41:00:00:05",
            "container-id": "f0e1d2c3",
            "ip-address": "10.10.1.5",
            "pod-name": "web-0",
            "pod-namespace": "default",
        },
    },
    {
        "name": "antrea-gw0",
        "type": "internal",
        "port_external_ids": {"antrea-type": "gateway"},
    },
    {"name": "antrea-tun0", "type": "geneve", "port_external_ids": {"antrea-type": "tunnel"}},
]

OVS_CNI: Rows = [
    {
        "name": "veth7a2b3c4d",
        "ofport": 4,
        "port_external_ids": {
            "contIface": "net1",
            "contNetns": "/var/run/netns/cni-5",
            "contPodUid": "1f2e3d4c",
            "owner": "ovs-cni.network.kubevirt.io",
        },
    },
    {
        "name": "veth00000001",
        "external_ids": {"iface-id": "default_vm1"},
        "port_external_ids": {
            "contIface": "net2",
            "contPodUid": "1f2e3d4c",
            "owner": "ovs-cni.network.kubevirt.io",
        },
    },
    {"name": "eth1", "port_external_ids": {"owner": "somebody"}},
]

XEN: Rows = [
    {
        "name": "vif5.0",
        "ofport": 3,
        "external_ids": {
            "attached-mac": "5a:00:00:00:00:01",
            "xs-network-uuid": "9b3c",
            "xs-vif-uuid": "0c55",
            "xs-vm-uuid": "7d1a",
        },
    },
    {
        "name": "tap5.0",
        "ofport": 4,
        "external_ids": {
            "attached-mac": "5a:00:00:00:00:01",
            "xs-vif-uuid": "0c55",
            "xs-vm-uuid": "7d1a",
        },
    },
    {"name": "xenbr0", "type": "internal"},
]

PROXMOX: Rows = [
    {"name": "tap100i0", "ofport": 2},
    {"name": "veth101i1", "ofport": 3},
    {"name": "fwln102o0", "type": "internal", "ofport": 4},
    {"name": "tap1a2b3c4d-5e"},
    {"name": "vmbr0", "type": "internal", "ofport": 65534},
]
