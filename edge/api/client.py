"""Asks a running service, by its socket in the state folder."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from edge import errors
from edge.api.unix_socket import short
from edge.errors import CommandError, EdgeError
from edge.sample.command_queue import ANSWER_S
from edge.sample.commands import Command


class NotRunningError(EdgeError):
    """No service listens in this state folder."""

    exit_code = 8


class _Connection(HTTPConnection):
    def __init__(self, folder: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S + 5)
        self._folder = folder

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short(self._folder) as path:
            self.sock.connect(path)


def ask(folder: Path, command: Command) -> dict[str, Any]:
    """Have the service do something; raises NotRunningError, or the error that it answers."""
    return _call(folder, "POST", "command", command.model_dump_json())


def state(folder: Path) -> dict[str, Any]:
    """Return what the service is doing; raises NotRunningError."""
    return _call(folder, "GET", "state", None)


def _call(folder: Path, method: str, what: str, body: str | None) -> dict[str, Any]:
    connection = _Connection(folder)
    try:
        connection.request(method, f"/api/v1/{what}", body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunningError(f"no service runs with {folder}. Start it: `sicklescope run`") from error
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(f"the service in {folder} does not answer: {error}. See its log") from error
    finally:
        connection.close()
    if response.status != 200:
        kind = getattr(errors, str(answer.get("kind")), CommandError)
        raise kind(answer.get("error", f"the service answered {response.status}"))
    return answer
