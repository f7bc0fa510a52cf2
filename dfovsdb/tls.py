"""TLS: how a connection is secured, and what a failure is called. No I/O.

TLS 1.2 and later. The server's certificate and its name are verified, unless the operator
says, loudly, that the name is not.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.logs import get_logger

LOG = get_logger(__name__)

# X509_V_ERR_*, openssl-verification-options(1)
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = (2, 7, 18, 19, 20, 21, 24)
_WRONG_NAME = (62, 64)

_NOT_TLS = {
    "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE", "INVALID_RECORD_TYPE",
}  # fmt: skip
_TOO_OLD = {
    "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW",
    "NO_PROTOCOLS_AVAILABLE",
}  # fmt: skip
_REFUSALS = ("certificate", "unknown ca", "decrypt error", "access denied")
_RECORDS = 1 << 16  # bytes of plain text read at once; a record holds 16 KiB at most
_WANTS_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_NO_CERTIFICATE"}
_NEEDS_CERTIFICATE = "the server asks for a client certificate: set ssl_cert_file and ssl_key_file"
_IS_NOT_TLS = "what listens there does not speak TLS: connect with tcp:, or correct the port"


class Tls:
    """The files and the rule that secure a connection.

    :param key_file: our private key, PEM, not encrypted; goes with cert_file.
    :param cert_file: our certificate and what leads to its CA, PEM; None offers none.
    :param ca_cert_file: what the server's certificate must lead to, PEM; None is what the
        system trusts.
    :param check_hostname: the certificate must name the host that is connected to.
    :raises ConfigurationError: a file is missing, unreadable or malformed, or a key has no
        certificate.
    """

    def __init__(
        self,
        key_file: str | None = None,
        cert_file: str | None = None,
        ca_cert_file: str | None = None,
        *,
        check_hostname: bool = True,
    ) -> None:
        if (key_file is None) != (cert_file is None):
            given, lacking = "ssl_key_file", "ssl_cert_file"
            if key_file is None:
                given, lacking = lacking, given
            raise ConfigurationError(f"{given} is set without {lacking}: they go together")
        self._key_file = key_file
        self._cert_file = cert_file
        self._ca_cert_file = ca_cert_file
        self._check_hostname = check_hostname
        self.context()
        if not check_hostname:
            LOG.warning(
                "ssl_check_hostname is off: every certificate of the CA is taken for the "
                "server's, whatever host it names"
            )

    @property
    def shows_certificate(self) -> bool:
        """We have a certificate for servers that ask for one."""
        return self._cert_file is not None

    def context(self) -> ssl.SSLContext:
        """A context from the files as they are now, so that renewed ones are taken up.

        :raises ConfigurationError: they cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self._check_hostname
        if self._ca_cert_file is None:
            context.load_default_certs()
        else:
            _readable("ssl_ca_cert_file", self._ca_cert_file)
            try:
                context.load_verify_locations(self._ca_cert_file)
            except (ssl.SSLError, OSError):
                raise ConfigurationError(
                    f"ssl_ca_cert_file {self._ca_cert_file!r} is no certificate in PEM form"
                ) from None
        if self._cert_file is not None and self._key_file is not None:
            self._load_own(context, self._cert_file, self._key_file)
        return context

    def _load_own(self, context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
        _readable("ssl_cert_file", cert_file)
        _readable("ssl_key_file", key_file)

        def no_password() -> str:
            raise ConfigurationError(
                f"ssl_key_file {key_file!r} is encrypted; there is nobody to ask for its password"
            )

        try:
            context.load_cert_chain(cert_file, key_file, no_password)
        except (ssl.SSLError, OSError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                what = f"ssl_key_file {key_file!r} is not the key of ssl_cert_file {cert_file!r}"
            else:
                what = (
                    f"ssl_cert_file {cert_file!r} is no certificate in PEM form, or "
                    f"ssl_key_file {key_file!r} no key"
                )
            raise ConfigurationError(what) from None


class Channel:
    """One connection's TLS: cipher text in and out, plain text in and out. No I/O.

    :param host: name or address that the server's certificate must have.
    :raises ConfigurationError: the files cannot be used any more, or the name never could.
    """

    def __init__(self, tls: Tls, host: str) -> None:
        self._tls = tls
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._ssl = tls.context().wrap_bio(self._in, self._out, server_hostname=host)
        except ValueError as error:
            raise ConfigurationError(f"{host!r} is no host name for TLS: {error}") from None
        self.ready = False  #: the handshake is complete, on our side
        self._answered = False  # the server has sent plain text

    def begin(self) -> None:
        """Begin the handshake; what it sends is in `outgoing()`."""
        self._shake_hands()

    def outgoing(self) -> bytes:
        """Cipher text to be sent; it is handed out once."""
        return self._out.read()

    def encrypt(self, data: bytes) -> None:
        """Put plain text into `outgoing()`. Only when `ready`."""
        self._ssl.write(data)

    def decrypt(self, data: bytes) -> bytes:
        """The plain text that this cipher text completes, all of it.

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
        """What it means that the server closed the connection now."""
        if not self.ready:
            words = f"closed during the TLS handshake: perhaps {_IS_NOT_TLS}"
        elif self._answered:
            return ConnectionLost("closed by the server")
        elif self._tls.shows_certificate:
            words = "closed by the server right after the TLS handshake"
        else:  # its alert is lost where our request crossed it
            words = (
                "closed by the server after the TLS handshake: perhaps it asks for a client "
                f"certificate, {_NEEDS_CERTIFICATE}"
            )
        return ConnectionLost(words, "tls")

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
        """What happened, in words of what to do; of what the server sent, nothing is repeated."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return verification(error)
        reason = error.reason or ""
        if reason in _WANTS_CERTIFICATE or (
            reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and not self._tls.shows_certificate
        ):
            return f"the server asks for a client certificate: {_NEEDS_CERTIFICATE}"
        if reason in _NOT_TLS and not self.ready:
            return _IS_NOT_TLS
        if reason in _TOO_OLD:
            return "the server speaks no TLS 1.2 or later"
        _, alert, why = reason.replace("_", " ").lower().partition(" alert ")
        if alert and self._tls.shows_certificate and any(word in why for word in _REFUSALS):
            return f"the server refuses our certificate, ssl_cert_file ({why})"
        return f"TLS failed: {reason.replace('_', ' ').lower() or 'unknown'}"


def _readable(option: str, path: str) -> None:
    """OpenSSL says of a missing file neither which nor that it is missing."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{option} {path!r} cannot be read: {why}") from None


def verification(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, in words of what to do."""
    code = error.verify_code
    if code == _EXPIRED:
        return "the server's certificate has expired"
    if code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet: is the clock of this host right?"
    if code in _WRONG_NAME:
        return (
            "the server's certificate names another host; connect by a name that it has, or "
            "set ssl_check_hostname = false where certificates name no hosts"
        )
    if code in _UNKNOWN_CA:
        return "the server's certificate is not from the CA in ssl_ca_cert_file"
    return f"the server's certificate is not accepted: {error.verify_message}"
