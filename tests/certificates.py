"""A private CA and what it signs, for the tests of TLS.

The certificates have what tools like openssl(1) and ovs-pki(8) give them, and no more: no key
identifiers, and no extension that nothing here depends on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)


class Pair(NamedTuple):
    """The files of a key and its certificate."""

    key: str
    cert: str


class Pki:
    """A CA, whose files are in a folder that this makes.

    :param name: of the CA.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        folder.mkdir()
        self._name = _common_name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._write(
            name,
            self._key,
            self._name,
            days=30,
            extension=x509.BasicConstraints(ca=True, path_length=None),
        )

    def issue(self, name: str, *hosts: str, days: int = 30, password: bytes = b"") -> Pair:
        """Make a certificate for these host names and addresses.

        :param days: until it expires; negative for one that has expired.
        :param password: encrypts the key.
        """
        names = x509.SubjectAlternativeName([_host(host) for host in hosts]) if hosts else None
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, key, _common_name(name), days=days, extension=names,
                           password=password)  # fmt: skip

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, subject: x509.Name, *, days: int,
        extension: x509.ExtensionType | None, password: bytes = b"",
    ) -> Pair:  # fmt: skip
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name, subject_name=subject, public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now - timedelta(days=60),
            not_valid_after=now + timedelta(days=days),
        )  # fmt: skip
        if extension is not None:
            critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, critical=critical)
        signed = builder.sign(self._key, hashes.SHA256())
        encryption: KeySerializationEncryption = (
            BestAvailableEncryption(password) if password else NoEncryption()
        )
        files = Pair(str(self.folder / f"{name}.key"), str(self.folder / f"{name}.pem"))
        Path(files.key).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        )
        Path(files.cert).write_bytes(signed.public_bytes(Encoding.PEM))
        return files


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
