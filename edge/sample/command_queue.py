"""Commands from any thread, done by the one that reads frames, between two frames."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

from edge.errors import CommandError, EdgeError
from edge.sample.commands import Answer, Command

log = logging.getLogger(__name__)

ANSWER_S = 30.0
"""How long a command waits to be done: networks, a slow disk or a hanging camera may hold the reading thread."""


class CommandQueue:
    """Commands that wait, in their order. Any thread may hand one in."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Command, Future[Answer]]] = deque()
        self._closed = False

    def submit(self, command: Command) -> Future[Answer]:
        """Hand a command in, and return what will hold its answer or error."""
        future: Future[Answer] = Future()
        self._waiting.append((command, future))
        if self._closed:
            self.close()
        return future

    def ask(self, command: Command) -> Answer:
        """Hand a command in and wait for its answer.

        Raises:
            CommandError: Nobody does it, or not in time.
            EdgeError: What came of it.
        """
        future = self.submit(command)
        try:
            return future.result(ANSWER_S)
        except LateError as error:
            future.cancel()
            raise CommandError(
                f"the device has not answered for {ANSWER_S:g} s: its camera or disk may hang. Ask for its state"
            ) from error

    def work_off(self, do: Callable[[Command], Answer]) -> None:
        """Do what waits, in its order; whatever fails is that command's failure, told to who asked."""
        while self._waiting:
            command, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(do(command))
            except EdgeError as error:
                log.warning("%s of %s: %s", command.command, command.by, error)
                future.set_exception(error)
            except Exception as error:
                log.exception("%s failed", command.command)
                fault = CommandError(
                    f"{command.command} failed by a fault of the program, {type(error).__name__}: {error}. "
                    "The service goes on; report what its log says"
                )
                fault.__cause__ = error
                future.set_exception(fault)

    def close(self) -> None:
        """Refuse what waits and what comes: nobody works it off any more."""
        self._closed = True

        def refuse(_: Command) -> Answer:
            raise CommandError("the service is stopping")

        self.work_off(refuse)
