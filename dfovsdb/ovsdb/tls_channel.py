"""The TLS of one connection to the server: ciphertext in and out, plain text in and out. No
I/O.
"""

from __future__ import annotations

import ssl

from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.tls import Tls, verification

_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
    "BAD_RECORD_TYPE",
    "INVALID_RECORD_TYPE",
}
_TOO_OLD = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "VERSION_TOO_LOW",
    "NO_PROTOCOLS_AVAILABLE",
}
_REFUSALS = ("certificate", "unknown ca", "decrypt error", "access denied")
_RECORDS = 1 << 16  # bytes of plain text read at once; a record contains 16 KiB at most
_WANTS_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_NO_CERTIFICATE"}
_NEEDS_CERTIFICATE = "the server requires a client certificate: set ssl_cert_file and ssl_key_file"
_IS_NOT_TLS = "the server on that port does not use TLS: connect with tcp:, or correct the port"


class Channel:
    """The TLS of one connection: ciphertext in and out, plain text in and out. No I/O.

    :param host: name or address that the server's certificate must contain.
    :raises ConfigurationError: the files cannot be used any more, or the name is not usable.
    """

    def __init__(self, tls: Tls, host: str) -> None:
        self._tls = tls
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._ssl = tls.context().wrap_bio(self._in, self._out, server_hostname=host)
        except ValueError as error:
            raise ConfigurationError(f"{host!r} is not a host name for TLS: {error}") from None
        self.ready = False  #: the handshake is complete on this side
        self._answered = False  # the server has sent plain text

    def begin(self) -> None:
        """Begin the handshake; what it sends is in `outgoing()`."""
        self._shake_hands()

    def outgoing(self) -> bytes:
        """Return ciphertext to be sent; it is handed out once."""
        return self._out.read()

    def encrypt(self, data: bytes) -> None:
        """Put plain text into `outgoing()`. Only if `ready`."""
        self._ssl.write(data)

    def decrypt(self, data: bytes) -> bytes:
        """Return all the plain text that this ciphertext completes.

        :raises ConnectionLost: what went wrong; the alert for the server is in `outgoing()`.
        """
        self._in.write(data)
        if not self.ready:
            self._shake_hands()
        plain = bytearray()
        try:
            while self.ready and (part := self._ssl.read(_RECORDS)):
                plain += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            if not plain:
                raise self.ended() from None
        except ssl.SSLError as error:
            if not plain:
                raise ConnectionLost(self._failure(error), "tls") from None
        self._answered = self._answered or bool(plain)
        return bytes(plain)

    def ended(self) -> ConnectionLost:
        """Return what it means that the server has closed the connection now."""
        if not self.ready:
            text = f"closed during the TLS handshake: perhaps {_IS_NOT_TLS}"
        elif self._answered:
            return ConnectionLost("closed by the server")
        elif self._tls.shows_certificate:
            text = "closed by the server right after the TLS handshake"
        else:  # its alert is lost if it crossed our request
            text = (
                "closed by the server after the TLS handshake: perhaps it requires a client "
                f"certificate, {_NEEDS_CERTIFICATE}"
            )
        return ConnectionLost(text, "tls")

    def _shake_hands(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise ConnectionLost(self._failure(error), "tls") from None
        else:
            self.ready = True

    def _failure(self, error: ssl.SSLError) -> str:
        """Return what happened and what to do; nothing that the server sent is repeated."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return verification(error)
        reason = error.reason or ""
        if reason in _WANTS_CERTIFICATE or (
            reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and not self._tls.shows_certificate
        ):
            return f"the server requires a client certificate: {_NEEDS_CERTIFICATE}"
        if reason in _NOT_TLS and not self.ready:
            return _IS_NOT_TLS
        if reason in _TOO_OLD:
            return "the server does not support TLS 1.2 or later"
        _, alert, why = reason.replace("_", " ").lower().partition(" alert ")
        if alert and self._tls.shows_certificate and any(word in why for word in _REFUSALS):
            return f"the server refuses our certificate, ssl_cert_file ({why})"
        return f"TLS failed: {reason.replace('_', ' ').lower() or 'unknown'}"
