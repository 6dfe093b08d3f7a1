"""The broker is told while engines are built, and why when one is refused; otherwise nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import edge.pipeline
from edge.config.model import ModelsConfig
from edge.errors import EngineRefusedError
from edge.publish.composer import Composer
from edge.runtime.base import Network
from edge.runtime.contract import Role
from edge.runtime.registry import open_network
from edge.service.build_status import build_status
from edge.service.service import Service
from tests.edge.service.service_parts import configured, outbox_of, outcome_of
from tests.mosquitto import Listener, Mosquitto, wait_for

Start = Callable[..., Mosquitto]


def test_a_start_that_builds_says_so_until_it_is_online(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    with Listener("127.0.0.1", broker.port) as listener:

        def slow(role: Role, models: ModelsConfig, _state: Path, progress: Callable[[str], None]) -> Network:
            progress(f"{role}: step 1 of 2")
            wait_for(lambda: "building" in listener.states())
            return open_network(role, models)

        monkeypatch.setattr(edge.pipeline, "open_network", slow)
        assert outcome_of(Service(configured(tmp_path, broker.port))).fault is None
        wait_for(lambda: listener.states()[-1:] == ["stopped"])
        states = list(dict.fromkeys(listener.states()))
        assert states == ["building", "online", "stopped"]
        assert "detector: step 1 of 2" in {status["reason"] for status in listener.of("status")}


def test_a_refused_engine_is_a_fault_and_an_event(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    config = configured(tmp_path, broker.port)
    with Listener("127.0.0.1", broker.port) as listener, outbox_of(config) as outbox:
        with (
            pytest.raises(EngineRefusedError),
            build_status(config, Composer(config.device), outbox, print),
        ):
            raise EngineRefusedError("the engine answers otherwise")
        wait_for(lambda: listener.of("event"))
        assert listener.of("event")[0]["code"] == "engine_refused"
        wait_for(lambda: listener.states()[-1:] == ["fault"])
        assert listener.of("status")[-1]["reason"] == "the engine answers otherwise"


def test_a_start_that_builds_nothing_connects_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, 1)
    monkeypatch.setattr("edge.service.build_status.Publisher", None)
    with outbox_of(config) as outbox, build_status(config, Composer(config.device), outbox, print):
        pass
