"""Signatures as Standard Webhooks has them, and secrets that are kept in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfovsdb.errors import ConfigurationError
from dfovsdb.sinks.webhook.signing import Secrets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "hook.secret"
    file.write_text(SECRET + "\n")
    return file


def test_the_signature_is_that_of_the_known_example(file: Path) -> None:
    """The one with which libraries of Standard Webhooks test themselves."""
    headers = Secrets(str(file)).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_of_the_file_signs(file: Path) -> None:
    alone = Secrets(str(file)).headers("a", 1, b"")["webhook-signature"]
    file.write_text(f"a-secret-that-is-its-own-key\n\n{SECRET}\n")
    both = Secrets(str(file)).headers("a", 1, b"")["webhook-signature"].split(" ")
    assert len(both) == 2
    assert both[1] == alone


def test_reading_a_bad_file_anew_keeps_what_was_good(file: Path) -> None:
    secrets = Secrets(str(file))
    before = secrets.headers("a", 1, b"")
    for bad in ("", "short", "whsec_****"):
        file.write_text(bad)
        with pytest.raises(ConfigurationError):
            secrets.read()
    file.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        secrets.read()
    assert secrets.headers("a", 1, b"") == before


@pytest.mark.parametrize(
    "bad", ["", "   \n", "tooshort", "whsec_s3cr3t*s3cr3t*s3cr3t", "whsec_c2hvcnQ=", "é" * 20]
)
def test_a_bad_secret_is_refused_without_being_repeated(file: Path, bad: str) -> None:
    file.write_text(bad)
    with pytest.raises(ConfigurationError, match="secret_file") as caught:
        Secrets(str(file))
    for word in bad.removeprefix("whsec_").split():
        assert word not in str(caught.value)
