"""The addresses of NATS servers and the credentials for them, checked without a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from dfovsdb.errors import ConfigurationError, needs_extra
from dfovsdb.tls import Tls


class Servers:
    """The addresses of the servers, and the credentials.

    :param servers: `nats://HOST:PORT` or `tls://HOST:PORT`.
    :param credentials_file: of a user with a JWT (nsc); excludes the other three.
    :raises ConfigurationError: any of these cannot be used.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        credentials_file: str | None = None,
        ssl_key_file: str | None = None,
        ssl_cert_file: str | None = None,
        ssl_ca_cert_file: str | None = None,
        ssl_check_hostname: bool = True,
    ) -> None:
        self.servers = [_server(server) for server in servers]
        if not self.servers:
            raise ConfigurationError("option servers is empty: give at least one")
        self.needs_tls = self.servers[0].startswith("tls:")
        if any(server.startswith("tls:") != self.needs_tls for server in self.servers):
            raise ConfigurationError("option servers: use nats:// or tls:// for all of them")
        if (user is None) != (password is None):
            raise ConfigurationError("user and password must be given together")
        if sum(given is not None for given in (user, token, credentials_file)) > 1:
            raise ConfigurationError("user, token and credentials_file exclude each other")
        if credentials_file is not None:
            _check_credentials(credentials_file)
        # Loading the system's CAs costs more than everything else here: only if needed.
        secured = self.needs_tls or ssl_cert_file or ssl_key_file or ssl_ca_cert_file
        self.tls = (
            Tls(ssl_key_file, ssl_cert_file, ssl_ca_cert_file, check_hostname=ssl_check_hostname)
            if secured
            else None
        )
        self.credentials: dict[str, Any] = {
            "user": user,
            "password": password,
            "token": token,
            "user_credentials": credentials_file,
        }

    def __str__(self) -> str:
        return ", ".join(self.servers)


def _server(url: str) -> str:
    """Return the checked address, with its port.

    :raises ConfigurationError: it cannot be used; a password in it is not repeated.
    """
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if "@" in url:  # also if the rest of the URL cannot be read: a password may contain anything
        raise ConfigurationError(
            "option servers contains a user name or a password: use the options user, password or "
            "token"
        )
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigurationError(f"server {url!r:.100}: use nats://HOST:PORT or tls://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or 4222}"


def _check_credentials(path: str) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read(1 << 16)
    except OSError as error:
        raise ConfigurationError(
            f"credentials_file {path!r} cannot be read: {error.strerror}"
        ) from None
    if b"BEGIN NATS USER JWT" not in content or b"BEGIN USER NKEY SEED" not in content:
        raise ConfigurationError(
            f"credentials_file {path!r} does not contain a JWT and a seed of a user"
        )
    try:
        import nkeys  # noqa: F401 - nats-py imports it when it connects
    except ImportError:
        raise needs_extra("credentials_file (nkeys)", "nats") from None
