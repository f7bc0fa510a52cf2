"""The HTTP client: one endpoint, one connection that is kept open, and the text of failures.

This is the only module that imports urllib3. It does not follow redirects, and repeats a request
only if a connection that was kept open had been closed in the meantime. It does not use a proxy,
whatever the environment says. Its messages show only the scheme, host and port of an endpoint,
because the path may be a secret; what urllib3 logs about a request contains it, and is dropped.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout, Url, parse_url

from dfovsdb.errors import ConfigurationError, DfovsdbError
from dfovsdb.logs import Hush
from dfovsdb.tls import Tls

_LONGEST_ANSWER = 65536  # bytes of a response that are read so that the connection can be kept
_LONGEST_RESPONSE = 4 * _LONGEST_ANSWER  # bytes, its head and interim responses included
#: These name the whole URL, and repeat for each request what is wrong with the headers.
_hush = Hush("urllib3.connection", "urllib3.connectionpool", "urllib3.response")


class NoResponse(DfovsdbError):
    """There was no complete response: no connection, a timeout, or a premature end."""


class Response(NamedTuple):
    """The response of the endpoint."""

    status: int
    retry_after: float | None  #: seconds that it asks us to wait

    @property
    def text(self) -> str:
        """Return the status with its standard phrase, because that of the endpoint may contain
        anything.
        """
        with contextlib.suppress(ValueError):
            return f"{self.status} {http.HTTPStatus(self.status).phrase}"
        return str(self.status)


class Endpoint:
    """The endpoint that requests are sent to. It is used by one thread.

    :param url: `https://HOST[:PORT]/PATH`, or `http://…`.
    :param tls: for https.
    :param connect_timeout: seconds to connect, including the TLS handshake.
    :param read_timeout: seconds for the whole response, from the end of the request.
    :raises ConfigurationError: the URL is not of this form.
    """

    def __init__(self, url: str, tls: Tls, connect_timeout: float, read_timeout: float) -> None:
        self._url = _parse(url)
        self._tls = tls
        self._timeout = Timeout(connect=connect_timeout, read=read_timeout)
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._kept = False  # the current connection has served a request before
        port = f":{self._url.port}" if self._url.port is not None else ""
        self.name = f"{self._url.scheme}://{self._url.host}{port}"

    @property
    def is_secure(self) -> bool:
        """Return whether the endpoint uses TLS."""
        return self._url.scheme == "https"

    @property
    def is_open_to_others(self) -> bool:
        """Return whether others on a network can read what is sent."""
        if self.is_secure or self._url.host == "localhost":
            return False
        with contextlib.suppress(ValueError):
            return not ipaddress.ip_address((self._url.host or "").strip("[]")).is_loopback
        return True

    def close(self) -> None:
        """Close the connection. The next request opens one with the present contents of the
        files.
        """
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._kept = False

    def post(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Send a request and wait for the response.

        :raises NoResponse: there was none.
        :raises ConfigurationError: the files of TLS cannot be used any more.
        """
        with _hush.during_a_call():
            return self._post_once_more(headers, body)

    def _post_once_more(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Send a request; send it again if a connection that was kept open had been closed."""
        kept = self._kept
        try:
            return self._post(headers, body)
        except exceptions.ProtocolError as error:
            self.close()
            if not kept:
                raise NoResponse(_failure(error)) from None
        except exceptions.HTTPError as error:
            self.close()
            raise NoResponse(_failure(error)) from None
        try:  # the receiver may have closed the idle connection: that is not an outage
            return self._post(headers, body)
        except exceptions.HTTPError as error:
            self.close()
            raise NoResponse(_failure(error)) from None

    def _post(self, headers: Mapping[str, str], body: bytes) -> Response:
        if self._pool is None:
            self._pool = self._connections()
        response = self._pool.urlopen(
            "POST",
            self._url.request_uri,
            body,
            headers,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        answer = Response(response.status, _seconds(response.headers))
        self._finish(response)
        return answer

    def _finish(self, response: urllib3.BaseHTTPResponse) -> None:
        """Read the rest of the response, so that the connection can be used again, or close it.

        The status has already decided the outcome, so a failure here does not matter.
        """
        done = False
        with contextlib.suppress(exceptions.HTTPError):
            length = 0
            while length <= _LONGEST_ANSWER:
                part = response.read1(_LONGEST_ANSWER)
                length += len(part)
                if not part:
                    done = True
                    break
        if done and response.status >= 200:  # not after a switch to another protocol
            response.release_conn()
            self._kept = True
        else:
            self.close()
            response.close()

    def _connections(self) -> urllib3.HTTPConnectionPool:
        host, port = self._url.host or "", self._url.port
        pool: urllib3.HTTPConnectionPool
        if self._url.scheme == "http":
            pool = urllib3.HTTPConnectionPool(host, port, timeout=self._timeout, maxsize=1)
            pool.ConnectionCls = _Plain
        else:
            pool = urllib3.HTTPSConnectionPool(
                host, port, timeout=self._timeout, maxsize=1, ssl_context=self._tls.context()
            )
            pool.ConnectionCls = _Secured
        return pool


class _BoundedReader(io.RawIOBase):
    """Reads a response from a socket, all of it before one deadline, and no more than is allowed.

    http.client gives every single read the full timeout, reads any number of interim responses,
    and so can be kept waiting without end.

    :param sock: its timeout is the time for the whole response.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._seconds = sock.gettimeout()
        self._deadline = time.monotonic() + (self._seconds or 0)
        self._left = _LONGEST_RESPONSE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._left <= 0:
            raise ConnectionError(errno.EMSGSIZE, "its response is too long")
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._socket.settimeout(seconds)
        try:
            count = self._socket.recv_into(memoryview(buffer)[: self._left])
        finally:
            self._socket.settimeout(self._seconds)
        self._left -= count
        return count


class _Response(http.client.HTTPResponse):
    """The final response, whatever interim responses precede it (RFC 9110, section 15.2).

    http.client skips 100 only, and would take `103 Early Hints` for the response, and the one
    that follows for that of the next request.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()  # only this view of the socket
        self.fp = io.BufferedReader(_BoundedReader(sock))

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not public
        interim = 100 < status < 200 and status != http.HTTPStatus.SWITCHING_PROTOCOLS
        return version, http.HTTPStatus.CONTINUE if interim else status, reason


class _Plain(HTTPConnection):
    response_class = _Response


class _Secured(HTTPSConnection):
    response_class = _Response


def _parse(text: str) -> Url:
    try:
        url = parse_url(text)
    except exceptions.LocationParseError:
        raise ConfigurationError("option url cannot be read: use https://HOST/PATH") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("option url: use https://HOST/PATH, or http://HOST/PATH")
    if url.auth:
        raise ConfigurationError(
            "option url holds a user name or password, which are not sent: the receiver "
            "identifies us by the signature (secret_file) or by our certificate (ssl_cert_file)"
        )
    return url


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Return the value of Retry-After in seconds (RFC 9110, section 10.2.3: seconds, or a date).

    A date counts from the Date of the response, because the two clocks may differ by hours.
    """
    retry_after = headers.get("Retry-After", "").strip()
    if retry_after.isdecimal():
        return float(retry_after)
    if (then := _time(retry_after)) is None:
        return None
    now = _time(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _time(text: str) -> datetime | None:
    """Return the time that a date of HTTP names; None if it is not one."""
    try:
        time = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # numbers that no date has
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)  # asctime() names no zone: GMT


def _failure(error: exceptions.HTTPError) -> str:
    """Return what happened, without the text of the library, which contains the path."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {(cause.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, exceptions.NameResolutionError | exceptions.LocationParseError):
        return "its name cannot be resolved"
    if isinstance(error, exceptions.ReadTimeoutError):
        return "it does not respond in time"
    if text := _what_the_system_says(causes):
        return text
    if isinstance(error, exceptions.TimeoutError):
        return "the connection could not be made in time"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "it does not read the request in time"
    if isinstance(error, exceptions.InvalidHeader) or any(map(_is_not_http, causes)):
        return "its response is not valid HTTP/1.1"
    return "it closed the connection before its response was complete"


def _what_the_system_says(causes: Iterable[BaseException]) -> str | None:
    for cause in causes:
        if isinstance(cause, ConnectionResetError | BrokenPipeError):
            return None
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, http.client.HTTPException) and "got more than" in str(cause):
            return "its response is too long"  # one of the limits of http.client
    return None


def _is_not_http(cause: BaseException) -> bool:
    if isinstance(cause, http.client.BadStatusLine):
        return str(cause).endswith("\n")  # not if it was cut off, or never came
    return isinstance(cause, http.client.UnknownProtocol)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what led to it, as cause, context or argument."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        inner = [one for one in error.args if isinstance(one, BaseException)]
        error = inner[0] if inner else error.__cause__ or error.__context__
