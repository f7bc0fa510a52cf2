"""TLS: how a connection is secured, and the text of failures. No I/O.

TLS 1.2 and later. The server's certificate and its name are verified, unless the operator
explicitly disables the check of the name.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from dfovsdb.errors import ConfigurationError
from dfovsdb.logs import get_logger

LOG = get_logger(__name__)

# X509_V_ERR_*, openssl-verification-options(1)
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = (2, 7, 18, 19, 20, 21, 24)
_WRONG_NAME = (62, 64)


class Tls:
    """The files and settings that secure a connection.

    :param key_file: the private key, PEM, not encrypted; requires cert_file.
    :param cert_file: the certificate and its chain to the CA, PEM; None presents none.
    :param ca_cert_file: the CA that the server's certificate must lead to, PEM; None means the CAs
        that the system trusts.
    :param check_hostname: the certificate must name the host of the connection.
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
            raise ConfigurationError(f"{given} is set without {lacking}: set both or none")
        self._key_file = key_file
        self._cert_file = cert_file
        self._ca_cert_file = ca_cert_file
        self._check_hostname = check_hostname
        self.context()
        if not check_hostname:
            LOG.warning(
                "ssl_check_hostname is off: every certificate of the CA is accepted as the "
                "server's, whichever host it names"
            )

    @property
    def shows_certificate(self) -> bool:
        """Return whether there is a certificate for servers that require one."""
        return self._cert_file is not None

    def context(self) -> ssl.SSLContext:
        """Return a context from the present contents of the files, so that renewed ones are used.

        :raises ConfigurationError: they cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this verifies certificate and name
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
                    f"ssl_ca_cert_file {self._ca_cert_file!r} is not a PEM certificate"
                ) from None
        if self._cert_file is not None and self._key_file is not None:
            self._load_own(context, self._cert_file, self._key_file)
        return context

    def _load_own(self, context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
        _readable("ssl_cert_file", cert_file)
        _readable("ssl_key_file", key_file)

        def no_password() -> str:
            raise ConfigurationError(
                f"ssl_key_file {key_file!r} is encrypted: use one without a password"
            )

        try:
            context.load_cert_chain(cert_file, key_file, no_password)
        except (ssl.SSLError, OSError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                what = f"ssl_key_file {key_file!r} is not the key of ssl_cert_file {cert_file!r}"
            else:
                what = (
                    f"ssl_cert_file {cert_file!r} is not a PEM certificate, or "
                    f"ssl_key_file {key_file!r} is not a PEM key"
                )
            raise ConfigurationError(what) from None


def _readable(option: str, path: str) -> None:
    """Check that a file can be read, because OpenSSL does not say which file is missing."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{option} {path!r} cannot be read: {why}") from None


def verification(error: ssl.SSLCertVerificationError) -> str:
    """Return what is wrong with a certificate, and what to do."""
    code = error.verify_code
    if code == _EXPIRED:
        return "the server's certificate has expired"
    if code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet: is the clock of this host right?"
    if code in _WRONG_NAME:
        return (
            "the server's certificate names another host; connect with a name that it contains, "
            "or set ssl_check_hostname = false if certificates do not name hosts"
        )
    if code in _UNKNOWN_CA:
        return "the server's certificate is not from the CA in ssl_ca_cert_file"
    return f"the server's certificate is not accepted: {error.verify_message}"
