"""Where [http] listens: how that is written, and whether it can be had. Serves nothing."""

from __future__ import annotations

import errno
import http.client
import socket
from typing import TYPE_CHECKING

from dfovsdb.errors import ConfigurationError, needs_extra

if TYPE_CHECKING:
    from dfovsdb.telemetry.switch_page import Web

SERVER = "dfovsdb"  #: by which one of us is known in its answers

_LIBRARIES = ("prometheus_client", "starlette", "uvicorn")
_LOOPBACK = "127.0.0.1"
_ANSWER = 2.0  # seconds to wait for the listener to identify itself


def web(option: str = "[http] listen") -> type[Web]:
    """Return the listener, imported only if it is configured.

    :raises ConfigurationError: its library is not installed.
    """
    try:
        from dfovsdb.telemetry.switch_page import Web
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise needs_extra(option, "http") from None
    return Web


def address(listen: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Parse HOST:PORT, [IPv6]:PORT or a PORT of the loopback address.

    :raises ConfigurationError: it is none of these, or the host does not exist.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _LOOPBACK
    if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ConfigurationError(f"[http] listen = {listen}: use HOST:PORT, or a PORT")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"[http] listen = {listen}: {reason}") from None
    return found[0][0], (host, int(port))


def cannot(listen: str, error: OSError) -> ConfigurationError:
    """Return the error to raise if the address cannot be listened on."""
    text = f"[http] listen = {listen}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        text += f"; run `ss -ltnp 'sport = :{address(listen)[1][1]}'` to see which process uses it"
    return ConfigurationError(text)


def is_held_by_us(listen: str) -> bool:
    """Return whether dfovsdb listens there; False if nothing does and the address is free.

    :raises ConfigurationError: the address cannot be listened on.
    """
    family, place = address(listen)
    with socket.socket(family, socket.SOCK_STREAM) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            ours.bind(place)
            ours.listen()  # without it, two that only bind would both have it
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _is_ours(*place):
                return True
            raise cannot(listen, error) from None
    return False


def _is_ours(host: str, port: int) -> bool:
    there = http.client.HTTPConnection(host, port, timeout=_ANSWER)
    try:
        there.request("GET", "/healthz")
        return (there.getresponse().getheader("Server") or "").strip() == SERVER
    except (OSError, http.client.HTTPException):
        return False
    finally:
        there.close()
