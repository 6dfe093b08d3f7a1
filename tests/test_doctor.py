"""What the doctor finds, and what it calls missing: only what the configuration needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mosquitto import Mosquitto, free_port
from rich.console import Console
from service_parts import Program

import edge.doctor
from edge.config import CameraConfig, Config, DeviceConfig, ModelConfig, ModelsConfig, MqttConfig
from edge.doctor import Finding, examine, table

Start = Callable[..., Mosquitto]


def found(tmp_path: Path, **sections: object) -> dict[str, Finding]:
    sections = {
        "device": DeviceConfig(state_dir=tmp_path / "state"),
        "camera": CameraConfig(kind="virtual"),
        "mqtt": MqttConfig(enabled=False),
        **sections,
    }
    return {finding.what: finding for finding in examine(Config.model_validate(sections))}


def test_the_camera_is_needed_as_configured(tmp_path: Path) -> None:
    assert found(tmp_path)["configured camera"].state == "ok"
    absent = found(tmp_path, camera=CameraConfig(device="/dev/video99"))["configured camera"]
    assert absent.missing
    assert "/dev/video99 not found" in absent.text
    pipeline = found(tmp_path, camera=CameraConfig(device="videotestsrc ! appsink"))
    assert pipeline["configured camera"].missing
    assert "without GStreamer" in pipeline["OpenCV"].text
    nowhere = CameraConfig(kind="replay", device=str(tmp_path / "none"))
    assert found(tmp_path, camera=nowhere)["configured camera"].missing


def test_the_broker_is_reached_or_its_reason_shown(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    reached = found(tmp_path, mqtt=MqttConfig(host=broker.host, port=broker.port))["MQTT broker"]
    assert reached.state == "ok"
    assert str(broker.port) in reached.text
    gone = found(tmp_path, mqtt=MqttConfig(host=broker.host, port=free_port()))["MQTT broker"]
    assert gone.missing
    assert "cannot be reached" in gone.text
    assert found(tmp_path)["MQTT broker"].state == "absent"


def test_a_tampered_model_is_missing_and_both_digests_are_shown(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    models = ModelsConfig(detector=ModelConfig(path=tmp_path / "other.onnx", sha256="0" * 64))
    detector = found(tmp_path, models=models)["model detector"]
    assert detector.missing
    assert "expected 0000" in detector.text


def test_a_runtime_is_missing_only_where_it_is_configured(tmp_path: Path) -> None:
    assert found(tmp_path)["runtime onnxruntime"].state == "ok"
    assert found(tmp_path)["runtime tensorrt"].state == "absent"
    assert found(tmp_path, models=ModelsConfig(runtime="tensorrt"))["runtime tensorrt"].missing


def test_a_full_or_read_only_disk_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path)["disk"].state == "ok"
    assert not (tmp_path / "state").exists()
    assert found(tmp_path, device=DeviceConfig(state_dir=Path("/proc/x")))["disk"].missing
    monkeypatch.setattr(edge.doctor, "DISK_NEEDED_MB", 1e12)
    assert found(tmp_path)["disk"].missing


@pytest.mark.parametrize(("synchronised", "state"), [(True, "ok"), (False, "unknown")])
def test_a_clock_of_which_nothing_is_known_stays_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronised: bool, state: str
) -> None:
    monkeypatch.setattr(edge.doctor, "clock_synchronised", lambda: synchronised)
    clock = found(tmp_path)["clock"]
    assert clock.state == state
    assert not clock.missing


def test_what_it_found_is_shown_as_it_is(tmp_path: Path) -> None:
    console = Console(width=100, record=True)
    console.print(table([Finding("model", "missing", "/a/[red]b.onnx not found")]))
    assert "/a/[red]b.onnx not found" in console.export_text()


def test_the_command_exits_with_1_when_something_is_missing(tmp_path: Path) -> None:
    program = Program(tmp_path, "doctor", SICKLESCOPE_CAMERA__DEVICE="/dev/video99")
    assert program.end() == 1
    assert "/dev/video99 not found" in program.out
    assert "Python 3." in program.out
