"""The broker's certificate on a device whose clock is right, wrong, and known to be wrong, at a real Mosquitto."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.config.model import MqttConfig
from edge.diagnosis.doctor import certificate_finding
from edge.errors import BrokerError
from edge.publish.broker_check import check_broker
from edge.system.clock import EARLIEST_MS
from edge.system.tls import CertificateWatch, OwnCertificate, earliest_s, own_certificate
from fleet.keys import authority as authorities
from tests.mosquitto import Mosquitto

SECRET = b"a password for tests"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FUTURE = datetime.now(timezone.utc) + 3 * DAY
"""When the certificate of a device was made whose clock is known to be wrong: this machine's is before it."""


class Parts:
    """Makes certificates at a given time, and a broker that shows one and asks for none."""

    def __init__(self, folder: Path, start: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._start, self._patch = folder, start, monkeypatch
        authorities.create(folder / "ca", "programme", SECRET)

    def device(self, made: datetime) -> dict[str, Path]:
        files = {"cert_file": self.folder / "device.crt", "key_file": self.folder / "device.key"}
        with authorities.opened(self.folder / "ca", SECRET) as authority:
            self._patch.setattr(authorities, "_now", lambda: made)
            authority.issue_client("clinic/scope-1", 40).write(files["cert_file"], files["key_file"])
        return files

    def broker(self, made: datetime, days: int, host: str = "127.0.0.1", ca: str = "ca") -> Mosquitto:
        crt, key = self.folder / "server.crt", self.folder / "server.key"
        with authorities.opened(self.folder / ca, SECRET) as authority:
            self._patch.setattr(authorities, "_now", lambda: made)
            authority.issue_server([host], days).write(crt, key)
        return self._start(f"certfile {crt}", f"keyfile {key}")

    def says(self, broker: Mosquitto, files: dict[str, Path]) -> str:
        ca = self.folder / "ca" / "ca.crt"
        return check_broker(MqttConfig(host=broker.host, port=broker.port, tls=True, ca_file=ca, **files), 5)  # type: ignore[arg-type]


@pytest.fixture
def parts(tmp_path: Path, start_mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch) -> Parts:
    return Parts(tmp_path, start_mosquitto, monkeypatch)


def test_a_device_whose_clock_is_known_to_be_wrong_connects(parts: Parts) -> None:
    broker = parts.broker(FUTURE, 30)
    assert "TLS" in parts.says(broker, parts.device(FUTURE))


def test_a_clock_that_may_be_right_is_heeded_and_named(parts: Parts) -> None:
    broker = parts.broker(FUTURE, 30)
    with pytest.raises(BrokerError, match=r"not yet valid.*By this device's clock it is 20\d\d-.*set it"):
        parts.says(broker, {})
    broker = parts.broker(datetime.now(timezone.utc), 0)
    with pytest.raises(BrokerError, match=r"has expired.*By this device's clock"):
        parts.says(broker, {})


@pytest.mark.parametrize("made", [datetime.now(timezone.utc) - HOUR, FUTURE - 2 * DAY])
def test_a_certificate_that_has_surely_ended_is_refused_by_a_wrong_clock_too(parts: Parts, made: datetime) -> None:
    broker = parts.broker(made, 0)
    with pytest.raises(BrokerError, match="which has passed, whatever this device's clock says"):
        parts.says(broker, parts.device(FUTURE))


def test_authority_and_name_are_verified_by_a_wrong_clock_too(parts: Parts) -> None:
    files = parts.device(FUTURE)
    with pytest.raises(BrokerError, match="mismatch"):
        parts.says(parts.broker(FUTURE, 30, "another.example"), files)
    authorities.create(parts.folder / "other", "another programme", SECRET)
    with pytest.raises(BrokerError, match="certificate verify failed"):
        parts.says(parts.broker(FUTURE, 30, ca="other"), files)


def test_the_time_that_has_surely_passed(parts: Parts) -> None:
    files = parts.device(FUTURE)
    own = own_certificate(MqttConfig(tls=True, **files))  # type: ignore[arg-type]
    assert own is not None
    assert earliest_s(own) == pytest.approx((FUTURE - DAY).timestamp(), abs=1)
    assert earliest_s(None) == earliest_s(OwnCertificate(0, 1)) == EARLIEST_MS / 1000
    assert own_certificate(MqttConfig(tls=True, **{**files, "cert_file": parts.folder / "none"})) is None  # type: ignore[arg-type]
    assert "ended on" in own.in_words(own.ends_s + 1)
    assert "Renew it before" in own.in_words(own.ends_s - 1)


def test_a_certificate_that_ends_soon_is_told_once(parts: Parts) -> None:
    mqtt = MqttConfig(tls=True, **parts.device(FUTURE))  # type: ignore[arg-type]
    own = own_certificate(mqtt)
    assert own is not None
    watch = CertificateWatch(mqtt)
    assert watch.ends_ms() == own.ends_s * 1000
    assert watch.news(own.ends_s - 31 * 86_400) == ""
    assert "ends on" in watch.news(own.ends_s - 29 * 86_400)
    assert watch.news(own.ends_s - 28 * 86_400) == ""
    assert CertificateWatch(MqttConfig()).ends_ms() is None
    found = [certificate_finding(mqtt, own.ends_s - days * 86_400).state for days in (10_000, 35, 10, -1)]
    assert found == ["warning", "ok", "warning", "missing"]
