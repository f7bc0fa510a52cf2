"""TLS: a real ovsdb-server with a private CA, and every way in which that can go wrong."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dfovsdb import DfovsdbError, Monitor, watch
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.examine import examine
from dfovsdb.plugins import default_classifiers
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from dfovsdb.tls import Tls
from tests.certificates import Pair, Pki
from tests.freeports import free_port
from tests.functional.faultproxy import CutAt, Delay, Fault, FaultProxy, OneByteAtATime, StallAt
from tests.functional.helpers import insert
from tests.machine import THIS_HOST
from tests.waiting import DEADLINE


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="session", params=["ca", "stranger"])
def other_pki(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Another CA: with the same name and another key, and with another name."""
    return Pki(tmp_path_factory.mktemp("pki") / "theirs", request.param)


@pytest.fixture(scope="session")
def server_pair(pki: Pki) -> Pair:
    return pki.issue("server", "localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def client_pair(pki: Pki) -> Pair:
    return pki.issue("client")


class Secured(NamedTuple):
    """A sandbox that listens with TLS too."""

    box: Sandbox
    port: int

    def at(self, host: str = "127.0.0.1") -> str:
        return f"ssl:{host}:{self.port}"


Start = Callable[..., Secured]


@pytest.fixture
def start(pki: Pki) -> Iterator[Start]:
    """Starts servers with a certificate; `clients` is the CA of theirs, `none` asks for none."""
    running: list[Sandbox] = []

    def start(pair: Pair, clients: str | None = None, host: str = "127.0.0.1") -> Secured:
        port = free_port(host.strip("[]"))
        box = Sandbox(
            vswitchd=False,
            arguments=[
                f"--remote=pssl:{port}:{host}",
                f"--private-key={pair.key}",
                f"--certificate={pair.cert}",
                f"--ca-cert={clients or pki.ca.cert}",
            ],
        )
        running.append(box)
        box.start()
        box.vsctl("add-br", "br-int")
        return Secured(box, port)

    yield start
    for box in running:
        box.stop()


def options(ca: Pki, pair: Pair | None = None, **more: Any) -> dict[str, Any]:
    if pair is not None:
        more |= {"ssl_key_file": pair.key, "ssl_cert_file": pair.cert}
    return {"ssl_ca_cert_file": ca.ca.cert, **more}


def trouble(connection: str, **how: Any) -> str:
    """The one line in the log about a connection that cannot be made."""
    with Monitor(connection, **how) as monitor:
        deadline = time.monotonic() + DEADLINE
        while not monitor.trouble:
            assert time.monotonic() < deadline, "no trouble in time"
            assert not monitor.wait_synced(0.01), "it connected"
        assert not monitor.wait_synced(0)
        said = monitor.trouble
    assert "\n" not in said
    assert "PRIVATE KEY" not in said
    return said


@pytest.mark.parametrize("host", THIS_HOST)
def test_a_server_with_the_right_certificate_is_read_by_address_and_by_name(
    start: Start, pki: Pki, server_pair: Pair, client_pair: Pair, host: str
) -> None:
    secured = start(server_pair)
    sink = CaptureSink()
    with Monitor(secured.at(host), sinks=[sink], **options(pki, client_pair)):
        sink.wait_for_sync()
        secured.box.vsctl("add-br", "br-tun")
        sink.wait_for_actions("br-tun", ["online"])
        secured.box.stop_database(kill=True)
        secured.box.start_database()
        sink.wait_for_sync(2)
    assert sink.actions("br-int") == ["online", "online"]


def test_a_server_is_read_by_its_ipv6_address(
    start: Start, pki: Pki, server_pair: Pair, client_pair: Pair
) -> None:
    secured = start(server_pair, host="[::1]")
    assert list(
        watch(secured.at("[::1]"), once=True, timeout=DEADLINE, **options(pki, client_pair))
    )


def test_a_client_certificate_is_optional_where_the_server_asks_for_none(
    start: Start, pki: Pki, server_pair: Pair
) -> None:
    secured = start(server_pair, clients="none")
    assert list(watch(secured.at(), once=True, timeout=DEADLINE, **options(pki)))


def test_a_table_of_many_tls_records_is_read_whole_and_nothing_is_left_in_the_buffer(
    start: Start, pki: Pki, server_pair: Pair, client_pair: Pair
) -> None:
    secured = start(server_pair)
    rows = 2000
    secured.box.transact(
        *(
            {
                "op": "insert",
                "table": "Interface",
                "uuid-name": f"i{n}",
                "row": {"name": f"tap{n}", "external_ids": ["map", [["iface-id", "x" * 500]]]},
            }
            for n in range(rows)
        ),
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": "p",
            "row": {
                "name": "bond",
                "interfaces": ["set", [["named-uuid", f"i{n}"] for n in range(rows)]],
            },
        },
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [],
            "mutations": [["ports", "insert", ["named-uuid", "p"]]],
        },
    )
    sink = CaptureSink()
    with Monitor(secured.at(), sinks=[sink], queue_limit=10**6, **options(pki, client_pair)):
        sink.wait_for_sync()
        assert len(sink.ports) == rows + 1
        # A burst of one notification after the other, each of which must come at once.
        for number in range(5):
            secured.box.transact(
                {"op": "update", "table": "Interface", "where": [], "row": {"ofport": number}}
            )
            expected = {number}
            sink.wait_until(lambda: {p.ofport for p in sink.ports.values()} == expected)  # noqa: B023 - it is waited for here


@pytest.mark.parametrize("fault", [OneByteAtATime, Delay, CutAt, StallAt])
def test_a_network_that_fails_under_tls_is_survived(
    start: Start, pki: Pki, server_pair: Pair, client_pair: Pair, fault: type[Fault]
) -> None:
    secured = start(server_pair)
    sink = CaptureSink()
    with FaultProxy(secured.port) as proxy:
        proxy.fault = fault
        port = proxy.connection.rpartition(":")[2]
        how = options(pki, client_pair, inactivity_probe=1, reconnect_max=1)
        with Monitor(f"ssl:127.0.0.1:{port}", sinks=[sink], **how) as monitor:
            wait_until(lambda: monitor._loop.session.losses or monitor.wait_synced(0))
            secured.box.vsctl("add-br", "br-tun")
            if fault in (CutAt, StallAt):
                wait_until(lambda: monitor._loop.session.losses)
            proxy.heal()
            wait_until(lambda: {p.name for p in sink.ports.values()} == {"br-int", "br-tun"})


def test_an_expired_certificate_is_named(start: Start, pki: Pki, client_pair: Pair) -> None:
    expired = pki.issue("expired", "127.0.0.1", days=-1)
    said = trouble(start(expired).at(), **options(pki, client_pair))
    assert said.endswith("the server's certificate has expired")


def test_a_certificate_of_another_ca_is_named(
    start: Start, other_pki: Pki, server_pair: Pair, client_pair: Pair
) -> None:
    said = trouble(start(server_pair).at(), **options(other_pki, client_pair))
    assert said.endswith("the server's certificate is not from the CA in ssl_ca_cert_file")


def test_without_a_ca_of_ours_the_private_one_is_not_trusted(
    start: Start, server_pair: Pair
) -> None:
    assert "is not from the CA" in trouble(start(server_pair).at())


@pytest.mark.parametrize("host", THIS_HOST)
@pytest.mark.parametrize("names", [["elsewhere.example"], ["127.0.0.2"], []])
def test_a_certificate_that_names_another_host_or_none_is_named(
    start: Start, pki: Pki, client_pair: Pair, names: list[str], host: str
) -> None:
    other = pki.issue("other", *names)
    said = trouble(start(other).at(host), **options(pki, client_pair))
    assert "the server's certificate names another host" in said


def test_the_host_name_is_left_unchecked_only_on_demand_and_loudly(
    start: Start, pki: Pki, other_pki: Pki, client_pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    secured = start(pki.issue("other", "elsewhere.example"))
    how = options(pki, client_pair, ssl_check_hostname=False)
    assert list(watch(secured.at(), once=True, timeout=DEADLINE, **how))
    (warning,) = [r for r in caplog.records if "ssl_check_hostname is off" in r.message]
    assert warning.levelno == logging.WARNING
    how = options(other_pki, client_pair, ssl_check_hostname=False)
    assert "is not from the CA" in trouble(secured.at(), **how)  # that is still verified


def test_a_missing_client_certificate_is_named(start: Start, pki: Pki, server_pair: Pair) -> None:
    said = trouble(start(server_pair).at(), **options(pki))
    assert "the server requires a client certificate: set ssl_cert_file and ssl_key_file" in said


def test_a_client_certificate_that_the_server_refuses_is_named(
    start: Start, pki: Pki, other_pki: Pki, server_pair: Pair
) -> None:
    said = trouble(start(server_pair).at(), **options(pki, other_pki.issue("client")))
    # Where our request crossed the server's alert, the alert may be lost with the connection.
    assert "the server refuses our certificate" in said or "right after the TLS handshake" in said


def test_tls_on_a_plain_text_port_is_named(ovsdb_sandbox: Sandbox, pki: Pki) -> None:
    port = ovsdb_sandbox.tcp_connection.rpartition(":")[2]
    said = trouble(f"ssl:127.0.0.1:{port}", **options(pki))
    assert "does not use TLS" in said


def test_plain_text_on_a_tls_port_is_named(start: Start, server_pair: Pair) -> None:
    said = trouble(f"tcp:127.0.0.1:{start(server_pair).port}")
    assert said.endswith("if it uses TLS there, connect with ssl:")


def test_a_port_where_nobody_listens_names_the_remedy(pki: Pki) -> None:
    port = free_port()
    assert f"set-manager pssl:{port}" in trouble(f"ssl:127.0.0.1:{port}", **options(pki))


def test_a_server_that_never_shakes_hands_is_given_up_and_tried_again(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = trouble(f"ssl:127.0.0.1:{silent.getsockname()[1]}", **options(pki))
    assert said.endswith("no answer")


def test_nothing_older_than_tls_1_2_is_spoken(pki: Pki) -> None:
    context = Tls(ca_cert_file=pki.ca.cert).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_renewed_certificate_is_taken_up_at_the_next_connection(
    start: Start, pki: Pki, client_pair: Pair, server_pair: Pair, tmp_path: Path
) -> None:
    secured = start(server_pair)
    key, cert = tmp_path / "key", tmp_path / "cert"
    shutil.copy(client_pair.key, key)
    shutil.copy(pki.issue("old", days=-1).cert, cert)
    shutil.copy(pki.folder / "old.key", key)
    sink = CaptureSink()
    with Monitor(secured.at(), sinks=[sink], **options(pki, Pair(str(key), str(cert)))) as monitor:
        wait_until(lambda: monitor.trouble, DEADLINE)
        shutil.copy(client_pair.key, key)
        shutil.copy(client_pair.cert, cert)
        sink.wait_for_sync()


def test_the_doctor_compares_with_the_reference_over_tls(
    start: Start, pki: Pki, server_pair: Pair, client_pair: Pair
) -> None:
    secured = start(server_pair)
    secured.box.transact(*(op for n in range(300) for op in insert(f"tap{n}", n, ofport=n + 1)))
    case = Context(secured.at(), default_classifiers(), options(pki, client_pair), timeout=3)
    found = list(examine(case, verify=True))[-1]
    assert found[:3] == ("fine", "verify", "301 interfaces are equal to what ovs.db.idl reads")


def test_certificates_of_ovs_pki_work_without_the_host_name_check(
    start: Start, tmp_path: Path
) -> None:
    for program in ("ovs-pki", "openssl"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program} here")

    def ovs_pki(*args: str) -> None:
        subprocess.run(
            ["ovs-pki", f"--dir={tmp_path}/pki", f"--log={tmp_path}/log", *args],
            check=True,
            capture_output=True,
            cwd=tmp_path,
        )

    ovs_pki("init")
    ovs_pki("req+sign", "server", "switch")
    ovs_pki("req+sign", "client", "controller")
    server = Pair(f"{tmp_path}/server-privkey.pem", f"{tmp_path}/server-cert.pem")
    secured = start(server, clients=f"{tmp_path}/pki/controllerca/cacert.pem")
    how: dict[str, Any] = {
        "ssl_key_file": f"{tmp_path}/client-privkey.pem",
        "ssl_cert_file": f"{tmp_path}/client-cert.pem",
        "ssl_ca_cert_file": f"{tmp_path}/pki/switchca/cacert.pem",
    }
    assert "names another host" in trouble(secured.at(), **how)
    events = watch(secured.at(), once=True, timeout=DEADLINE, ssl_check_hostname=False, **how)
    assert [event.port.name for event in events] == ["br-int"]


@pytest.fixture
def files(pki: Pki, client_pair: Pair, tmp_path: Path) -> dict[str, str]:
    """Paths by the words that the cases below use."""
    garbage, secret = tmp_path / "garbage", tmp_path / "secret"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    secret.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    return {
        "key": client_pair.key,
        "cert": client_pair.cert,
        "ca": pki.ca.cert,
        "other key": pki.ca.key,
        "garbage": str(garbage),
        "encrypted": pki.issue("encrypted", password=b"x").key,
        "secret": str(secret),
        "missing": str(tmp_path / "missing"),
        "folder": str(tmp_path),
    }


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        ({"key": "key"}, "ssl_key_file is set without ssl_cert_file"),
        ({"cert": "cert"}, "ssl_cert_file is set without ssl_key_file"),
        ({"ca_cert": "missing"}, "ssl_ca_cert_file '{missing}' cannot be read: No such file"),
        ({"ca_cert": "folder"}, "ssl_ca_cert_file '{folder}' cannot be read: Is a directory"),
        ({"ca_cert": "garbage"}, "ssl_ca_cert_file '{garbage}' is not a PEM certificate"),
        ({"ca_cert": "key"}, "ssl_ca_cert_file '{key}' is not a PEM certificate"),
        ({"key": "missing", "cert": "cert"}, "ssl_key_file '{missing}' cannot be read"),
        ({"key": "key", "cert": "missing"}, "ssl_cert_file '{missing}' cannot be read"),
        ({"key": "key", "cert": "garbage"}, "ssl_cert_file '{garbage}' is not a PEM certificate"),
        ({"key": "secret", "cert": "cert"}, "or ssl_key_file '{secret}' is not a PEM key"),
        ({"key": "other key", "cert": "cert"}, "is not the key of ssl_cert_file '{cert}'"),
        ({"key": "encrypted", "cert": "cert"}, "ssl_key_file '{encrypted}' is encrypted"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start_with_one_line_and_status_2(
    files: dict[str, str], given: dict[str, str], phrase: str, tmp_path: Path
) -> None:
    how: dict[str, Any] = {f"ssl_{option}_file": files[word] for option, word in given.items()}
    with pytest.raises(DfovsdbError) as error:
        Monitor("ssl:127.0.0.1:1", **how)
    assert phrase.format(**files) in str(error.value)
    configuration = tmp_path / "dfovsdb.conf"
    lines = [f"{option} = {path}" for option, path in how.items()]
    configuration.write_text("\n".join(["[ovsdb]", "connection = ssl:127.0.0.1:1", *lines]))
    for command in ("run", "watch"):
        done = subprocess.run(
            [sys.executable, "-m", "dfovsdb", "--config-file", str(configuration), command],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"dfovsdb: {error.value}\n"
        assert "hunter2" not in done.stderr


def test_files_set_for_a_plain_connection_are_pointed_at(
    files: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    Monitor("tcp:127.0.0.1:1", ssl_ca_cert_file=files["ca"]).stop()
    assert "is not secured by TLS" in caplog.text
