"""Commands over MQTT on their way to the reading thread, and their answers on the way back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from edge.api.authentication import Authenticator
from edge.errors import CommandError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.command_queue import CommandQueue
from edge.sample.commands import Answer, Discard, Reopen, Resend, Start, Stop, parse, request_of

log = logging.getLogger(__name__)

REMOTE = (Start, Stop, Discard, Reopen, Resend)
"""What may be asked from afar; to review and to erase one has to be at the device."""


RESENT_PER_HOUR = 5000
"""Results that may be asked for again: some 15 MB, which a mistaken dashboard must not exceed on a costly line."""

CORRELATION_MAX_BYTES = 256
"""Longer Correlation Data is not returned: replies are held in memory."""

REFUSED_LOG_S = 60.0
"""Commands that are not authenticated are logged at most so often: anyone may send as many as he likes."""


class RemoteCommands:
    """Takes the commands that come over MQTT to a service, and sends the answers."""

    def __init__(
        self, authenticator: Authenticator, commands: CommandQueue, composer: Composer, publisher: Publisher
    ) -> None:
        self._authenticator, self._commands = authenticator, commands
        self._composer, self._publisher = composer, publisher
        self._refused, self._refused_log_s = 0, 0.0
        self._allowed, self._allowed_s = float(RESENT_PER_HOUR), time.monotonic()

    def receive(self, payload: bytes, correlation: bytes | None) -> None:
        """Take a command in; called by paho's thread, and returns at once."""
        if correlation is not None and len(correlation) > CORRELATION_MAX_BYTES:
            correlation = None
        try:
            text = self._authenticator.authenticate(payload)
        except CommandError as error:
            # Not answered: whoever does not know the secret is not told more, and cannot make the device talk.
            self._log_refused(error)
            return
        self._publisher.announce()
        reply = partial(self._reply, request_of(text), correlation)
        try:
            command = parse(text.encode())
            if not isinstance(command, REMOTE):
                raise CommandError(f"{command.command} is not done over MQTT, but at the device")
        except CommandError as error:
            reply("", None, error)
            return
        name = command.command
        if isinstance(command, Resend):
            wait_s = self._allow(command.last - command.first + 1)
            if wait_s:
                reply(name, None, CommandError(
                    f"at most {RESENT_PER_HOUR} results an hour are sent again. Ask in {math.ceil(wait_s)} s"
                ))  # fmt: skip
                return
        self._commands.submit(command).add_done_callback(partial(_answered, reply, name))

    def _allow(self, results: int) -> float:
        """Take so many results from what may be sent again, or return the seconds until they may be."""
        now = time.monotonic()
        gained = (now - self._allowed_s) * RESENT_PER_HOUR / 3600
        self._allowed, self._allowed_s = min(RESENT_PER_HOUR, self._allowed + gained), now
        if results > self._allowed:
            return (results - self._allowed) * 3600 / RESENT_PER_HOUR
        self._allowed -= results
        return 0.0

    def _log_refused(self, error: CommandError) -> None:
        self._refused += 1
        now = time.monotonic()
        if now >= self._refused_log_s:
            log.warning("%s (commands refused since the last such line: %d)", error, self._refused)
            self._refused, self._refused_log_s = 0, now + REFUSED_LOG_S

    def renew_challenge(self) -> None:
        """Publish a new challenge when the present one is old."""
        if self._authenticator.renew_when_old():
            self._publisher.announce()

    def _reply(
        self, request: str, correlation: bytes | None, command: str, answer: Answer | None, error: BaseException | None
    ) -> None:
        self._publisher.reply(self._composer.reply(command, answer or {}, str(error or ""), request, correlation))


def _answered(
    reply: Callable[[str, Answer | None, BaseException | None], None], command: str, future: Future[Answer]
) -> None:
    error = future.exception()
    reply(command, None if error else future.result(), error)
