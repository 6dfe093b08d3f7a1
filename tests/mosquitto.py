"""A real Mosquitto on a free loopback port, which can be stopped, started again and asked what came in."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Return the condition's value as soon as it is true; fails the test when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Mosquitto:
    """The broker; `lines` go into its configuration, after the listener. The port stays the same over restarts."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.config = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(*lines)

    def configure(self, *lines: str) -> None:
        """Write the configuration; `reload` or a restart makes it count."""
        access = [] if any(line.startswith("allow_anonymous") for line in lines) else ["allow_anonymous true"]
        text = [f"listener {self.port} {self.host}", "persistence false", "user root", *access, *lines]
        self.config.write_text("\n".join(text) + "\n")

    def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(self.config)], stdout=log, stderr=log)
        wait_for(self._answers)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """Have it read passwords and access lists again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None


class Listener:
    """A dashboard: everything that came to it, in order, as (topic, message, retained)."""

    def __init__(self, host: str, port: int, topic: str = "sicklescope/#", user: tuple[str, str] | None = None) -> None:
        self.seen: list[tuple[str, dict[str, Any], bool]] = []
        self._ready = threading.Event()
        self._topic = topic
        # 3.1.1, so that it also listens to the embedded broker.
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        if user is not None:
            self._client.username_pw_set(*user)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect(host, port)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.seen.append((message.topic, json.loads(message.payload), message.retain))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of one kind."""
        return [message for topic, message, _ in list(self.seen) if topic.endswith(f"/{kind}")]

    def states(self) -> list[str]:
        return [message["state"] for message in self.of("status")]

    def __enter__(self) -> Listener:
        self._client.loop_start()
        assert self._ready.wait(10), "the broker did not let the listener in"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _password_file(folder: Path) -> Path:
    path = folder / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "scope", "right"], check=True)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "dashboard", "reader"], check=True)
    return path


def with_users(folder: Path, *acl: str) -> list[str]:
    """Return lines for a broker that knows `scope` (right) and `dashboard` (reader), with an access list."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd not installed")
    (folder / "acl").write_text("\n".join(acl) + "\n")
    (folder / "acl").chmod(0o600)
    return [
        "allow_anonymous false",
        f"password_file {_password_file(folder)}",
        *([f"acl_file {folder / 'acl'}"] if acl else []),
    ]
