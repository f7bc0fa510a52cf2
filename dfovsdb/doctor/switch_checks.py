"""Checks of the switch: its daemon, its ports, and what the classifiers make of them."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from dfovsdb.classifiers import vif
from dfovsdb.classifiers.base import Classifier
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.finding import MOST, Finding
from dfovsdb.model import Interface, Port, is_open
from dfovsdb.ovsdb.connect_help import vsctl
from dfovsdb.text.escape import clean, counted

Process = Literal["runs", "stopped", "gone"]

_POLL = 0.05  # seconds


def switch_lives(case: Context) -> Iterator[Finding]:
    """ovs-vswitchd is running, and gives new interfaces their OpenFlow port."""
    remedy = "start it; on Debian and Ubuntu `systemctl start openvswitch-switch`"
    process = _vswitchd(case)
    if process == "gone":
        yield Finding("wrong", "ovs-vswitchd", "its process does not exist", remedy)
    elif process == "stopped":
        text = "its process is stopped (by SIGSTOP or a debugger)"
        remedy = f"let it continue: `kill -CONT {_pid(_pid_files(case) / 'ovs-vswitchd.pid')}`"
        yield Finding("wrong", "ovs-vswitchd", text, remedy)
    at_fault = process in ("gone", "stopped")
    deadline = time.monotonic() + case.timeout
    while pending := [row for row in case.rows() if row.ofport is None]:
        if at_fault or time.monotonic() > deadline:
            waiting = counted(len(pending), "interface waits", "interfaces wait")
            text = f"{waiting} for it: {_names(pending)}"
            if any(row.ofport is not None for row in case.rows()):  # it serves the others
                show = f"`{vsctl(case.address)} show`"
                remedy = f"the log of ovs-vswitchd says why, as {show} may do"
            yield Finding("wrong", "ovs-vswitchd", text, "" if at_fault else remedy)
            return
        time.sleep(_POLL)
    if not at_fault:
        yield Finding("fine", "ovs-vswitchd", "no interface waits for it")


def classifiers_claim(case: Context) -> Iterator[Finding]:
    """Report what each classifier claims."""
    counts = Counter(port.kind for port in case.ports)
    for classifier in case.classifiers:
        yield Finding("fine", "classifier", f"{clean(classifier.kind)}: {counts[classifier.kind]}")
    for kind, errors in case.chain.failures.by_kind.items():
        text = f"{clean(kind)} failed on {counted(errors, 'row')}"
        yield Finding(
            "wrong", "classifier", text, "the log line contains the row and the traceback"
        )
    if not case.classifiers:
        yield Finding("wrong", "classifier", "none is enabled", "set [dfovsdb] classifiers")


def unclaimed_rows(case: Context) -> Iterator[Finding]:
    """Report which interfaces no classifier claims, grouped by what they look like, and what they
    would need.
    """
    groups: dict[tuple[str, str], list[Interface]] = defaultdict(list)
    for row, port in case.claims:
        if port is None:
            groups[row.type or "system", _pattern(row.name)].append(row)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for (kind, pattern), rows in ordered[:MOST]:
        near = (
            f"{clean(classifier.kind)}: {clean(why)}"
            for classifier in case.classifiers
            if (why := _nearly(classifier, rows[0]))
        )
        if len(rows) == 1:
            text = f"no classifier claims {clean(rows[0].name)} (type {clean(kind)})"
        else:
            text = (
                f"no classifier claims {len(rows)} interfaces like {clean(pattern)} "
                f"(type {clean(kind)}): {_names(rows, 3)}"
            )
        recipes = "a classifier `match` can claim such a row: docs/platforms.md has recipes"
        remedy = "; ".join([*near, recipes])
        yield Finding("note", "unclaimed", text, remedy)
    if rest := [row for _, rows in ordered[MOST:] for row in rows]:
        yield Finding("note", "unclaimed", f"and {len(rest)} more with other names or types")


def _pattern(name: str) -> str:
    """Return the name with a star for each number and for each part that is an id."""
    return re.sub(r"[0-9a-f][0-9a-f-]{5,}|[0-9]+", "*", name)


def platforms_have_their_classifier(case: Context) -> Iterator[Finding]:
    """Recognise platforms by their rows, and report which classifier to add."""
    enabled = {type(classifier) for classifier in case.classifiers}
    for name, platform in _platforms():
        if platform in enabled:
            continue
        asked = platform()
        rows = [row for row in case.rows() if _claims(asked, row)]
        if rows:
            text = (
                f"{counted(len(rows), 'interface looks', 'interfaces look')} like those of {name}"
            )
            remedy = f"add {name} to [dfovsdb] classifiers, before service, vm and uplink"
            yield Finding("note", "platform", f"{text}: {_names(rows)}", remedy)


def _platforms() -> Iterator[tuple[str, type[Classifier]]]:
    """Yield the classifiers of platforms by their entry points, imported when they are needed."""
    from dfovsdb.classifiers.antrea import AntreaClassifier
    from dfovsdb.classifiers.kube_ovn import KubeOvnClassifier
    from dfovsdb.classifiers.ovn_kubernetes import OvnKubernetesClassifier
    from dfovsdb.classifiers.ovs_cni import OvsCniClassifier
    from dfovsdb.classifiers.proxmox import ProxmoxClassifier
    from dfovsdb.classifiers.xen import XenClassifier

    yield "ovn_kubernetes", OvnKubernetesClassifier
    yield "kube_ovn", KubeOvnClassifier
    yield "antrea", AntreaClassifier
    yield "ovs_cni", OvsCniClassifier
    yield "xen", XenClassifier
    yield "proxmox", ProxmoxClassifier


def _claims(classifier: Classifier, row: Interface) -> bool:
    return classifier.classify(row) is not None


def tunnels_differ(case: Context) -> Iterator[Finding]:
    """Check that no two tunnels, of whichever bridges, have the same ends and the same key. The
    switch opens only one of them.
    """
    for same in _same_tunnels(case)[:MOST]:
        first = same[0]
        assert first.interface is not None  # _same_tunnels has looked at it
        remote = clean(first.interface.options["remote_ip"])
        where = [
            clean(port.name) + (f" of {clean(port.bridge)}" if port.bridge else "")
            for port in same
        ]
        text = (
            f"{', '.join(where[:-1])} and {where[-1]} are the same {clean(first.type)} tunnel "
            f"to {remote}: the switch opens only one of them"
        )
        yield Finding(
            "wrong", "tunnel", text, "delete one, or give each its own options:key (and both ends)"
        )


def _same_tunnels(case: Context) -> list[list[Port]]:
    """Return the tunnels that the switch cannot tell apart, by name.

    If all of a group are open, something else tells them apart, such as options:packet_type.
    """
    groups: dict[tuple[str | None, ...], list[Port]] = defaultdict(list)
    for port in case.monitor.ports().values():
        options = port.interface.options if port.interface is not None else {}
        if "remote_ip" in options:
            key = _number(options.get("in_key", options.get("key", "0")))
            port_number = options.get("dst_port", _DST_PORTS.get(port.type))
            ends = (options["remote_ip"], options.get("local_ip"), port_number)
            groups[(port.type, key, *ends)].append(port)
    same = [
        sorted(group, key=lambda port: port.name)
        for group in groups.values()
        if len(group) > 1 and any(port.state == "failed" for port in group)
    ]
    return sorted(same, key=lambda group: group[0].name)


#: ovs-vswitchd.conf.db(5), Interface, options:dst_port
_DST_PORTS = {"geneve": "6081", "vxlan": "4789", "gtpu": "2152", "bareudp": "6635"}


def _number(key: str) -> str:
    """Return a key as the switch compares it: `0x64` is `100`, and `flow` is `flow`."""
    try:
        return str(int(key, 0))
    except ValueError:
        return key


def ports_failed(case: Context) -> Iterator[Finding]:
    """Report what the switch could not open, and which devices vanished: claimed or not."""
    kinds = {row.uuid: port.kind for row, port in case.claims if port is not None}
    ports = sorted(case.monitor.ports().values(), key=lambda port: port.name)
    twins = {port.uuid for same in _same_tunnels(case) for port in same}
    failed = [port for port in ports if port.state in ("failed", "gone")]
    shown = [port for port in failed if port.uuid not in twins]  # the others by tunnels_differ
    for port in shown[:MOST]:
        kind = clean(kinds.get(port.uuid, "interface"))
        text = f"{kind} {clean(port.name)}: {clean(port.error or 'no reason given')}"
        to_look_at = port.name
        if port.interface is not None and port.interface.peer is False:
            to_look_at, remedy = _remedy_of_patch(case, port.interface)
        elif port.state == "gone":
            remedy = "start what provides the device again, such as its VM; or delete the port"
        elif "No such device" in (port.error or ""):
            remedy = "create a device of this name, or delete the port"
        elif re.match(r"could not open .*\(Address family not supported", port.error or ""):
            remedy = f"this ovs-vswitchd does not have the type {clean(port.type)}: correct it, "
            remedy += "or delete the port"
            if port.type.startswith("dpdk"):
                init = f"{vsctl(case.address)} set Open_vSwitch . other_config:dpdk-init=true"
                remedy += f", or start a switch with DPDK after `{init}`"
        else:
            remedy = "remove this cause, and the switch will open the port"
        show = f"`{vsctl(case.address)} list Interface {shlex.quote(clean(to_look_at))}`"
        subject = "failed port" if port.state == "failed" else "gone port"
        yield Finding("wrong", subject, text, f"{remedy}; {show} shows all of it")
    if (more := len(shown) - MOST) > 0:
        yield Finding("wrong", "failed port", f"and {more} more")
    if not failed:
        yield Finding("fine", "ports", "none has failed")


def _remedy_of_patch(case: Context, patch: Interface) -> tuple[str, str]:
    """Return what helps a patch port without a usable peer, after the port to look at."""
    wanted = patch.options.get("peer")
    for row in case.rows():
        names_it = row.type == "patch" and row.options.get("peer") == patch.name
        if names_it and row.name == wanted != patch.name:
            if not is_open(row):
                return row.name, (
                    f"the switch has not opened {clean(row.name)}, its peer: see its error, the "
                    "datapath_type of its bridge, and the log of ovs-vswitchd"
                )
            return patch.name, (
                f"set the same datapath_type on the bridges of both, {clean(patch.bridge or '?')} "
                f"and {clean(row.bridge or '?')}: a patch port joins bridges of one datapath"
            )
    return patch.name, "create the other patch port, or correct options:peer of one of them"


def iface_ids_are_unique(case: Context) -> Iterator[Finding]:
    """Check that no VIF is on two interfaces, except while it migrates."""
    rows: dict[str, list[Interface]] = defaultdict(list)
    for row in case.rows():
        iface_id = row.external_ids.get("iface-id")
        if iface_id and not vif.is_second(row):
            rows[iface_id].append(row)
    several = {iface_id: same for iface_id, same in rows.items() if len(same) > 1}
    for iface_id, same in list(several.items())[:MOST]:
        text = f"{clean(iface_id)} is on {_names(same)}"
        active = [row for row in same if row.external_ids.get("iface-status") != "inactive"]
        if len(active) > 1:
            remove = f"{vsctl(case.address)} remove Interface"
            commands = [
                f"`{remove} {shlex.quote(clean(row.name))} external_ids iface-id`"
                for row in active[:MOST]
            ]
            remedy = f"keep it on the one that its VM uses: {' or '.join(commands)}"
            yield Finding("wrong", "iface-id", text, remedy)
        else:
            yield Finding("note", "iface-id", text, "one is active: perhaps a live migration")
    if not several:
        yield Finding("fine", "iface-id", "none is on two interfaces")


def _vswitchd(case: Context) -> Process | None:
    """Return the state of the process according to its pid file; None if it is unknown."""
    if case.address.method != "unix":
        return None
    folder = _pid_files(case)
    if _process(folder / "ovsdb-server.pid", "ovsdb-server") == "gone":
        return None  # another layout, another pid namespace, or processes that are not to be seen
    return _process(folder / "ovs-vswitchd.pid", "ovs-vswitchd")


def _pid_files(case: Context) -> Path:
    """Return the folder where the daemons keep their pid files: that of the unix socket."""
    return Path(case.address.host).parent


def _pid(pid_file: Path) -> int:
    return int(pid_file.read_text())


def _process(pid_file: Path, name: str) -> Process:
    """Return the state of the process; one of another name has got the number since."""
    try:
        facts = Path("/proc", str(_pid(pid_file)), "stat").read_text()
    except (OSError, ValueError):
        return "gone"
    head, _, rest = facts.rpartition(")")  # proc(5); the name before it may contain anything
    if head.partition("(")[2] != name:
        return "gone"
    state = rest.split()[0]
    return "gone" if state in "ZX" else "stopped" if state in "Tt" else "runs"


def _nearly(classifier: Classifier, row: Interface) -> str | None:
    """Return what a row would need to be of a kind, according to the classifier, which is
    third-party code.
    """
    try:
        text = classifier.nearly(row)
        return text and str(text)
    except BaseException as error:  # noqa: BLE001 - said in its place, SystemExit too
        return f"nearly() raised {error!r}"


def _names(rows: Sequence[Interface], most: int = MOST) -> str:
    names = [clean(row.name) for row in rows[:most]]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")
