"""From a pair of models to devices that use it: made, signed, offered to a share, fetched, used between two samples."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from paho.mqtt.publish import single
from typer.testing import CliRunner

from edge.bundle.fetch import fetch
from edge.bundle.offer import Offer, place_of
from edge.config.model import CameraConfig, ModelsConfig, ScreeningConfig
from edge.errors import InputError
from edge.publish.message_base import ROOT
from edge.service import model_bundles
from edge.service.service import Service
from edge.system.digest import sha256_file
from fleet.cli import app
from fleet.rollout.offering import chosen
from tests.bundles import Workshop
from tests.edge.service.service_parts import configured
from tests.mosquitto import Listener, Mosquitto, wait_for

Start = Callable[..., Mosquitto]


def offer_of(path: Path, serial: int = 1) -> Offer:
    return Offer(file=path.name, serial=serial, bytes=path.stat().st_size, sha256=sha256_file(path))


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Redirecting(BaseHTTPRequestHandler):
    """Leads elsewhere."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_: object) -> None:
        pass


def test_an_offered_file_comes_from_the_configured_place_alone(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    there, target = tmp_path / "place" / "models-1.bundle", tmp_path / "fetched"
    there.write_bytes(bytes(300_000))
    offer = offer_of(there)
    with serving(partial(Quiet, directory=str(tmp_path / "place"))) as address:
        for source in (str(tmp_path / "place"), address, f"{address}/"):
            fetch(offer, source, target)
            assert target.read_bytes() == there.read_bytes()
        with pytest.raises(InputError, match="answered 404"):
            fetch(offer.model_copy(update={"file": "other"}), address, target)
        with pytest.raises(InputError, match="not the file that was offered"):
            fetch(offer.model_copy(update={"bytes": 1000}), address, target)
        with pytest.raises(InputError, match="not the file that was offered"):
            fetch(offer.model_copy(update={"sha256": "0" * 64}), address, target)
    with serving(Redirecting) as address, pytest.raises(InputError, match="answered 302"):
        fetch(offer, address, target)
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch(offer, address, target)
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch(offer, str(tmp_path / "elsewhere"), target)


def test_a_greater_share_holds_the_smaller_one() -> None:
    devices = [(site, f"scope-{number}") for site in "ab" for number in range(200)]
    tenth, half = chosen(devices, (), 0.1), chosen(devices, (), 0.5)
    assert 0 < len(tenth) < len(half) < 400
    assert set(tenth) < set(half)
    assert chosen(devices, (), 1.0) == devices
    assert chosen(devices, (), 0.0) == []
    assert {site for site, _ in chosen(devices, ("b",), 1.0)} == {"b"}


@pytest.mark.timeout(600)
def test_an_offer_is_fetched_and_used_between_two_samples_and_a_bad_one_changes_nothing(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it: commands, broker, service, golden pictures."""
    monkeypatch.setattr(model_bundles, "POLL_S", 0.1)
    monkeypatch.setattr("edge.service.offers.PAUSES_S", (0.1, 0.1))
    broker = start_mosquitto()
    shop = Workshop(tmp_path)
    files = shop.pair("second")
    bundle = tmp_path / "models-7.bundle"
    monkeypatch.setenv("FLEET_SIGNING_PASSWORD", "a password for tests")
    (tmp_path / "fleet.toml").write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n')

    def well(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.output

    key = well("bundle", "key", tmp_path / "signing.key").split('"')[1]
    parts = [word for (role, kind), path in files.items()
             for word in (f"--{role}" if kind == "model" else f"--{role}-report", path)]  # fmt: skip
    well("bundle", "make", bundle, *parts, "--name", "second", "--serial", 7, "--minimum-version", "0.1.0")
    assert CliRunner().invoke(app, ["offer", str(bundle), "--share", "1"]).exit_code == 5, "not signed"
    well("bundle", "sign", bundle, "--key", tmp_path / "signing.key")
    assert "serial 7" in well("bundle", "verify", bundle, "--accept", key)

    models = ModelsConfig(threads=1, accept_from=(key,), fetch_from=str(tmp_path))
    config = configured(
        tmp_path / "state", broker.port, CameraConfig(kind="virtual", width=320, height=240)
    ).model_copy(update={"models": models, "screening": ScreeningConfig(start="asked")})
    service = Service(config)
    thread = threading.Thread(target=service.run)
    with Listener(broker.host, broker.port) as dashboard:
        thread.start()
        try:
            shipped = wait_for(lambda: dashboard.of("birth"), 120)[-1]["detector_sha256"]
            foreign = offer_of(Workshop(tmp_path).bundle(files, 9), 9)
            single(f"{ROOT}/lab/one/offer", foreign.to_json(), 1, retain=True, hostname=broker.host, port=broker.port)
            wait_for(lambda: [one for one in dashboard.of("event") if one["code"] == "models_refused"], 120)
            assert dashboard.of("birth")[-1]["detector_sha256"] == shipped
            assert wait_for(lambda: dashboard.of("telemetry"), 60)[-1]["models_serial"] is None
            share = place_of("lab", "one") + 1e-9
            assert "offered to 1 of 1" in well("offer", bundle, "--share", share, "--config", tmp_path / "fleet.toml")
            wait_for(lambda: dashboard.of("telemetry") and dashboard.of("telemetry")[-1]["models_serial"] == 7, 200)
            used = wait_for(lambda: [one for one in dashboard.of("event") if one["code"] == "models_in_use"], 60)
            assert "serial 7" in used[0]["text"]
            report = json.loads(files["detector", "report"].read_text())
            assert dashboard.of("birth")[-1]["detector_sha256"] == report["model_sha256"] != shipped
        finally:
            service.stop()
            thread.join(60)
    assert "withdrawn from 1 of 1" in well("withdraw", "--config", tmp_path / "fleet.toml")
