"""TLS as configured, also on a device whose clock is known to be wrong; and how long its own certificate holds."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.config.model import MqttConfig
from edge.errors import ConfigError
from edge.system.clock import EARLIEST_MS

DAY_S = 86_400

ENDS_SOON_DAYS = 30
"""From here a person should renew it."""

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python's ssl does not name."""

OUT_OF_TIME = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """From when and until when the device's certificate holds, seconds since 1970 UTC."""

    begins_s: float
    ends_s: float

    @property
    def day(self) -> str:
        """The day on which it ends."""
        return f"{datetime.fromtimestamp(self.ends_s, timezone.utc):%Y-%m-%d}"

    def in_words(self, now_s: float) -> str:
        """Say when it ends, or ended, and what to do."""
        if self.ends_s < now_s:
            return f"the device's certificate ended on {self.day}: no broker lets it in. Renew it (docs/keys.md)"
        return f"the device's certificate ends on {self.day}. Renew it before (docs/keys.md)"


def own_certificate(config: MqttConfig) -> OwnCertificate | None:
    """Return how long the configured certificate holds.

    None without one, or where it cannot be read.
    """
    return certificate_at(config.cert_file) if config.tls else None


def certificate_at(path: Path | None) -> OwnCertificate | None:
    """Return how long the certificate in a file holds; None where it cannot be read."""
    from cryptography.x509 import load_pem_x509_certificate

    if path is None:
        return None
    try:
        found = load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):  # named when the connection is made
        return None
    return OwnCertificate(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


class CertificateWatch:
    """Tells once of each certificate that it ends soon; makes no sound of one that does not."""

    def __init__(self, config: MqttConfig) -> None:
        self._config, self._told_of_s = config, 0.0

    def ends_ms(self) -> int | None:
        """Return when the device's certificate ends, milliseconds since 1970 UTC; None without one."""
        own = own_certificate(self._config)
        return None if own is None else int(own.ends_s * 1000)

    def news(self, now_s: float) -> str:
        """Return what to tell since the last call, or nothing."""
        own = own_certificate(self._config)
        if own is None or own.ends_s == self._told_of_s or own.ends_s - now_s > ENDS_SOON_DAYS * DAY_S:
            return ""
        self._told_of_s = own.ends_s
        return own.in_words(now_s)


def earliest_s(own: OwnCertificate | None) -> float:
    """Return a time that has surely passed.

    No device with this program is older, and none began before its own certificate.
    """
    return max(EARLIEST_MS / 1000, own.begins_s if own is not None else 0.0)


def make_context(config: MqttConfig, wall: float | None = None) -> ssl.SSLContext:
    """Return how to talk to the configured broker.

    The broker's certificate is always verified: its authority, its name and its time. A clock that is before
    `earliest_s` is known to be wrong; the broker's certificate must then not have ended before that time.

    Args:
        config: names the files.
        wall: the clock, seconds since 1970 UTC; else this machine's.

    Raises:
        ConfigError: A file cannot be used.
    """
    earliest = earliest_s(own_certificate(config))
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if config.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(config.ca_file)
        if config.cert_file is not None:
            # Without a password OpenSSL asks for one on the terminal, and a service waits for ever.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
    except OSError as error:
        files = {"mqtt.ca_file": config.ca_file, "mqtt.cert_file": config.cert_file, "mqtt.key_file": config.key_file}
        raise ConfigError(
            f"{', '.join(f'{key} {path}' for key, path in files.items() if path is not None)} cannot be used: {error}. "
            "Give PEM files, and a key without a password that belongs to the certificate"
        ) from error
    if (time.time() if wall is None else wall) < earliest:
        context.verify_flags |= _NO_CHECK_TIME
        context.earliest_s = earliest
    return context


def blamed_clock(error: BaseException | None) -> str:
    """Return what the device's clock says, where it refused the broker's certificate.

    Empty for another error.
    """
    if not isinstance(error, ssl.SSLCertVerificationError) or getattr(error, "verify_code", 0) not in OUT_OF_TIME:
        return ""
    return f". By this device's clock it is {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; if that is wrong, set it"


class _Socket(ssl.SSLSocket):
    """A connection that also checks the time of the certificate where OpenSSL was told not to."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, and check the time.

        Raises:
            SSLCertVerificationError: The certificate ended before the earliest time.
        """
        try:
            super().do_handshake(block)
            self._check_time()
        except OSError:
            self.close()  # paho leaves it open
            raise

    def _check_time(self) -> None:
        earliest = self.context.earliest_s if isinstance(self.context, _Context) else None
        if earliest is None:
            return
        certificate: Any = self.getpeercert()
        ends = str(certificate["notAfter"])
        if ssl.cert_time_to_seconds(ends) < earliest:
            raise ssl.SSLCertVerificationError(
                f"certificate ended on {ends}, which has passed, whatever this device's clock says"
            )


class _Context(ssl.SSLContext):
    """earliest_s: set where the clock is known to be wrong."""

    earliest_s: float | None = None
    sslsocket_class = _Socket
