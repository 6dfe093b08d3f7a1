"""The certificate authority of a programme: a folder with its key, what it issued, and what it revoked.

`ca.key` (encrypted), `ca.crt`, `revoked.pem` (the revocation list) and `issued/<serial>.crt`.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import InputError
from edge.system.atomic_files import storage_errors
from fleet.keys.key_files import read_key, write_file, write_key

CA_DAYS = 3653
"""An authority ends after ten years; nothing that it issues outlives it."""

EARLIER = timedelta(days=1)
"""Certificates begin so long ago, for brokers whose clock is late."""

KEY, CERTIFICATE, REVOKED, ISSUED = "ca.key", "ca.crt", "revoked.pem", "issued"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Write both, the key for its owner alone; raises StorageError."""
        write_key(key, self.key, None)
        write_file(certificate, self.certificate.public_bytes(Encoding.PEM))


def create(folder: Path, programme: str, password: bytes) -> None:
    """Make an authority with an empty revocation list.

    Raises:
        InputError: There is one in the folder already.
        StorageError: The folder cannot be written.
    """
    if (folder / KEY).exists():
        raise InputError(f"{folder} holds an authority already. Devices know it: keep it, or name another folder")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, programme)])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    now = _now()
    certificate = (
        _begun(name, name, key.public_key(), now - EARLIER, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder, certificate, key)
    authority.write_revoked([])
    write_file(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    write_key(folder / KEY, key, password)  # last: until then there is no authority


class Authority:
    """An authority whose key is open."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._folder, self._key = folder, key

    def issue_client(self, name: str, days: int) -> Issued:
        """Return a new certificate and key by which a client is the broker's user `name`."""
        return self._issue(name, days, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def issue_server(self, hosts: list[str], days: int) -> Issued:
        """Return a new certificate and key of a broker, reached by these names or addresses."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue("broker", days, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def _issue(
        self, name: str, days: int, purpose: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Issued:
        key, now = ec.generate_private_key(ec.SECP256R1()), _now()
        ends = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        begun = (
            _begun(self.certificate.subject, subject, key.public_key(), now - EARLIER, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        )
        if names is not None:
            begun = begun.add_extension(names, critical=False)
        certificate = begun.sign(self._key, SHA256())
        # Before anybody holds it: what is not on record could not be revoked.
        record = self._folder / ISSUED / f"{certificate.serial_number:x}.crt"
        write_file(record, certificate.public_bytes(Encoding.PEM))
        return Issued(certificate, key)

    def revoke(self, name: str) -> int:
        """Put every certificate of a name on the revocation list; return how many are new there.

        Raises:
            InputError: None was issued by the name.
        """
        known = [one for one in issued(self._folder) if common_name(one) == name]
        if not known:
            raise InputError(f"no certificate was issued to {name!r} by {self._folder}")
        listed = revoked(self._folder)
        fresh = [one.serial_number for one in known if one.serial_number not in {old.serial_number for old in listed}]
        added = [
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_now()).build() for serial in fresh
        ]
        self.write_revoked([*listed, *added])
        return len(added)

    def write_revoked(self, entries: list[x509.RevokedCertificate]) -> None:
        """Write the revocation list anew.

        It ends with the authority: a broker lets nobody in once its list has ended, and no clinic shall stand still
        because nobody renewed a list.
        """
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self.certificate.subject,
            last_update=_now() - EARLIER,
            next_update=self.certificate.not_valid_after_utc,
            revoked_certificates=entries,
        )
        write_file(self._folder / REVOKED, builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))


@contextmanager
def opened(folder: Path, password: bytes) -> Iterator[Authority]:
    """Open an authority for this program alone.

    Raises:
        InputError: There is none, or the password is wrong.
    """
    try:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        lock = (folder / KEY).open("rb")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no authority ({error}). Make one: sicklescope-fleet ca {folder}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Authority(folder, certificate, _read(folder / KEY, password))


def _read(path: Path, password: bytes) -> ec.EllipticCurvePrivateKey:
    key = read_key(path, password)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError(f"{path} holds another kind of key; expected that of an authority, as `ca` makes it")
    return key


def issued(folder: Path) -> list[x509.Certificate]:
    """Return what an authority issued, the first to end first."""
    found = [x509.load_pem_x509_certificate(path.read_bytes()) for path in (folder / ISSUED).glob("*.crt")]
    return sorted(found, key=lambda one: one.not_valid_after_utc)


def revoked(folder: Path) -> list[x509.RevokedCertificate]:
    """Return the entries of an authority's revocation list."""
    return list(x509.load_pem_x509_crl((folder / REVOKED).read_bytes()))


def common_name(certificate: x509.Certificate) -> str:
    """Return whose a certificate is."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _begun(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begins, ends)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _now() -> datetime:
    return datetime.now(timezone.utc)
