"""The ear of systemd: the socket that NOTIFY_SOCKET names, and what was said to it."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path


class Ear:
    """Binds a real datagram socket, as systemd does, and keeps every message with the time it came."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.heard: list[tuple[float, dict[str, str]]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            lines = dict(line.split("=", 1) for line in message.decode().splitlines())
            self.heard.append((time.monotonic(), lines))

    def __enter__(self) -> Ear:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self.address)
        self._thread.join(5)
        self._socket.close()

    def all(self, key: str) -> list[str]:
        """Return the values of one key, in order."""
        return [lines[key] for _, lines in list(self.heard) if key in lines]

    def last_s(self, key: str) -> float:
        """Return when a key was last said, monotonic seconds."""
        return [when for when, lines in list(self.heard) if key in lines][-1]
