"""What the doctor finds, and what it calls missing: only what the configuration needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from shutil import copy

import pytest
from pydantic import SecretStr
from rich.console import Console

import edge.diagnosis.doctor
from edge.cli.doctor import table
from edge.config.model import CameraConfig, Config, ControlConfig, DeviceConfig, ModelConfig, ModelsConfig, MqttConfig
from edge.diagnosis import gpu as doctor_gpu
from edge.diagnosis.doctor import Finding, examine, numpy_finding
from edge.errors import RuntimeUnavailableError
from edge.runtime.registry import RUNTIMES
from edge.storage.database import Database
from tests.edge.camera.openflexure_parts import Microscope
from tests.mosquitto import Mosquitto, free_port, with_users
from tests.program import Program

Start = Callable[..., Mosquitto]

OLD = Path(__file__).parents[2] / "fixtures/v0_6_0/sicklescope.sqlite3"


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


def test_a_microscope_and_a_raspberry_pis_camera_are_found_or_named_as_missing(tmp_path: Path) -> None:
    assert found(tmp_path)["picamera2"].state == "absent"
    pi = found(tmp_path, camera=CameraConfig(kind="picamera2"))["configured camera"]
    assert pi.missing
    assert "sudo apt install python3-picamera2" in pi.text
    with Microscope("v3") as microscope:
        config = CameraConfig(kind="openflexure", device=microscope.url)
        reached = found(tmp_path, camera=config)["configured camera"]
        assert (reached.state, reached.text) == ("ok", f"OpenFlexure microscope {microscope.url} v3 128x96")
    gone = found(tmp_path, camera=config)["configured camera"]
    assert gone.missing
    assert "cannot be reached" in gone.text


def test_the_broker_is_reached_or_its_reason_shown(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    reached = found(tmp_path, mqtt=MqttConfig(host=broker.host, port=broker.port))["MQTT broker"]
    assert reached.state == "ok"
    assert str(broker.port) in reached.text
    assert "/event" in reached.text
    gone = found(tmp_path, mqtt=MqttConfig(host=broker.host, port=free_port()))["MQTT broker"]
    assert gone.missing
    assert "cannot be reached" in gone.text
    assert found(tmp_path)["MQTT broker"].state == "absent"


def test_a_broker_that_denies_the_devices_own_topics_is_missing(start_mosquitto: Start, tmp_path: Path) -> None:
    """0.6.0 said ok: it only connected. The newest result is sent once more, as a result may be."""
    acl = ("user scope", "topic write sicklescope/v1/lab/one/event", "user dashboard", "topic read #")
    broker = start_mosquitto(*with_users(tmp_path, *acl))
    mqtt = MqttConfig(host=broker.host, port=broker.port, username="scope", password=SecretStr("right"))
    device = DeviceConfig(site="lab", device="one", state_dir=tmp_path / "state")
    denied = found(tmp_path, mqtt=mqtt)["MQTT broker"]
    assert (denied.state, "sicklescope/v1/site/device/event" in denied.text) == ("missing", True)
    assert found(tmp_path, mqtt=mqtt, device=device)["MQTT broker"].state == "ok"
    (tmp_path / "state").mkdir()
    Database(Path(copy(OLD, tmp_path / "state"))).close()  # which brings it up to date
    denied = found(tmp_path, mqtt=mqtt, device=device)["MQTT broker"]
    assert (denied.state, "sicklescope/v1/lab/one/result" in denied.text) == ("missing", True)


def test_a_name_with_a_dot_is_named_for_the_broker_that_makes_a_level_of_it(
    start_mosquitto: Start, tmp_path: Path
) -> None:
    """Kind: a broker that translates a topic, so that a dashboard gets nothing while the device is acknowledged."""
    mqtt = MqttConfig(host=(broker := start_mosquitto()).host, port=broker.port)
    device = DeviceConfig(state_dir=tmp_path / "state", site="mbarara", device="scope.1")
    dotted = found(tmp_path, mqtt=mqtt, device=device)["MQTT broker"]
    assert dotted.state == "ok"
    assert "scope.1 has a dot, which RabbitMQ turns into a level" in dotted.text
    assert "RabbitMQ" not in found(tmp_path, mqtt=mqtt)["MQTT broker"].text


def test_a_tampered_model_is_missing_and_both_digests_are_shown(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    models = ModelsConfig(detector=ModelConfig(path=tmp_path / "other.onnx", sha256="0" * 64))
    detector = found(tmp_path, models=models)["model detector"]
    assert detector.missing
    assert "expected 0000" in detector.text


def test_a_runtime_is_missing_only_where_it_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise RuntimeUnavailableError("TensorRT is not installed")

    monkeypatch.setitem(RUNTIMES["tensorrt"].needs, "runtime tensorrt", absent)
    assert found(tmp_path)["runtime onnxruntime"].state == "ok"
    assert found(tmp_path)["runtime tensorrt"].state == "absent"
    assert found(tmp_path, models=ModelsConfig(runtime="tensorrt"))["runtime tensorrt"].missing


def test_a_full_or_read_only_disk_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path)["disk"].state == "ok"
    assert not (tmp_path / "state").exists()
    assert found(tmp_path, device=DeviceConfig(state_dir=Path("/proc/x")))["disk"].missing
    monkeypatch.setattr(edge.diagnosis.doctor, "DISK_NEEDED_MB", 1e12)
    assert found(tmp_path)["disk"].missing


@pytest.mark.parametrize(("synchronised", "state"), [(True, "ok"), (False, "unknown")])
def test_a_clock_of_which_nothing_is_known_stays_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronised: bool, state: str
) -> None:
    monkeypatch.setattr(edge.diagnosis.doctor, "clock_synchronised", lambda: synchronised)
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


def test_jetpack_cuda_and_driver_are_read_from_where_nvidia_writes_them(tmp_path: Path) -> None:
    for folder in ("etc", "usr/local/cuda", "proc/driver/nvidia"):
        (tmp_path / folder).mkdir(parents=True)
    release = tmp_path / "etc/nv_tegra_release"
    assert doctor_gpu.jetpack(tmp_path) is None
    assert doctor_gpu.cuda_toolkit(tmp_path) is None
    assert doctor_gpu.nvidia_driver(tmp_path) is None
    for text, good, words in (
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64", True, "JetPack 6 .*36.4.3"),
        ("# R38 (release), REVISION: 4.0, GCID: 1, BOARD: generic", True, "JetPack 7 .*38.4.0"),
        ("# R35 (release), REVISION: 4.1, GCID: 1, BOARD: t186ref", False, "JetPack 5 .* not supported: Python 3.8"),
        ("# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t210ref", False, "unknown JetPack; known: 6 and 7"),
        ("nothing", False, "cannot be read"),
    ):
        release.write_text(text, "utf-8")
        found = doctor_gpu.jetpack(tmp_path)
        assert found is not None
        assert found[0] is good
        assert re.search(words, found[1]), found
    (tmp_path / "usr/local/cuda/version.json").write_text(
        '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}', "utf-8"
    )
    assert doctor_gpu.cuda_toolkit(tmp_path) == "12.6.11"
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build", "utf-8"
    )
    assert doctor_gpu.nvidia_driver(tmp_path) == "540.4.0"


def test_a_tensorrt_from_pypi_is_wrong_on_a_jetson() -> None:
    assert "pip uninstall tensorrt" in str(doctor_gpu.wrong_wheel(lambda: "pip\n"))
    assert doctor_gpu.wrong_wheel(lambda: "") is None


def test_tensorrt_is_missing_only_where_it_is_named(tmp_path: Path) -> None:
    if RUNTIMES["tensorrt"].is_available:
        pytest.skip("TensorRT and a GPU are here")
    assert found(tmp_path)["GPU"].state == "absent"
    named = found(tmp_path, models=ModelsConfig(runtime="tensorrt"))
    assert named["GPU"].missing
    assert "pycuda" in named["GPU"].text or "driver" in named["GPU"].text
    assert "run by tensorrt" in named["model detector"].text


@pytest.mark.parametrize(
    ("ours", "systems", "state"), [("2.2.0", "1.24.2", "warning"), ("1.26.4", "1.24.2", "ok"), (None, "1.24.2", "ok")]
)
def test_a_numpy_that_hides_the_systems_is_told(tmp_path: Path, ours: str | None, systems: str, state: str) -> None:
    for folder, version in (("venv/lib", ours), ("usr/lib", systems)):
        if version is not None:
            about = tmp_path / folder / f"numpy-{version}.dist-info"
            about.mkdir(parents=True)
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n", "utf-8")
    finding = numpy_finding(tmp_path / "venv", [str(tmp_path / "venv/lib"), str(tmp_path / "usr/lib")])
    assert finding.state == state
    assert systems in finding.text
    assert ours is None or ours in finding.text
    assert ('"numpy<2"' in finding.text) == (state == "warning")


def test_it_leaves_the_database_of_an_older_version_to_that(tmp_path: Path) -> None:
    """Kind: a look that changes what it looks at: a failed upgrade left a database that the old version refused."""
    (tmp_path / "state").mkdir()
    path = Path(copy(OLD, tmp_path / "state"))
    before = path.read_bytes()
    findings = found(tmp_path, control=ControlConfig(enforce="mark"))
    assert "of an older version" in findings["control slides"].text
    assert (path.read_bytes(), [one.name for one in path.parent.iterdir()]) == (before, [path.name])
