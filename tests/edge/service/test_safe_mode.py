"""A start that fails leaves the service up: the broker shows the fault and its reason, and it is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.config.environment import Supervisor
from edge.runtime.contract import SHIPPED_DIR
from edge.service.safe_mode import SafeMode
from edge.system.digest import sha256_file
from edge.system.lock import exclusive
from edge.system.systemd import Heartbeat
from tests.edge.system.systemd_parts import Ear
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for

Start = Callable[..., Mosquitto]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.safe_mode.FIRST_WAIT_S", 0.5)
    monkeypatch.setattr("edge.service.safe_mode.LONGEST_WAIT_S", 0.5)


def write(folder: Path, port: int, camera: str = 'kind = "virtual"', more: str = "") -> Path:
    path = folder / "sicklescope.toml"
    path.write_text(
        f'[device]\nsite = "lab"\ndevice = "one"\nstate_dir = "{folder}/state"\n'
        '[screening]\nstart = "at_once"\nstop.at_target = false\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\ninterval_s = 0.1\n'
        f"[camera]\nwidth = 160\nheight = 120\nfps = 50\n{camera}\n{more}\n"
    )
    return path


@contextmanager
def unattended(path: Path, heartbeat: Heartbeat | None = None) -> Iterator[threading.Thread]:
    service = SafeMode(path, None, None, heartbeat or Heartbeat(Supervisor()))
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield thread
    finally:
        service.stop()
        thread.join(20)
        assert not thread.is_alive()


def faults(dashboard: Listener) -> list[str]:
    return [status["reason"] for status in dashboard.of("status") if status["state"] == "fault"]


def test_a_camera_that_is_absent_is_a_fault_until_it_is_there(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    path = write(tmp_path, broker.port, 'kind = "opencv"\ndevice = "/dev/video99"')
    with Listener(broker.host, broker.port) as dashboard, Ear(tmp_path) as ear:
        with unattended(path, Heartbeat(Supervisor(ear.address))) as thread:
            wait_for(lambda: len(faults(dashboard)) > 3, 20)
            assert "/dev/video99 not found" in faults(dashboard)[0]
            assert "online" not in dashboard.states()
            assert [event["code"] for event in dashboard.of("event")] == ["camera"]  # once, however often it is tried
            assert "READY" not in {key for _, lines in ear.heard for key in lines}
            assert any(status.startswith("fault: camera") for status in ear.all("STATUS"))
            assert ear.all("EXTEND_TIMEOUT_USEC")
            write(tmp_path, broker.port)
            wait_for(lambda: dashboard.states()[-1] == "online" and dashboard.of("progress"), 20)
            assert ear.all("READY") == ["1"]
            assert thread.is_alive()
        wait_for(lambda: dashboard.states()[-1] == "stopped")


def test_a_wrong_configuration_is_told_where_the_broker_can_still_be_read(
    start_mosquitto: Start, tmp_path: Path
) -> None:
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, unattended(write(tmp_path, broker.port, "kinds = 1")):
        wait_for(lambda: faults(dashboard) and dashboard.of("event"))
        assert "camera.kinds" in faults(dashboard)[0]
        assert dashboard.of("event")[0]["code"] == "config"


def test_a_refused_model_and_a_damaged_database_are_told(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    model = tmp_path / "own.onnx"
    model.write_bytes(b"no network")
    more = f'[models.detector]\npath = "{model}"\nsha256 = "{"0" * 64}"'
    with Listener(broker.host, broker.port) as dashboard, unattended(write(tmp_path, broker.port, more=more)):
        wait_for(lambda: faults(dashboard))
        assert "own.onnx" in faults(dashboard)[0]
        (damaged,) = (tmp_path / "state").glob("*.sqlite3")
        damaged.write_bytes(b"SQLite format 3\0" + b"\x5a" * 8000)
        for beside in (tmp_path / "state").glob("*.sqlite3-*"):
            beside.unlink()
        wait_for(lambda: "damaged" in faults(dashboard)[-1])
        wait_for(lambda: dashboard.of("event")[-1]["code"] == "storage")
    assert damaged.read_bytes()[16:32] == b"\x5a" * 16  # left as it is


@pytest.mark.parametrize("later", [False, True])
def test_a_model_that_fails_is_told_and_the_sample_goes_on_with_another(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """Kind: a failure of a part that ends the whole. later: it stands the trial at the start, and fails on a field."""
    if later:
        monkeypatch.setattr("edge.runtime.registry.check_answers", lambda *_: None)
    model, path = tmp_path / "own.onnx", SHIPPED_DIR / "classifier.onnx"
    graph = onnx.load(str(path))
    maker = next(node for node in graph.graph.node if "prob" in node.output)
    maker.output[list(maker.output).index("prob")] = "inner"
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 6]), "two"))
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["inner", "two"], ["prob"]))
    onnx.save(graph, str(model))
    more = f'[models.classifier]\npath = "{model}"\nsha256 = "{sha256_file(model)}"'
    broker = start_mosquitto()
    settings = write(tmp_path, broker.port, more=more)
    with Listener(broker.host, broker.port) as dashboard, unattended(settings) as thread:
        wait_for(lambda: faults(dashboard) and dashboard.of("event"), 30)
        assert " on a batch (" in faults(dashboard)[0]
        assert "sicklescope model rollback classifier" in faults(dashboard)[0]
        wait_for(lambda: "model" in {event["code"] for event in dashboard.of("event")})
        assert thread.is_alive()
        write(tmp_path, broker.port)
        wait_for(lambda: dashboard.states()[-1] == "online" and dashboard.of("progress"), 30)


def test_results_that_wait_are_sent_while_there_is_no_camera(start_mosquitto: Start, tmp_path: Path) -> None:
    from edge.config.loader import load
    from edge.service.service import Service

    Service(load(write(tmp_path, free_port()), {}).config, "waits", frames=2).run()
    broker = start_mosquitto()
    path = write(tmp_path, broker.port, 'kind = "opencv"\ndevice = "/dev/video99"')
    with Listener(broker.host, broker.port) as dashboard, unattended(path):
        wait_for(lambda: [result["sample"] for result in dashboard.of("result")] == ["waits"])


def test_beside_a_service_that_runs_it_waits_and_leaves_the_broker_to_it(
    start_mosquitto: Start, tmp_path: Path
) -> None:
    broker = start_mosquitto()
    path = write(tmp_path, broker.port)
    with Listener(broker.host, broker.port) as dashboard, Ear(tmp_path) as ear:
        with exclusive(tmp_path / "state"), unattended(path, Heartbeat(Supervisor(ear.address))):
            wait_for(lambda: sum("another sicklescope runs" in status for status in ear.all("STATUS")) > 5)
            assert not dashboard.seen
        assert not dashboard.of("status")


def test_without_a_broker_or_a_readable_file_it_waits_and_ends_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "sicklescope.toml"
    path.write_text("[mqtt")
    with Ear(tmp_path) as ear, unattended(path, Heartbeat(Supervisor(ear.address))):
        wait_for(lambda: any("is not TOML" in status for status in ear.all("STATUS")))
    assert ear.all("STOPPING") == ["1"]


def test_the_waits_grow_and_begin_anew_after_a_good_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.errors import CameraError

    monkeypatch.setattr("edge.service.safe_mode.FIRST_WAIT_S", 2.0)
    monkeypatch.setattr("edge.service.safe_mode.LONGEST_WAIT_S", 60.0)
    clock = iter([0.0, 0.0] * 6 + [0.0, 700.0] + [0.0, 0.0])
    monkeypatch.setattr("edge.service.safe_mode.time.monotonic", lambda: next(clock))
    service = SafeMode(tmp_path, None, None, Heartbeat(Supervisor(), monotonic=lambda: 0.0))
    waits: list[float] = []

    def tell(_fault: object, wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 8:
            service.stop()

    monkeypatch.setattr(service, "_try", lambda: CameraError("no camera"))
    monkeypatch.setattr(service, "_wait_announcing", tell)
    service.run()
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 2.0, 4.0]
