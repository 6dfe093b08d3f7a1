"""Commands over MQTT on their way to the reading thread, and their answers on the way back."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future

from edge.api.authentication import Authenticator
from edge.errors import CommandError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.command_queue import CommandQueue
from edge.sample.commands import Answer, Discard, Reopen, Start, Stop, parse

log = logging.getLogger(__name__)

REMOTE = (Start, Stop, Discard, Reopen)
"""What may be asked from afar; to review and to erase one has to be at the device."""


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

    def receive(self, payload: bytes) -> None:
        """Take a command in; called by paho's thread, and returns at once."""
        try:
            text = self._authenticator.authenticate(payload)
        except CommandError as error:
            # Not answered: whoever does not know the secret is not told more, and cannot make the device talk.
            self._log_refused(error)
            return
        self._publisher.announce()
        try:
            command = parse(text.encode())
            if not isinstance(command, REMOTE):
                raise CommandError(f"{command.command} is not done over MQTT, but at the device")
        except CommandError as error:
            self._reply("", None, error)
            return
        name = command.command
        self._commands.submit(command).add_done_callback(lambda future: self._answered(name, future))

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

    def _answered(self, command: str, future: Future[Answer]) -> None:
        error = future.exception()
        self._reply(command, None if error else future.result(), error)

    def _reply(self, command: str, answer: Answer | None, error: BaseException | None) -> None:
        self._publisher.reply(self._composer.reply(command, answer or {}, str(error or "")))
