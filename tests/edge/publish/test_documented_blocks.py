"""The configuration blocks of docs/mqtt.md work as they stand: with the real broker, and against the schemas."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.api.authentication import sign
from tests.mosquitto import MOSQUITTO, free_port, wait_for

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "mqtt.md").read_text("utf-8")

STOCK = """pid_file {root}/mosquitto.pid
persistence true
persistence_location {root}/lib/
log_dest file {root}/mosquitto.log
include_dir {etc}/conf.d
"""
"""Debian's own mosquitto.conf, with its folders moved below one of the test."""


def block(first_line: str) -> str:
    """Return the fenced block that holds a line."""
    texts: list[str] = re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in texts if first_line in text)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Start Mosquitto by the stock file and the page's blocks; give its port and the authority's certificate."""
    if MOSQUITTO is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto not installed (apt-get install mosquitto)")
    etc, port = tmp_path / "etc", free_port()
    (etc / "conf.d").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (etc / "mosquitto.conf").write_text(STOCK.format(root=tmp_path, etc=etc) + "user root\n")
    placed = block("conf.d/sicklescope.conf").replace("/etc/mosquitto", str(etc)).replace("8883", str(port))
    (etc / "conf.d" / "sicklescope.conf").write_text(placed)
    (etc / "acl").write_text(block("# /etc/mosquitto/acl"))
    recipe = block("mosquitto_passwd -b").replace("/etc/mosquitto", str(etc)).replace("broker.example", "localhost")
    recipe = recipe.replace("-g mosquitto", "").replace("chgrp mosquitto", "ls")
    subprocess.run(["bash", "-euc", recipe], cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen([MOSQUITTO, "-c", str(etc / "mosquitto.conf")], stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (tmp_path / "mosquitto.pid").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        yield port, etc / "certs" / "ca.pem"
    finally:
        process.terminate()
        process.communicate()


def test_debians_broker_starts_with_the_block_and_keeps_devices_apart(broker: tuple[int, Path]) -> None:
    """Kind: a block that stops the broker, because it sets twice what the stock file sets."""
    port, authority = broker
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("scope-1", "PASSWORD")
    client.tls_set(ca_certs=str(authority))
    answers: dict[int, ReasonCode] = {}
    client.on_publish = lambda _client, _data, mid, code, _properties: answers.__setitem__(mid, code)
    wait_for(lambda: connects(client, port))
    client.loop_start()
    own = client.publish("sicklescope/v1/mbarara/scope-1/status", "{}", 1, True).mid
    other = client.publish("sicklescope/v1/mbarara/scope-2/status", "{}", 1, True).mid
    wait_for(lambda: {own, other} <= answers.keys())
    client.disconnect()
    client.loop_stop()
    assert answers[own].value < 128
    assert answers[other].value == 135, "not authorised"


def connects(client: Client, port: int) -> bool:
    try:
        client.connect("localhost", port)
    except ConnectionRefusedError:
        return False
    return True


def test_the_pages_line_of_python_signs_as_the_device_checks() -> None:
    """Kind: a recipe that was never run."""
    names = {
        "hmac": hmac,
        "hashlib": hashlib,
        "secret": "of the clinic",
        "topic": "a/b",
        "challenge": "c",
        "order": "{}",
    }
    exec(block("mac = hmac.new"), names)  # noqa: S102
    assert names["mac"] == sign("of the clinic", "a/b", "c", "{}")
