"""What an operator can do about a connection that could not be made."""

from __future__ import annotations

import errno
import os
import shlex
import stat

from dfovsdb.ovsdb.address import Address

_SOCKETS = (
    "/run/openvswitch/db.sock",
    "/var/run/openvswitch/db.sock",
    "/usr/local/var/run/openvswitch/db.sock",
)
#: The command that makes a server listen on tcp, and its consequence.
LISTEN = "`ovs-vsctl set-manager ptcp:6640:127.0.0.1`"
OPEN_TO_ALL = "every user of this host may then change the database"
START = "on Debian and Ubuntu `systemctl start openvswitch-switch` starts it"


def vsctl(address: Address) -> str:
    """Return how `ovs-vsctl` is called for this server."""
    if address.method == "unix" and address.host in _SOCKETS:
        return "ovs-vsctl"
    return f"ovs-vsctl --db={shlex.quote(str(address))}"


def remedy(address: Address, code: int) -> str:
    """Return what an operator can do about a connection that could not be made.

    :param code: errno of the attempt.
    """
    if code in (errno.EACCES, errno.EPERM):
        if address.method != "unix":
            return ": not permitted on this host, perhaps by a firewall"
        if folder := _closed_folder(address.host):
            return (
                f": this user may not enter the folder {folder}; run as the user of Open "
                "vSwitch, or let this one enter it"
            )
        return (
            f": this user may not open it; run `dfovsdb doctor {address}` to see which user may, "
            "and what to do"
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return ": too many descriptors are open; see `ulimit -n`"
    if address.method == "ssl":
        return f": is it listening there? `ovs-vsctl set-manager pssl:{address.port}` makes it"
    there = next((path for path in _SOCKETS if path != address.host and _is_socket(path)), None)
    if address.method == "unix":
        return f": connect to unix:{there}" if there else f": is ovsdb-server running? {START}"
    if there:
        return (
            f": connect to unix:{there}, which is there, or make it listen with {LISTEN} "
            f"({OPEN_TO_ALL})"
        )
    return (
        f": is ovsdb-server running? {START}; then connect to its unix socket, or make it listen "
        f"with {LISTEN} ({OPEN_TO_ALL})"
    )


def _closed_folder(path: str) -> str | None:
    """Return the folder on the way to a path that this user may not enter, if there is one."""
    names = os.path.abspath(path).split(os.sep)[1:-1]
    for depth in range(len(names) + 1):
        folder = os.sep + os.path.join("", *names[:depth])
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder if os.path.exists(folder) else None
    return None


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
