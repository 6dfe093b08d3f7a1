"""A broker that states limits and answers as a test says, for what Mosquitto cannot be made to do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Answer = Callable[[dict[str, Any]], int | None]
"""The reason code of a PUBACK by the message; None ends the connection, SILENCE gives no answer."""

SILENCE = -1

CHATTER_S = 0.05
"""Between two messages of a broker that talks."""


class ScriptedBroker:
    """Speaks MQTT 5 to one client at a time.

    Attributes:
        seen: the messages of QoS 1 that came, over all connections.
        flags: the first byte of each PUBLISH, by the message's schema.
        connections: how many there were.
    """

    def __init__(
        self,
        properties: bytes = b"",
        answer: Answer = lambda message: 0,
        talks: bool = False,
        subscription: int = 0,
    ) -> None:
        """Set the broker up.

        Args:
            properties: of its CONNACK.
            answer: to each message of QoS 1.
            subscription: reason code for each subscription.
            talks: whether it sends messages all the time, and answers no ping.
        """
        self._connack = b"\x00\x00" + bytes([len(properties)]) + properties
        self._answer, self._talks, self._subscription = answer, talks, subscription
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.seen: list[dict[str, Any]] = []
        self.flags: dict[str, int] = {}
        self.connections = 0
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in list(self.seen) if message["schema"].split("/")[1] == kind]

    def __enter__(self) -> ScriptedBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._peer is not None:
            with suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                self._peer, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with self._peer as peer, peer.makefile("rb") as stream, suppress(OSError, ValueError, IndexError):
                self._talk(peer, stream.read)

    def _talk(self, peer: socket.socket, read: Callable[[int], bytes]) -> None:
        peer.settimeout(0.2)
        while True:
            try:
                first = read(1)[0]
            except TimeoutError:
                return
            length, shift = 0, 0
            while True:  # the remaining length: seven bits in each byte (MQTT 5, 1.5.5)
                byte = read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            body = read(length)
            if first >> 4 == 1:
                peer.sendall(b"\x20" + bytes([len(self._connack)]) + self._connack)
                peer.settimeout(None)
                if self._talks:
                    threading.Thread(target=_chatter, args=(peer,), daemon=True).start()
            elif first >> 4 == 8:
                peer.sendall(b"\x90\x04" + body[:2] + b"\x00" + bytes([self._subscription]))
            elif first >> 4 == 12 and not self._talks:
                peer.sendall(b"\xd0\x00")
            elif first >> 4 == 3:
                message = json.loads(body[body.index(b"{") :])
                self.flags[message["schema"]] = first
                if not first & 0x06:
                    continue
                self.seen.append(message)
                topic_bytes = int.from_bytes(body[:2], "big")
                code = self._answer(message)
                if code is None:
                    return
                if code == SILENCE:
                    continue
                peer.sendall(b"\x40\x03" + body[2 + topic_bytes : 4 + topic_bytes] + bytes([code]))


def _chatter(peer: socket.socket) -> None:
    """Send a message of QoS 0 again and again, until the connection ends."""
    with suppress(OSError):
        while True:
            peer.sendall(b"\x30\x05\x00\x01t\x00x")
            time.sleep(CHATTER_S)
