"""Commands over MQTT: done once, for who knows the secret; anything else does nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from edge.api.authentication import CHALLENGE_S, Authenticator, sign
from edge.api.client import state
from edge.config.model import CameraConfig, MqttConfig, ScreeningConfig
from edge.errors import CommandError
from edge.service.service import Service
from tests.edge.service.service_parts import configured
from tests.mosquitto import Listener, Mosquitto, wait_for

SECRET = "a secret of the clinic"  # noqa: S105
TOPIC = "sicklescope/v1/lab/one/command"


def command(challenge: str, order: dict[str, Any] | str, secret: str = SECRET, topic: str = TOPIC) -> bytes:
    text = order if isinstance(order, str) else json.dumps(order)
    return json.dumps({"challenge": challenge, "order": text, "mac": sign(secret, topic, challenge, text)}).encode()


def test_the_gate_opens_once_for_the_right_secret_topic_and_challenge() -> None:
    now = [0.0]
    authenticator = Authenticator(SECRET, TOPIC, lambda: now[0])
    first = authenticator.challenge
    good = command(first, '{"command": "stop"}')
    for bad in (
        command(first, "{}", secret="guessed"),  # noqa: S106
        command(first, "{}", topic=TOPIC.replace("one", "two")),
        good.replace(b"stop", b"quit"),
        command("0" * 32, "{}"),
    ):
        with pytest.raises(CommandError, match=r"not authenticated|challenge is old"):
            authenticator.authenticate(bad)
    assert authenticator.challenge == first, "who does not know the secret cannot use a challenge up"
    assert authenticator.authenticate(good) == '{"command": "stop"}'
    with pytest.raises(CommandError, match="was used"):
        authenticator.authenticate(good)
    late = command(authenticator.challenge, "{}")
    now[0] += CHALLENGE_S + 1
    with pytest.raises(CommandError, match="old"):
        authenticator.authenticate(late)
    assert authenticator.renew_when_old()
    assert not authenticator.renew_when_old()
    with pytest.raises(CommandError, match="old"):
        authenticator.authenticate(late)


@given(
    st.binary(max_size=300)
    | st.dictionaries(st.sampled_from(["challenge", "order", "mac", "by"]), st.text(max_size=70) | st.none())
    .map(json.dumps)
    .map(str.encode)
)  # fmt: skip
def test_nothing_else_opens_the_gate(payload: bytes) -> None:
    authenticator = Authenticator(SECRET, TOPIC)
    before = authenticator.challenge
    with pytest.raises(CommandError, match="the command"):
        authenticator.authenticate(payload)
    assert authenticator.challenge == before


def test_commands_need_a_secret() -> None:
    with pytest.raises(ValidationError, match="at least 16 characters"):
        MqttConfig(commands=True, command_secret=SecretStr("short"))


def test_a_sample_is_started_and_stopped_over_mqtt(start_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = start_mosquitto()
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=100_000, fps=50)
    config = configured(tmp_path, broker.port, camera)
    mqtt = config.mqtt.model_copy(update={"commands": True, "command_secret": SecretStr(SECRET)})
    config = config.model_copy(update={"mqtt": mqtt, "screening": ScreeningConfig()})
    service = Service(config)
    thread = threading.Thread(target=service.run)

    with Listener(broker.host, broker.port, "sicklescope/v1/lab/one/+") as dashboard:

        def send(payload: bytes) -> None:
            dashboard._client.publish(TOPIC, payload, qos=1)

        used: set[str] = set()

        def challenge() -> str:
            wait_for(lambda: dashboard.of("birth") and dashboard.of("birth")[-1]["command_challenge"] not in used, 30)
            return str(dashboard.of("birth")[-1]["command_challenge"])

        def answer(order: dict[str, Any]) -> dict[str, Any]:
            before, present = len(dashboard.of("reply")), challenge()
            send(command(present, order))
            wait_for(lambda: len(dashboard.of("reply")) > before, 30)
            used.add(present)
            return dashboard.of("reply")[-1]

        thread.start()
        try:
            wait_for(lambda: dashboard.of("birth"), 60)
            first = challenge()
            used.add(first)
            begin = command(first, {"command": "start", "sample": "K-1", "by": "ward"})
            send(begin)
            reply = wait_for(lambda: dashboard.of("reply"), 30)[0]
            assert (reply["command"], reply["error"], reply["sample"], reply["state"]) == (
                "start", "", "K-1", "scanning",
            )  # fmt: skip
            again = answer({"command": "start", "sample": "K-2", "by": "ward"})
            assert "K-1 is being scanned" in again["error"]
            assert "not done over MQTT" in answer({"command": "erase", "sample": "K-1", "by": "ward"})["error"]
            assert "cannot be read" in answer({"command": "fly"})["error"]
            assert answer({"command": "stop", "by": "ward"})["state"] in ("incomplete", "review")
            replies = len(dashboard.of("reply"))
            forged = command(challenge(), {"command": "start", "sample": "K-3", "by": "x"}, "guess")
            for unheard in (begin, forged, b"[]"):
                send(unheard)
            assert answer({"command": "stop", "by": "ward"})["error"] == "no sample is being scanned"
            assert len(dashboard.of("reply")) == replies + 1
            assert state(tmp_path)["state"] == "idle"
        finally:
            service.stop()
            thread.join(60)
    assert not thread.is_alive()
