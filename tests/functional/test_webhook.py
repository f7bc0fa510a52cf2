"""The webhook sink: a real ovsdb-server under change, the receiver of the guide, every answer."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Monitor, config, from_json, plugins
from dfovsdb.sinks.webhook import WebhookSink
from dfovsdb.sinks.webhook import messages as cloudevents
from dfovsdb.sinks.webhook.signing import Secrets
from dfovsdb.testing import Sandbox, wait_until
from tests.certificates import Pki
from tests.freeports import free_port
from tests.functional.churning import MANY, Churn, wait_for_the_same
from tests.functional.receiving import GUIDE, SECRET, Receiver, guide, receiver_of_the_guide
from tests.waiting import DEADLINE

Handler = http.server.BaseHTTPRequestHandler


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


def answers(status: int, **headers: str) -> Callable[[Handler, bytes], bool]:
    """A fault: this answer, whatever comes."""

    def fault(handler: Handler, _body: bytes) -> bool:
        handler.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        return True

    return fault


def is_silent(handler: Handler, _body: bytes) -> bool:
    handler.connection.recv(1)  # until the other side gives up
    handler.close_connection = True
    return True


def closes(handler: Handler, _body: bytes) -> bool:
    handler.close_connection = True
    return True


def closes_what_it_kept(handler: Handler, _body: bytes) -> bool:
    """As if it had closed the connection just when the request came."""
    handler.close_connection = hasattr(handler, "has_served")
    handler.has_served = True  # type: ignore[attr-defined]  # its handler is one connection
    return handler.close_connection


def closes_half_way(handler: Handler, _body: bytes) -> bool:
    handler.wfile.write(b"HTTP/1.1 20")
    handler.close_connection = True
    return True


def talks_nonsense(handler: Handler, _body: bytes) -> bool:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True
    return True


def takes_and_closes(handler: Handler, body: bytes) -> bool:
    """It has the events, and the answer is lost."""
    handler.server.view.take(  # type: ignore[attr-defined]  # of the guide
        json.loads(body) if body.startswith(b"[") else [json.loads(body)]
    )
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (answers(500), "answered 500 Internal Server Error"),
        (answers(503), "answered 503 Service Unavailable"),
        (answers(401), "answered 401 Unauthorized; it does not accept our signature: compare"),
        (answers(404), "answered 404 Not Found; correct option url"),
        (answers(408), "answered 408 Request Timeout"),
        (answers(429), "answered 429 Too Many Requests"),
        (answers(429, Retry_After="1"), "answered 429 Too Many Requests, and asks to wait 1 s"),
        (answers(302, Location="http://192.0.2.1/"), "redirects are not followed"),
        (answers(799), "answered 799"),
        (is_silent, "it does not respond in time"),
        (closes, "it closed the connection before its response was complete"),
        (closes_half_way, "it closed the connection before its response was complete"),
        (talks_nonsense, "its response is not valid HTTP/1.1"),
        (takes_and_closes, "it closed the connection before its response was complete"),
    ],
)
def test_what_is_no_answer_is_an_outage_after_which_the_receiver_has_everything(
    box: Sandbox,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Handler, bytes], bool],
    says: str,
) -> None:
    caplog.set_level("INFO", "dfovsdb")
    patience = 0.3 if fault is is_silent else DEADLINE
    sink = WebhookSink(receiver.url(), receiver.secret_file, read_timeout=patience, batch_events=7)
    with Churn(box) as churn, Monitor(box.connection, sinks={"hook": sink}, host="cmp-1"):
        wait_until(lambda: len(receiver.ports()) >= MANY)
        churn.wait_for_rounds(5)
        receiver.fault = fault
        before = len(receiver.requests)
        wait_until(lambda: len(receiver.requests) >= before + 2)
        churn.wait_for_rounds(20)
        receiver.fault = None
        churn.wait_for_rounds(20)
        churn.end()
        wait_for_the_same(box, receiver.ports)
    warnings = [r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    assert warnings
    assert all(
        says in line and "sink hook is unavailable: http://127.0.0.1" in line for line in warnings
    )
    assert "s3cr3t" not in caplog.text


def test_retry_after_is_waited_for_and_ended_by_reopen(box: Sandbox, receiver: Receiver) -> None:
    receiver.fault = answers(429, Retry_After="2")
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Monitor(box.connection, sinks=[sink], host="cmp-1") as monitor:
        wait_until(lambda: receiver.requests)
        receiver.fault = None
        wait_until(lambda: len(receiver.requests) > 1)
        assert receiver.requests[1].at - receiver.requests[0].at >= 2
        wait_for_the_same(box, receiver.ports)
        receiver.fault = answers(503, Retry_After="1000")
        before = len(receiver.requests)
        monitor.replay()
        wait_until(lambda: len(receiver.requests) > before)
        receiver.fault = None
        monitor.reopen()
        wait_until(lambda: len(receiver.requests) > before + 1)
        wait_for_the_same(box, receiver.ports)


def test_one_bad_event_of_a_batch_is_refused_alone_and_reported_later(
    box: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def chokes_on_tap7(handler: Handler, body: bytes) -> bool:
        return b'"name":"tap7"' in body and answers(400)(handler, body)

    receiver.fault = chokes_on_tap7
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Churn(box) as churn, Monitor(box.connection, sinks={"hook": sink}, host="cmp-1"):
        wait_until(lambda: len(receiver.ports()) >= MANY)
        churn.wait_for_rounds(40)
        assert "tap7" not in {port.name for port in receiver.ports().values()}
        refusals = [r for r in caplog.records if "sink hook refused online" in r.getMessage()]
        assert refusals
        assert all(" tap7 " in record.getMessage() for record in refusals)
        assert "answered 400 Bad Request" in str(refusals[0].exc_info)
        receiver.fault = None
        churn.wait_for_rounds(MANY)  # tap7 changes in one of them
        churn.end()
        wait_for_the_same(box, receiver.ports)


def test_a_batch_that_is_too_large_is_sent_in_halves(
    box: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def is_small(handler: Handler, body: bytes) -> bool:
        return len(body) > 5000 and answers(413)(handler, body)

    receiver.fault = is_small
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Churn(box) as churn, Monitor(box.connection, sinks=[sink], host="cmp-1"):
        churn.wait_for_rounds(10)
        churn.end()
        wait_for_the_same(box, receiver.ports)
    batches = [json.loads(r.body) for r in receiver.requests if r.body.startswith(b"[")]
    assert max(len(batch) for batch in batches[-3:]) < 20
    assert "refused" not in caplog.text  # nothing was offered one by one


def test_a_receiver_that_is_gone_and_comes_back_has_everything(
    box: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Churn(box) as churn, Monitor(box.connection, sinks=[sink], host="cmp-1"):
        wait_until(lambda: len(receiver.ports()) >= MANY)
        receiver.stop()
        wait_until(lambda: "Connection refused" in caplog.text)
        churn.wait_for_rounds(20)
        receiver.start()  # with the view that it has kept in its file
        churn.wait_for_rounds(10)
        churn.end()
        wait_for_the_same(box, receiver.ports)


def test_a_connection_that_was_closed_for_being_idle_is_no_outage(
    box: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Monitor(box.connection, sinks=[sink], host="cmp-1"):
        wait_for_the_same(box, receiver.ports)
        receiver.fault = closes_what_it_kept
        for number in range(20):
            if number % 2:
                receiver.cut()
            box.vsctl(
                "add-port",
                "br-int",
                f"tap{number}",
                "--",
                "set",
                "interface",
                f"tap{number}",
                f"external_ids:iface-id=v{number}",
            )
            wait_for_the_same(box, receiver.ports)
    assert "unavailable" not in caplog.text


def test_what_was_taken_and_comes_again_has_the_same_id(box: Sandbox, receiver: Receiver) -> None:
    receiver.fault = takes_and_closes
    sinks = [WebhookSink(receiver.url())]
    with Monitor(box.connection, sinks=sinks, host="cmp-1", stop_timeout=0.1):
        wait_until(lambda: len(receiver.requests) >= 2)
    assert receiver.requests[0].body == receiver.requests[1].body


def test_an_event_waits_batch_age_at_most_and_others_join_it(
    box: Sandbox, receiver: Receiver
) -> None:
    sink = WebhookSink(receiver.url(), receiver.secret_file, batch_age=0.2)
    began = time.monotonic()
    with Churn(box) as churn, Monitor(box.connection, sinks=[sink], host="cmp-1"):
        churn.wait_for_rounds(60)
        churn.end()
        wait_for_the_same(box, receiver.ports)
    events = [r for r in receiver.requests if b"dfovsdb.sync." not in r.body]
    # They are sent 0.2 s apart, but for the first and those around the markers; how long each is
    # on its way differs.
    assert 1 < len(events) <= 3 + (events[-1].at - began) / 0.2
    assert max(len(json.loads(r.body)) for r in events) > 5


# TLS.


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "theirs", "stranger")


def server_context(pki: Pki, name: str, host: str, *, clients: str = "") -> ssl.SSLContext:
    pair = pki.issue(name, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


@pytest.mark.parametrize(
    ("host", "whose", "says"),
    [
        ("another.example", "ours", "its certificate is not accepted: IP address mismatch"),
        ("127.0.0.1", "theirs", "its certificate is not accepted: "),
        (None, "ours", "TLS failed: "),
    ],
)
def test_a_receiver_with_a_wrong_certificate_receives_nothing_until_it_has_the_right_one(
    box: Sandbox,
    tmp_path: Path,
    pki: Pki,
    stranger: Pki,
    caplog: pytest.LogCaptureFixture,
    host: str | None,
    whose: str,
    says: str,
) -> None:
    wrong = server_context(stranger if whose == "theirs" else pki, "wrong", host) if host else None
    with Receiver(tmp_path, tls=wrong) as receiver:
        url = receiver.url(scheme="https")
        sink = WebhookSink(url, receiver.secret_file, ssl_ca_cert_file=pki.ca.cert)
        with Churn(box) as churn, Monitor(box.connection, sinks=[sink], host="cmp-1"):
            wait_until(lambda: says in caplog.text)
            assert receiver.requests == []
            receiver.stop()
            receiver.tls = server_context(pki, "right", "127.0.0.1")
            receiver.start()
            churn.wait_for_rounds(10)
            churn.end()
            wait_for_the_same(box, receiver.ports)
    assert "s3cr3t" not in caplog.text


def test_a_receiver_may_ask_for_our_certificate(box: Sandbox, tmp_path: Path, pki: Pki) -> None:
    asks = server_context(pki, "asks", "127.0.0.1", clients=pki.ca.cert)
    client = pki.issue("client")
    with Receiver(tmp_path, tls=asks) as receiver:
        sink = WebhookSink(
            receiver.url(scheme="https"),
            ssl_ca_cert_file=pki.ca.cert,
            secret_file=receiver.secret_file,
            ssl_cert_file=client.cert,
            ssl_key_file=client.key,
        )
        with Monitor(box.connection, sinks=[sink], host="cmp-1"):
            wait_for_the_same(box, receiver.ports)


# Secrets.


def agent(folder: Path, box: Sandbox, *lines: str) -> Path:
    file = folder / "dfovsdb.conf"
    file.write_text(
        "\n".join(
            [
                f"[ovsdb]\nconnection = {box.connection}",
                "[dfovsdb]\nhost = cmp-1\nstop_timeout = 0.1\nsinks = webhook\n[sink_webhook]",
                *lines,
            ]
        )
    )
    return file


def test_neither_the_secret_nor_the_path_is_in_a_log_an_error_or_plugins(
    box: Sandbox, receiver: Receiver, tmp_path: Path
) -> None:
    """With --debug, refusals with tracebacks, outages, and every option logged."""
    receiver.fault = answers(400)
    file = agent(tmp_path, box, f"url = {receiver.url()}", f"secret_file = {receiver.secret_file}")
    command = [sys.executable, "-m", "dfovsdb", "--debug", "--config-file", str(file)]
    process = subprocess.Popen([*command, "run"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(receiver.requests) > 3)
    receiver.fault = closes
    box.vsctl(
        "add-port", "br-int", "tap0", "--", "set", "interface", "tap0", "external_ids:iface-id=v0"
    )
    before = len(receiver.requests)
    wait_until(lambda: len(receiver.requests) > before)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert "answered 400 Bad Request" in said
    listed = subprocess.run([*command, "plugins"], capture_output=True, text=True, check=True)
    for word in (SECRET, SECRET.removeprefix("whsec_"), "s3cr3t", "v1,"):
        assert word not in said + listed.stdout + listed.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "[sink_webhook] url is required"),
        (["url = ftp://localhost/s3cr3t"], "use https://HOST/PATH, or http://HOST/PATH"),
        (["url = https://[::1/s3cr3t"], "cannot be read: use https://HOST/PATH"),
        (["url = https://me:s3cr3t@localhost/"], "holds a user name or password"),
        (["url = http://localhost/", "secret_file = {folder}/none"], "No such file or directory"),
        (["url = http://localhost/", "secret_file = {folder}/empty"], "is empty"),
        (["url = http://localhost/", "secret_file = {folder}/short"], "shorter than 16 bytes"),
        (["url = http://localhost/", "ssl_ca_cert_file = {folder}/none"], "cannot be read"),
        (["url = https://localhost/", "ssl_cert_file = {folder}/c"], "set both or none"),
        (["url = http://localhost/", "batch_events = 0"], "batch_events"),
    ],
)
def test_wrong_use_is_one_line_that_repeats_no_secret(
    box: Sandbox, tmp_path: Path, lines: list[str], says: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_text("whsec_czNjcjN0\n")
    file = agent(tmp_path, box, *(line.format(folder=tmp_path) for line in lines))
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "--config-file", str(file), "run"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "czNjcjN0" not in done.stderr


def test_a_secret_is_exchanged_by_reopening(
    box: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    sink = WebhookSink(receiver.url(), receiver.secret_file)
    with Monitor(box.connection, sinks=[sink], host="cmp-1") as monitor:
        wait_for_the_same(box, receiver.ports)
        Path(receiver.secret_file).write_text(f"another-secret-of-ours\n{SECRET}\n")
        monitor.reopen()
        box.vsctl(
            "add-port",
            "br-int",
            "tap0",
            "--",
            "set",
            "interface",
            "tap0",
            "external_ids:iface-id=v0",
        )
        wait_for_the_same(box, receiver.ports)
        wait_until(lambda: " v1," in receiver.requests[-1].headers["webhook-signature"])
        Path(receiver.secret_file).write_text("")
        monitor.reopen()
        wait_until(
            lambda: (
                "is empty: write one secret on each line; requests are signed with" in caplog.text
            )
        )
        box.vsctl("del-port", "tap0")
        wait_for_the_same(box, receiver.ports)


# The guide.


def test_the_receiver_of_the_guide_runs_as_a_program_and_knows_who_knows_the_secret(
    box: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "receiver.py").write_text(guide("python"))
    (tmp_path / "hook.secret").write_text(SECRET)
    (tmp_path / "wrong.secret").write_text("some-other-secret")
    port = free_port()
    program = subprocess.Popen(
        [sys.executable, "receiver.py", "hook.secret", str(port)], cwd=tmp_path
    )
    url, view = f"http://127.0.0.1:{port}/", receiver_of_the_guide()["View"]
    try:
        wrong = WebhookSink(url, str(tmp_path / "wrong.secret"))
        with Monitor(box.connection, sinks=[wrong], host="cmp-1") as monitor:
            wait_until(lambda: monitor.status().sinks[0].counters["outages"])
            assert not view(tmp_path / "ports.json").ports("/dfovsdb/cmp-1")
            (tmp_path / "wrong.secret").write_text(SECRET)
            monitor.reopen()
            wait_until(lambda: view(tmp_path / "ports.json").ports("/dfovsdb/cmp-1"))
            assert not monitor.status().sinks[0].counters["refused"]
    finally:
        program.kill()
        program.wait()
    names = [p["name"] for p in view(tmp_path / "ports.json").ports("/dfovsdb/cmp-1").values()]
    assert names == ["br-int"]


def test_the_receiver_of_the_guide_takes_nothing_old_or_changed(tmp_path: Path) -> None:
    names = receiver_of_the_guide()
    (tmp_path / "hook.secret").write_text(SECRET)
    secrets = Secrets(str(tmp_path / "hook.secret"))
    now = int(time.time())
    assert names["signed"](secrets.headers("a:b:1", now, b"{}"), b"{}", SECRET)
    assert not names["signed"](secrets.headers("a:b:1", now, b"{}"), b"{ }", SECRET)
    assert not names["signed"](secrets.headers("a:b:1", now - 301, b"{}"), b"{}", SECRET)
    assert not names["signed"]({}, b"{}", SECRET)


def test_the_configuration_of_the_guide_is_valid(tmp_path: Path) -> None:
    (tmp_path / "hook.secret").write_text(SECRET)
    file = tmp_path / "dfovsdb.conf"
    file.write_text(guide("ini").replace("/etc/dfovsdb", str(tmp_path)))
    conf = config.load([str(file)])
    assert isinstance(plugins.SINKS.build(conf.dfovsdb.sinks, conf)["webhook"], WebhookSink)


def test_the_guide_names_every_option_and_its_default() -> None:
    for option in WebhookSink.options:
        default = f"`{option.default}`" if option.default is not None else ""
        assert f"| `{option.dest}` | {default}" in GUIDE.read_text()


def test_the_event_in_the_guide_is_what_we_send() -> None:
    line = guide("json").strip()
    event: Any = json.loads(line)
    item = from_json(json.dumps(event["data"]))
    _, epoch, _ = event["id"].split(":")
    assert cloudevents.encode(item, "cmp-17", epoch).decode() == line
