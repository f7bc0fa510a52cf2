"""The sink nats and servers that are secured: TLS, and users with a JWT."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import nkeys
import pytest
from nacl.signing import SigningKey

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats import NatsSink
from tests.certificates import Pair, Pki
from tests.machine import needs_localhost
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.unit.samples import event

CONTEXT = SinkContext("cmp-17", "epoch", lambda: None, lambda: "synced")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("nats") / "pki")


@pytest.fixture(scope="module")
def pair(pki: Pki) -> Pair:
    return pki.issue("nats", "127.0.0.1", "localhost")


def secured(tmp_path: Path, pair: Pair, more: str = "") -> NatsServer:
    files = f'cert_file: "{pair.cert}", key_file: "{pair.key}"'
    return NatsServer(tmp_path, "tls", f"tls {{ {files} {more} }}", scheme="tls")


def why(sink: NatsSink) -> str:
    with pytest.raises(SinkUnavailable) as caught:
        sink.open(CONTEXT)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def works(sink: NatsSink) -> None:
    sink.open(CONTEXT)
    sink.emit(event())
    sink.close()


def test_a_server_with_the_right_certificate_is_spoken_to(
    tmp_path: Path, pki: Pki, pair: Pair
) -> None:
    ca: dict[str, Any] = {"ssl_ca_cert_file": str(pki.ca.cert)}
    with secured(tmp_path, pair) as server:
        works(NatsSink([server.url], **ca))
        with Fleet([server.url], **ca) as fleet:
            assert len(fleet.events()) == 1


@needs_localhost
def test_a_server_is_spoken_to_by_its_name(tmp_path: Path, pki: Pki, pair: Pair) -> None:
    with secured(tmp_path, pair) as server:
        by_name = server.url.replace("127.0.0.1", "localhost")
        works(NatsSink([by_name], ssl_ca_cert_file=str(pki.ca.cert)))


def test_a_server_of_another_ca_is_refused(
    tmp_path: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Pki(tmp_path_factory.mktemp("nats") / "pki", "stranger")
    with secured(tmp_path, pair) as server:
        said = why(NatsSink([server.url], ssl_ca_cert_file=str(stranger.ca.cert)))
        assert said.endswith("the server's certificate is not from the CA in ssl_ca_cert_file")
        assert "certificate is not from the CA" in why(NatsSink([server.url]))


def test_a_certificate_of_ours_is_shown_where_the_server_asks(
    tmp_path: Path, pki: Pki, pair: Pair
) -> None:
    client = pki.issue("agent")
    with secured(tmp_path, pair, f', ca_file: "{pki.ca.cert}", verify: true') as server:
        ca: dict[str, Any] = {"ssl_ca_cert_file": str(pki.ca.cert)}
        why(NatsSink([server.url], timeout=1, **ca))
        ours: dict[str, Any] = {"ssl_cert_file": str(client.cert), "ssl_key_file": str(client.key)}
        works(NatsSink([server.url], **ca, **ours))


def test_a_server_without_tls_hears_no_password_of_ours(tmp_path: Path) -> None:
    with NatsServer(tmp_path, settings="debug: true\ntrace: true") as server:
        url = server.url.replace("nats://", "tls://")
        said = why(NatsSink([url], user="agent", password="s3cret-word"))
        assert said == f"{url}: the server does not support TLS, but tls:// was configured"
        assert "CONNECT" not in server.log


def test_files_that_cannot_be_used_stop_the_start() -> None:
    with pytest.raises(ConfigurationError, match="ssl_ca_cert_file '/nosuch' cannot be read"):
        NatsSink(["tls://127.0.0.1:1"], ssl_ca_cert_file="/nosuch")


# Users with a JWT.


class Key:
    """An nkey: 32 bytes of seed, and a letter that says whose."""

    def __init__(self, prefix: int) -> None:
        self._signing = SigningKey.generate()
        self.seed = nkeys.encode_seed(bytes(self._signing), prefix).decode()
        self.public = nkeys.from_seed(bytearray(self.seed.encode())).public_key.decode()

    def token(self, subject: str, name: str, kind: str, **more: Any) -> str:
        """A JWT, signed by us (NATS ADR-14)."""
        claims = {
            "jti": name,
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject,
            "name": name,
            "nats": {"type": kind, "version": 2, **more},
        }
        parts = [
            _encoded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode()),
            _encoded(json.dumps(claims).encode()),
        ]
        text = ".".join(parts)
        return f"{text}.{_encoded(self._signing.sign(text.encode()).signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_credentials_file_is_shown_and_its_content_never_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
    account, system = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key(nkeys.PREFIX_BYTE_ACCOUNT)
    user = Key(nkeys.PREFIX_BYTE_USER)
    plenty = {
        "subs": -1,
        "data": -1,
        "payload": -1,
        "imports": -1,
        "exports": -1,
        "conn": -1,
        "leaf": -1,
        "mem_storage": -1,
        "disk_storage": -1,
        "streams": -1,
        "consumer": -1,
        "wildcards": True,
    }
    own = operator.token(operator.public, "operator", "operator")
    accounts = "".join(
        f"{one.public}: {operator.token(one.public, name, 'account', limits=limits)}\n"
        for one, name, limits in ((account, "fleet", plenty), (system, "SYS", {}))
    )
    settings = (
        f"operator: {own}\nsystem_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{\n{accounts}}}"
    )
    file = tmp_path / "agent.creds"
    jwt = account.token(user.public, "agent", "user", subs=-1, data=-1, payload=-1)
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with NatsServer(tmp_path, settings=settings) as server:
        assert "authorization failed" in why(NatsSink([server.url]))
        works(NatsSink([server.url], credentials_file=str(file)))
    assert user.seed not in caplog.text
