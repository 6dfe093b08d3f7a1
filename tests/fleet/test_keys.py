"""A programme's certificates at a real Mosquitto: who is let in, to which topics, and who no more."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from paho.mqtt.client import Client, MQTTMessage
from typer.testing import CliRunner

from edge.config.model import MqttConfig
from edge.errors import BrokerError, ConfigError, InputError
from edge.publish.broker_check import check_broker
from edge.publish.client import make_client
from fleet.cli import app
from fleet.keys.authority import Authority, create, opened
from fleet.keys.broker_files import settings, write_broker_files
from fleet.keys.key_files import write_file
from fleet.keys.names import identity
from fleet.keys.passwords import password
from tests.mosquitto import Mosquitto

SECRET = b"a password for tests"
EVENT = "sicklescope/v1/clinic/scope-1/event"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programme") / "ca"
    create(folder, "programme", SECRET)
    return folder


def client_of(authority: Authority, ca: Path, folder: Path, name: str, days: int = 30) -> dict[str, Path]:
    """Issue a certificate; return the files that `mqtt` names."""
    files = {"cert_file": folder / "client.crt", "key_file": folder / "client.key"}
    authority.issue_client(name, days).write(files["cert_file"], files["key_file"])
    return {"ca_file": ca / "ca.crt", **files}


def configured(broker: Mosquitto, files: dict[str, Path]) -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=broker.port, tls=True, **files)  # type: ignore[arg-type]


class Programme:
    """A broker with the files that the command wrote, and certificates of several clients."""

    def __init__(self, ca: Path, folder: Path, start: Callable[..., Mosquitto]) -> None:
        self.folder, self.ca = folder, ca
        with opened(ca, SECRET) as authority:
            write_broker_files(authority, ca, folder / "broker", folder / "broker", ["127.0.0.1"], 30)
            self.device = client_of(authority, ca, folder / "device", identity("clinic", "scope-1"))
            self.ended = client_of(authority, ca, folder / "ended", identity("clinic", "scope-2"), days=0)
        self.broker = start(*self.lines())

    def lines(self) -> list[str]:
        ours = "listener", "persistence"  # which the fixture sets, or which would write into this folder
        return [line for line in settings(self.folder / "broker").splitlines() if not line.startswith(ours)]

    def says(self, files: dict[str, Path], topic: str = EVENT) -> str:
        return check_broker(configured(self.broker, files), 5, [(topic, "{}")])


@pytest.fixture
def programme(ca: Path, tmp_path: Path, start_mosquitto: Callable[..., Mosquitto]) -> Programme:
    return Programme(ca, tmp_path, start_mosquitto)


def test_a_device_is_let_in_to_its_own_topics_and_no_others(programme: Programme) -> None:
    assert "It takes messages to" in programme.says(programme.device)
    for foreign in ("clinic/scope-2/event", "other/scope-1/event", "clinic/scope-1/command", "clinic/scope-1/offer"):
        with pytest.raises(BrokerError, match=r"Not authorized"):
            programme.says(programme.device, f"sicklescope/v1/{foreign}")


def test_nobody_without_a_certificate_that_holds_is_let_in(programme: Programme, tmp_path: Path) -> None:
    create(tmp_path / "other-ca", "another programme", SECRET)
    with opened(tmp_path / "other-ca", SECRET) as authority:
        stranger = client_of(authority, programme.ca, tmp_path / "stranger", identity("clinic", "scope-1"))
    nobody = {"ca_file": programme.ca / "ca.crt"}
    broker_itself = {"cert_file": tmp_path / "broker" / "server.crt", "key_file": tmp_path / "broker" / "server.key"}
    for files in (nobody, stranger, programme.ended, {**nobody, **broker_itself}):
        with pytest.raises(BrokerError, match=r"cannot be reached|took the connection, and ended it"):
            check_broker(configured(programme.broker, files), 5)


def test_a_broker_of_another_programme_is_not_talked_to(programme: Programme, tmp_path: Path) -> None:
    create(tmp_path / "other-ca", "another programme", SECRET)
    with pytest.raises(BrokerError, match="certificate verify failed"):
        programme.says({**programme.device, "ca_file": tmp_path / "other-ca" / "ca.crt"})


def test_a_revoked_device_is_out_after_the_restart_and_in_again_with_a_new_certificate(
    programme: Programme, tmp_path: Path
) -> None:
    with opened(programme.ca, SECRET) as authority:
        assert authority.revoke("clinic/scope-1") >= 1
        assert authority.revoke("clinic/scope-1") == 0
    write_file(tmp_path / "broker" / "revoked.pem", (programme.ca / "revoked.pem").read_bytes())
    programme.broker.stop()
    programme.broker.start()
    with pytest.raises(BrokerError, match=r"cannot be reached|took the connection, and ended it"):
        programme.says(programme.device)
    with opened(programme.ca, SECRET) as authority:
        again = client_of(authority, programme.ca, tmp_path / "again", "clinic/scope-1")
    assert "It takes messages to" in programme.says(again)


def test_the_collector_hears_all_devices_and_asks_them_but_speaks_for_none(
    programme: Programme, tmp_path: Path
) -> None:
    own = tmp_path / "broker" / "collector"
    files = {"ca_file": own / "ca.crt", "cert_file": own / "collector.crt", "key_file": own / "collector.key"}
    heard: list[str] = []
    ready, came = threading.Event(), threading.Event()
    client = make_client(configured(programme.broker, files), "listens")
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        heard.append(message.topic)
        came.set()

    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe("sicklescope/v1/#", 1)
    client.connect("127.0.0.1", programme.broker.port)
    client.loop_start()
    try:
        assert ready.wait(10)
        programme.says(programme.device)
        assert came.wait(10)
    finally:
        client.disconnect()
        client.loop_stop()
    assert heard == [EVENT]
    assert "It takes" in programme.says(files, "sicklescope/v1/clinic/scope-1/command")
    with pytest.raises(BrokerError, match="Not authorized"):
        programme.says(files)


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("a/b", "begins a new level"), ("a+", "stands for any level"), ("#", "all levels below"), ("%u", "access list"),
        ("a.b", "RabbitMQ"), ("", "empty"), ("-a", "begins with a dash"), ("a b", "no letter"), ("ä", "no letter"),
        ("a\n", "no letter"), ("x" * 60, "69 characters"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_carried_safely_is_refused_in_words(site: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        identity(site, "scope-001")


def test_the_broker_files_keep_what_comes_for_an_absent_collector(tmp_path: Path) -> None:
    """As docs/fleet.md sets it: Mosquitto drops what goes beyond 1,000 messages, and says that it took them."""
    block = (
        (Path(__file__).parents[2] / "docs/fleet.md").read_text().split("sicklescope-fleet.conf\n")[1].split("```")[0]
    )
    assert set(block.splitlines()) <= set(settings(tmp_path).splitlines())


def test_the_commands_make_revoke_and_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEET_CA_PASSWORD", SECRET.decode())
    run = CliRunner().invoke

    def well(*words: str) -> str:
        done = run(app, [*words, "--ca", "ca"] if words[0] != "ca" else list(words))
        assert done.exit_code == 0, done.output
        return done.output

    well("ca", "ca")
    assert 'device = "scope-1"' in well("enrol", "clinic", "scope-1")
    assert run(app, ["enrol", "clinic", "scope-1", "--ca", "ca"]).exit_code == InputError.exit_code
    well("renew", "clinic", "scope-1", "--to", "renewed")
    assert "2 certificates revoked" in well("revoke", "clinic", "scope-1")
    well("enrol", "clinic", "scope-1", "--to", "again")
    states = sorted(line.split("\t")[1] for line in well("certificates").splitlines())
    assert states == ["revoked", "revoked", "valid"]
    for key in (*tmp_path.glob("*/device.key"), tmp_path / "ca" / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (tmp_path / "ca" / "ca.key").read_bytes()
    assert run(app, ["ca", "ca"]).exit_code == InputError.exit_code
    monkeypatch.setenv("FLEET_CA_PASSWORD", "another password")
    assert run(app, ["enrol", "clinic", "scope-3", "--ca", "ca"]).exit_code == InputError.exit_code


def test_a_password_is_in_a_file_or_the_environment_and_not_short(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from a file, long\nsecond line\n")
    assert password("X", tmp_path / "file", environ={"X": "from there, long"}) == b"from a file, long"
    assert password("X", None, environ={"X": "from there, long"}) == b"from there, long"
    with pytest.raises(InputError, match="at least 12"):
        password("X", None, new=True, environ={"X": "short"})
    with pytest.raises(ConfigError, match="set X"):
        password("X", None, environ={})


def test_what_is_issued_holds_no_longer_than_its_authority(ca: Path) -> None:
    with opened(ca, SECRET) as authority:
        issued = authority.issue_client("clinic/scope-9", 100_000)
    assert issued.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc
    record = ca / "issued" / f"{issued.certificate.serial_number:x}.crt"
    assert record.read_bytes() == issued.certificate.public_bytes(Encoding.PEM)
