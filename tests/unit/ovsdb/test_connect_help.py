"""What is proposed to the operator of a connection that cannot be made."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfovsdb.ovsdb import connect_help
from dfovsdb.ovsdb.address import Address


@pytest.fixture
def a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The socket of an Open vSwitch, where one is looked for."""
    path = str(tmp_path / "there.sock")
    monkeypatch.setattr(connect_help, "_SOCKETS", ("/nowhere/db.sock", path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        yield path


def remedy(connection: str, code: int = errno.ECONNREFUSED) -> str:
    return connect_help.remedy(Address.parse(connection), code)


def test_a_refused_tcp_connection_names_the_socket_that_is_there(a_socket: str) -> None:
    assert f"unix:{a_socket}" in remedy("tcp:127.0.0.1:6640")
    assert "ovs-vsctl set-manager ptcp:6640:127.0.0.1" in remedy("tcp:127.0.0.1:6640")


def test_a_unix_socket_that_is_not_there_names_the_one_that_is(a_socket: str) -> None:
    assert f"unix:{a_socket}" in remedy("unix:/other.sock", errno.ENOENT)
    assert a_socket not in remedy(f"unix:{a_socket}")


def test_without_any_socket_the_remedy_is_to_make_it_listen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(connect_help, "_SOCKETS", (str(tmp_path / "file"), str(tmp_path / "none")))
    assert "ovs-vsctl set-manager ptcp:6640:127.0.0.1" in remedy("tcp:127.0.0.1:6640")
    assert "is ovsdb-server running?" in remedy("unix:/other.sock", errno.ENOENT)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_socket_that_may_not_be_opened_leads_to_the_doctor(code: int) -> None:
    assert "`dfovsdb doctor unix:/db.sock` to see which user may" in remedy("unix:/db.sock", code)
    assert "firewall" in remedy("tcp:127.0.0.1:6640", code)
