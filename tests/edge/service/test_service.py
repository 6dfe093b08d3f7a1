"""The service round the pipeline, against a real broker: nothing counted is lost, whatever fails."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import SecretStr

from edge.camera.isolated import IsolatedCamera
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import CameraConfig, Config
from edge.errors import BrokerError, CameraError, InputError, SampleError, StorageError
from edge.service.outcome import Outcome
from edge.service.reporter import Snapshot
from edge.service.service import Service, resend
from edge.storage.database import database_path
from edge.storage.outbox import Outbox
from tests.edge.camera.camera_parts import Plugged, live
from tests.edge.service.service_parts import Scripted, configured, outbox_of, outcome_of, unplugged_after
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for

Start = Callable[..., Mosquitto]


def pending(outcome_config: Config) -> int:
    with outbox_of(outcome_config) as outbox:
        return outbox.counts().pending


def test_a_sample_is_published_from_birth_to_result(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    config = configured(tmp_path, broker.port, CameraConfig(kind="virtual", width=320, height=240, frames=12, fps=20))
    seen: list[Snapshot] = []
    with Listener(broker.host, broker.port) as dashboard:
        outcome = outcome_of(Service(config, "A-17", observer=seen.append))
        wait_for(lambda: dashboard.states()[-1:] == ["stopped"])
    assert (outcome.fate, outcome.fault, outcome.frames, outcome.dropped) == ("taken", None, 12, 0)
    assert dashboard.states()[0] == "online"
    assert dashboard.of("birth")[0]["camera"].startswith("virtual slide 0 320x240")
    assert dashboard.of("progress")
    assert dashboard.of("telemetry")[-1]["frames"] == 12
    (result,) = dashboard.of("result")
    assert result["sample"] == "A-17"
    assert {name: result[name] for name in outcome.counts.by_class} == outcome.counts.by_class
    assert result["fields_read"] + result["fields_rejected"] == 12
    assert result["text"] == outcome.verdict.text
    assert 0.3 < result["duration_s"] < 5
    assert len(seen) == 12
    assert seen[-1].counts == outcome.counts
    assert pending(config) == 0


def test_without_a_broker_it_counts_and_the_next_run_sends_the_result(start_mosquitto: Start, tmp_path: Path) -> None:
    config = configured(tmp_path, free_port())
    lost = outcome_of(Service(config, "first"))
    assert (lost.fate, lost.frames) == ("waiting", 6)
    assert "cannot be reached" in lost.link.reason
    assert pending(config) == 1
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard:
        Service(configured(tmp_path, broker.port), "second").run()
        wait_for(lambda: len(dashboard.of("result")) == 2)
    assert [result["sample"] for result in dashboard.of("result")] == ["first", "second"]


def test_a_broker_that_refuses_this_device_is_named_with_its_reason(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto("allow_anonymous false")
    config = configured(tmp_path, broker.port)
    mqtt = config.mqtt.model_copy(update={"username": "nurse", "password": SecretStr("wrong")})
    outcome = outcome_of(Service(config.model_copy(update={"mqtt": mqtt})))
    assert (outcome.fate, outcome.fault, outcome.link.connected) == ("waiting", None, False)
    assert "Not authorized" in outcome.link.reason
    assert "'nurse'" in outcome.link.reason
    assert "wrong" not in outcome.link.reason


def test_a_broker_that_goes_and_comes_back_costs_no_count(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    camera = CameraConfig(kind="virtual", width=160, height=120, frames=10_000, fps=50)
    config = configured(tmp_path, broker.port, camera)
    last: list[Snapshot] = []
    service = Service(config, "B", observer=lambda snapshot: last.__setitem__(slice(None), [snapshot]))
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(service)))
    thread.start()
    try:
        wait_for(lambda: last and last[0].link.connected)
        broker.stop()
        wait_for(lambda: not last[0].link.connected)
        away = last[0].frames
        wait_for(lambda: last[0].frames > away + 10)
        broker.start()
        with Listener(broker.host, broker.port) as dashboard:
            wait_for(lambda: last[0].link.connected)
            service.stop()
            thread.join(20)
            (result,) = wait_for(lambda: dashboard.of("result"))
    finally:
        service.stop()
        thread.join(20)
    assert outcomes[0].fate == "taken"
    assert result["fields_read"] + result["fields_rejected"] == outcomes[0].frames > away + 10
    assert "online" in dashboard.states()


def test_a_camera_that_fails_ends_the_sample_with_what_was_counted(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    camera = Scripted(unplugged_after(3))
    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: camera)
    with Listener(broker.host, broker.port) as dashboard:
        outcome = outcome_of(Service(configured(tmp_path, broker.port), "C"))
        wait_for(lambda: "fault" in dashboard.states() and dashboard.of("event") and dashboard.of("result"))
    assert isinstance(outcome.fault, CameraError)
    assert outcome.fault.exit_code == 4
    assert outcome.frames == 3
    assert outcome.fate == "taken"
    assert dashboard.of("result")[0]["fields_read"] + dashboard.of("result")[0]["fields_rejected"] == 3
    assert ("error", "camera") in {(event["level"], event["code"]) for event in dashboard.of("event")}
    assert "stopped giving frames" in dashboard.of("status")[-1]["reason"]
    assert dashboard.states()[-1] == "fault"
    assert camera.closed


def test_a_camera_that_is_pulled_and_put_back_goes_on_with_the_same_sample(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, plug = start_mosquitto(), tmp_path / "plug"
    plug.touch()
    monkeypatch.setattr(
        "edge.service.service.open_camera", lambda config, _: IsolatedCamera(partial(Plugged, plug), config)
    )
    config = configured(tmp_path / "state", broker.port, live(frames=400))
    frames: list[int] = []
    service = Service(config, "F", observer=lambda snapshot: frames.append(snapshot.frames))
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(service)))
    with Listener(broker.host, broker.port) as dashboard:
        thread.start()
        try:
            wait_for(lambda: len(frames) > 3, 20)
            plug.unlink()
            wait_for(lambda: "fault" in dashboard.states(), 20)
            plug.touch()
            away = len(frames)
            wait_for(lambda: len(frames) > away + 3, 20)
            wait_for(lambda: dashboard.states()[-1] == "online")
        finally:
            service.stop()
            thread.join(20)
        wait_for(lambda: dashboard.of("result"))
    assert [event["code"] for event in dashboard.of("event")] == ["camera_lost", "camera_back"]
    assert {event["sample"] for event in dashboard.of("event")} == {"F"}
    (result,) = dashboard.of("result")
    assert result["fields_read"] + result["fields_rejected"] == outcomes[0].frames > away + 3
    assert (outcomes[0].fault, dashboard.states()[-1]) == (None, "stopped")


def test_a_camera_that_is_not_there_or_shows_nothing_is_an_error_at_once(tmp_path: Path) -> None:
    absent = CameraConfig(kind="opencv", device="/dev/video99")
    with pytest.raises(CameraError, match="/dev/video99 not found"):
        Service(configured(tmp_path, free_port(), absent)).run()
    (tmp_path / "empty").mkdir()
    empty = CameraConfig(kind="replay", device=str(tmp_path / "empty"))
    with pytest.raises(InputError):
        Service(configured(tmp_path, free_port(), empty)).run()
    assert pending(configured(tmp_path, 1)) == 0


def test_one_damaged_file_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    field = Slide(SlideSpec(width=320, height=240)).render(0)
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(folder / name), cv2.cvtColor(field, cv2.COLOR_RGB2BGR))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:2000])
    outcome = outcome_of(Service(configured(tmp_path, free_port(), CameraConfig(kind="replay", device=str(folder)))))
    assert outcome.frames == 3
    assert outcome.counts.rejected["unreadable"] == 1
    assert outcome.counts.fields_read == 2
    assert outcome.fault is None


def test_a_slow_pipeline_drops_frames_of_a_live_camera_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Scripted(lambda _: time.sleep(0.002), live=True, frames=60)
    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: camera)
    outcome = outcome_of(Service(configured(tmp_path, free_port()), observer=lambda _: time.sleep(0.02)))
    assert outcome.dropped > 0
    assert outcome.frames + outcome.dropped == 60


def test_it_ends_after_the_frames_asked_for_and_when_stopped(tmp_path: Path) -> None:
    config = configured(tmp_path, free_port(), CameraConfig(kind="virtual", width=160, height=120, frames=1000))
    assert outcome_of(Service(config, frames=4)).frames == 4
    service = Service(config, observer=lambda snapshot: service.stop() if snapshot.frames == 3 else None)
    outcome = outcome_of(service)
    assert outcome.frames == 3
    assert outcome.fault is None
    assert pending(config) == 2


def test_a_result_is_on_the_disk_while_the_camera_still_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def script(index: int) -> None:
        if index == 2:
            hang.wait(20)

    camera = Scripted(script)
    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: camera)
    config = configured(tmp_path, free_port())
    service = Service(config, observer=lambda snapshot: service.stop() if snapshot.frames == 2 else None)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        wait_for(lambda: database_path(config).exists() and pending(config) == 1, 4.0)
        assert thread.is_alive()
    finally:
        hang.set()
        thread.join(20)


def test_a_full_disk_is_an_error_that_still_tells_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("results cannot be kept in outbox: database or disk is full. Free some space")

    monkeypatch.setattr(Outbox, "put", full)
    with pytest.raises(StorageError, match=r"disk is full.*The result of D was not kept: .*Sickle-like cells \d+ of"):
        Service(configured(tmp_path, free_port()), "D", frames=1).run()


def test_a_sample_code_is_checked_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="sample code"):
        Service(configured(tmp_path, 1), "Jane Doe")
    assert Service(configured(tmp_path, 1)).sample
    assert not list(tmp_path.iterdir())


def test_a_refused_result_is_kept_and_sent_by_resend(start_mosquitto: Start, tmp_path: Path) -> None:
    access = tmp_path / "acl"
    access.write_text("topic write sicklescope/v1/lab/one/status\ntopic read #\n")
    broker = start_mosquitto(f"acl_file {access}")
    config = configured(tmp_path / "state", broker.port)
    outcome = outcome_of(Service(config, "E"))
    assert outcome.fate == "refused"
    assert outcome.link.refused == 1
    access.write_text("topic readwrite #\n")
    broker.stop()
    broker.start()
    with Listener(broker.host, broker.port) as dashboard:
        left = resend(config)
        wait_for(lambda: dashboard.of("result"))
    assert (left.sent, left.pending, left.refused) == (1, 0, 0)
    assert dashboard.of("result")[0]["sample"] == "E"
    shutil.rmtree(tmp_path / "state")
    assert resend(config).sent == 0


def test_resend_does_not_throw_a_running_service_out_of_the_broker(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    camera = CameraConfig(kind="virtual", width=160, height=120, frames=10_000, fps=50)
    config = configured(tmp_path, broker.port, camera)
    service = Service(config)
    thread = threading.Thread(target=service.run)
    with Listener(broker.host, broker.port) as dashboard:
        thread.start()
        try:
            wait_for(lambda: dashboard.of("progress"))
            resend(config)
            before = len(dashboard.of("progress"))
            wait_for(lambda: len(dashboard.of("progress")) > before + 5)
        finally:
            service.stop()
            thread.join(20)
        wait_for(lambda: dashboard.states()[-1] == "stopped")
    assert dashboard.states() == ["online", "stopped"]


def test_resend_says_why_nothing_could_be_sent(tmp_path: Path) -> None:
    config = configured(tmp_path, free_port())
    Service(config, frames=1).run()
    with pytest.raises(BrokerError, match=r"cannot be reached: .* 1 results wait"):
        resend(config)


def test_a_long_run_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.service.reporter import resident_mb

    camera = Scripted(lambda _: None, frames=3000)
    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: camera)
    sizes: list[float] = []
    Service(
        configured(tmp_path, free_port()),
        observer=lambda snapshot: sizes.append(resident_mb()) if snapshot.frames in (500, 3000) else None,
    ).run()
    assert np.diff(sizes)[0] < 5


def test_a_result_that_nobody_subscribes_to_is_not_called_taken(start_mosquitto: Start, tmp_path: Path) -> None:
    """Kind: an acknowledgement that says that nobody got it (MQTT 5, reason 16)."""
    outcome = outcome_of(Service(configured(tmp_path, start_mosquitto().port), frames=2))
    assert outcome.fate == "unheard"
