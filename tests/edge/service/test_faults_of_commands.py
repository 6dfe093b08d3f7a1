"""What fails in a command is that command's failure: the service goes on, and its status tells the truth."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge.api.client import state
from edge.config.model import CameraConfig, WebConfig
from edge.errors import CommandError, SampleError, StorageError
from edge.sample.lifecycle import Lifecycle
from edge.sample.store import HIGHEST_NUMBER
from edge.service.sample_loop import SampleLoop
from edge.service.service import Service
from edge.storage.database import Database, database_path
from tests.edge.camera.camera_parts import Plugged
from tests.edge.service.service_parts import configured, do, running, waiting
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for

Start = Callable[..., Mosquitto]


def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


@pytest.mark.parametrize("error", [OverflowError("too large"), FileNotFoundError("cal.json"), KeyError("draft")])
def test_any_error_of_a_command_is_answered_and_the_service_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Kind: an exception that nobody expected. In 0.6.0 it ended the service, and the status said `stopped`."""
    with running(waiting(tmp_path)):
        do(tmp_path, command="start", sample="K-1")
        with monkeypatch.context() as patched:
            patched.setattr(Lifecycle, "discard", _raises(error))
            with pytest.raises(CommandError, match=f"discard failed by a fault of the program, {type(error).__name__}"):
                do(tmp_path, command="discard", sample="K-1")
        assert state(tmp_path)["sample"] == "K-1"
        assert do(tmp_path, command="stop")["state"] == "incomplete"


def _raises(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_numbers_that_no_database_knows_are_refused_by_name(tmp_path: Path) -> None:
    """Kind: a number too large for SQLite, of a cell, a page or a picture. In 0.6.0: HTTP 500, or the service ended."""
    port = free_port()
    with running(waiting(tmp_path).model_copy(update={"web": WebConfig(port=port)})):
        do(tmp_path, command="start", sample="K-1")
        wait_for(lambda: (state(tmp_path)["counts"] or {}).get("cells_seen"), 60)
        do(tmp_path, command="stop")
        for number in ((1 << 63) - 1, 1 << 63, 10**30):
            with pytest.raises(CommandError, match="less than or equal"):
                do(tmp_path, command="review", sample="K-1", cells={str(number): "sickle"})
        with pytest.raises(SampleError, match="no cell 1099511627775"):
            do(tmp_path, command="review", sample="K-1", cells={str(HIGHEST_NUMBER): "sickle"})
        for digits in ("9" * 19, "9" * 30, "9" * 5000):
            for what in ("offset", "limit"):
                code, answer = get(port, f"/api/v1/samples/K-1/cells?{what}={digits}")
                assert (code, f"{what} is" in str(answer["error"])) == (400, True)
            assert get(port, f"/api/v1/samples/K-1/cells/{digits}.jpg")[0] == 404
        assert get(port, "/api/v1/samples/K-1/cells?limit=100000")[0] == 200
        assert get(port, f"/api/v1/samples/K-1/cells?offset={HIGHEST_NUMBER}")[0] == 200


def test_a_row_that_another_program_deleted_is_that_commands_failure(tmp_path: Path) -> None:
    config = waiting(tmp_path)
    with running(config):
        do(tmp_path, command="start", sample="K-1")
        with Database(database_path(config)) as database:
            database.write("DELETE FROM samples")
        with pytest.raises(SampleError):
            do(tmp_path, command="stop")
        assert do(tmp_path, command="start", sample="K-2")["state"] == "scanning"


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), StorageError("the disk is damaged")])
def test_the_status_tells_of_the_error_that_ended_a_run(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Kind: a status that says what is not so. In 0.6.0 it said `stopped`, on purpose."""
    broker = start_mosquitto()
    monkeypatch.setattr(SampleLoop, "recover", _raises(error))
    if isinstance(error, StorageError):
        monkeypatch.setattr(SampleLoop, "announce_fault", lambda *_: None)
    with Listener(broker.host, broker.port) as dashboard:
        with pytest.raises(type(error)):
            Service(configured(tmp_path, broker.port)).run()
        wait_for(lambda: dashboard.states()[-1:] == ["fault"])
        assert str(error) in dashboard.of("status")[-1]["reason"]


def test_the_state_tells_of_a_lost_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a problem that one of the ways to ask is silent about. In 0.6.0 `state` said nothing of the camera."""
    plug = tmp_path / "plug"
    plug.touch()
    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: Plugged(plug))
    with running(waiting(tmp_path / "state")):
        assert state(tmp_path / "state")["camera_problem"] == ""
        plug.unlink()
        lost = wait_for(lambda: state(tmp_path / "state")["camera_problem"], 20)
        assert "stopped giving frames" in lost
        plug.touch()
        wait_for(lambda: state(tmp_path / "state")["camera_problem"] == "", 20)


def _has_results(dashboard: Listener, count: int) -> bool:
    return len(dashboard.of("result")) == count


def test_what_a_second_sample_took_is_of_that_sample_alone(start_mosquitto: Start, tmp_path: Path) -> None:
    """Kind: a rate over the time before. In 0.6.0 `duration_s` of a later sample held the wait between the two."""
    broker = start_mosquitto()
    camera = CameraConfig(kind="virtual", width=160, height=120, frames=100_000, fps=25)
    config = waiting(tmp_path, fields=10).model_copy(update={"camera": camera})
    config = config.model_copy(update={"mqtt": configured(tmp_path, broker.port).mqtt})
    with Listener(broker.host, broker.port) as dashboard, running(config):
        for number, pause_s in enumerate((0.0, 2.0), start=1):
            wait_for(_after(pause_s), 10)
            do(tmp_path, command="start", sample=f"K-{number}")
            wait_for(partial(_has_results, dashboard, number), 60)
    first, second = dashboard.of("result")
    for result in (first, second):
        assert result["duration_s"] == pytest.approx((result["ended_ms"] - result["started_ms"]) / 1000, abs=0.1)
    assert second["started_ms"] - first["ended_ms"] > 1900
    rates = [one["fps"] for one in dashboard.of("telemetry") if one["sample"] == "K-2"]
    assert rates
    assert np.median(rates) > 0.4 * 10 / second["duration_s"], "and not over the pause before"
    kinds = [
        (message["schema"].split("/")[1], message["sample"])
        for message in sorted((*dashboard.of("progress"), *dashboard.of("result")), key=lambda one: one["seq"])
    ]
    for code in ("K-1", "K-2"):
        assert [kind for kind, sample in kinds if sample == code][-1] == "result", "no progress after its own result"


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
