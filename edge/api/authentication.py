"""Authentication of commands over MQTT: HMAC challenge and response, of single use.

No clock is needed. The device publishes a challenge, 128 random bits, in its birth; a command carries it with
HMAC-SHA256 (RFC 2104) over topic, challenge and order. A challenge that was used, or is old, opens nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import CommandError

CHALLENGE_S = 600.0
"""How long a challenge may be used."""

LONGEST_BYTES = 65536


class Envelope(BaseModel):
    """A command as it comes over MQTT: authenticated, for one device, once."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    challenge: Annotated[str, Field(max_length=64)]
    """`command_challenge` of the device's newest birth."""
    order: Annotated[str, Field(max_length=LONGEST_BYTES)]
    """What is asked, as JSON text."""
    mac: Annotated[str, Field(max_length=64)]
    """HMAC-SHA256 with the device's secret over topic, challenge and order, joined by line feeds: 64 hex digits."""


def sign(secret: str, topic: str, challenge: str, order: str) -> str:
    """Return the message authentication code of an order (JSON text), as 64 hexadecimal digits."""
    text = "\n".join((topic, challenge, order))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Authenticator:
    """Authenticates commands. Any thread may call it; the clock is given by a test, seconds."""

    def __init__(self, secret: str, topic: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.topic = topic
        self._secret, self._monotonic = secret, monotonic
        self._lock = threading.Lock()
        self._renew()

    def _renew(self) -> None:
        self.challenge, self._made_s = secrets.token_hex(16), self._monotonic()

    def renew_when_old(self) -> bool:
        """Make a new challenge when the present one is old; return whether it did."""
        with self._lock:
            old = self._monotonic() - self._made_s > CHALLENGE_S
            if old:
                self._renew()
            return old

    def authenticate(self, payload: bytes) -> str:
        """Return the order (JSON text) of an authentic command, which uses the challenge up.

        Raises:
            CommandError: The payload is no command, not authentic, or its challenge is old or used.
        """
        if len(payload) > LONGEST_BYTES:
            raise CommandError(f"the command has {len(payload)} bytes; at most {LONGEST_BYTES} are read")
        try:
            envelope = Envelope.model_validate_json(payload)
        except ValidationError as error:
            raise CommandError("the command is not of the form {challenge, order, mac}, three texts") from error
        expected = sign(self._secret, self.topic, envelope.challenge, envelope.order)
        # As bytes, for only ASCII texts may be compared in constant time.
        if not hmac.compare_digest(expected.encode(), envelope.mac.encode(errors="replace")):
            raise CommandError("the command is not authenticated: its mac does not fit the device's secret")
        with self._lock:
            fresh = self._monotonic() - self._made_s <= CHALLENGE_S
            if envelope.challenge != self.challenge or not fresh:
                raise CommandError("the challenge is old or was used: take command_challenge of the newest birth")
            self._renew()
        return envelope.order
