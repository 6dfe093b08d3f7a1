"""What is done for each command, in a service and in a program beside none: one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge.errors import SampleError
from edge.publish.message_base import topic
from edge.publish.result_messages import Result
from edge.sample.commands import Answer, Command, Discard, Erase, Reopen, Resend, Review, Start, Stop
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.changes import answer, sign
from edge.sample.sample_row import StoredSample
from edge.storage.outbox import Outbox

STOPPED = "it was stopped before its target"


class Scanner(Protocol):
    """What scans samples, as far as commands need it.

    Every method may raise SampleError or StorageError.
    """

    def start(self, code: str, by: str) -> StoredSample:
        """Begin a new sample."""
        ...

    def stop(self, reason: str, by: str) -> StoredSample:
        """End the sample that is being scanned."""
        ...

    def scan_further(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Scan a sample further that ended."""
        ...

    def release(self, sample: StoredSample) -> None:
        """Scan the sample no further, if it is being scanned; it was discarded."""
        ...


class NoScanner:
    """Stands where no service runs: it can only end what a service that failed was scanning."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def start(self, code: str, by: str) -> StoredSample:
        """Refuse to begin a sample."""
        raise self._absent()

    def stop(self, reason: str, by: str) -> StoredSample:
        """End the sample that was being scanned when the service failed."""
        return self._lifecycle.stop_unread(reason, by)

    def scan_further(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Refuse to scan."""
        raise self._absent()

    def release(self, sample: StoredSample) -> None:
        """Do nothing: nothing is being scanned."""

    def _absent(self) -> SampleError:
        return SampleError(
            "no service runs that could scan, or it is in safe mode. Start it: `sicklescope run`, or systemctl start "
            "sicklescope; `systemctl status sicklescope` tells what it lacks"
        )


def perform(command: Command, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    """Do what is asked, and return what came of it."""
    return _HANDLERS[type(command)](command, lifecycle, scanner)


def summary(sample: StoredSample) -> Answer:
    """Return what a command answers of a sample."""
    return {"id": sample.id, "sample": sample.code, "state": sample.state, "reason": sample.reason}


def _start(command: Start, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    return summary(scanner.start(command.sample, command.by))


def _stop(command: Stop, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    return summary(scanner.stop(STOPPED, command.by))


def _discard(command: Discard, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    discarded = lifecycle.discard(lifecycle.store.find(command.sample), command.by, command.reason)
    scanner.release(discarded)
    return summary(discarded)


def _reopen(command: Reopen, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    sample = lifecycle.store.find(command.sample)
    if sample.state in ("review", "incomplete"):
        return summary(scanner.scan_further(sample, command.by, command.reason))
    return summary(lifecycle.reopen(sample, command.by, command.reason))


def _review(command: Review, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    sample = lifecycle.store.find(command.sample)
    with lifecycle.database.transaction():
        if command.cells or command.undo or command.missed or command.unmark or command.note:
            sample = answer(lifecycle, sample, command)
        return summary(sign(lifecycle, sample, command.by, command.reason) if command.done else sample)


def _erase(command: Erase, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    sample = lifecycle.store.find(command.sample)
    left = lifecycle.erase(sample, command.by, command.reason)
    return {"id": sample.id, "state": "erased", "left": [str(path) for path in left]}


def _resend(command: Resend, lifecycle: Lifecycle, scanner: Scanner) -> Answer:
    """Put results into the outbox again though the broker took them long ago; damaged ones stay."""
    if not lifecycle.config.mqtt.enabled:
        raise SampleError("mqtt.enabled is false: nothing can be sent")
    sent = damaged = 0
    outbox = Outbox(lifecycle.database)
    with lifecycle.database.transaction():
        for number, result_id, payload in lifecycle.numbers.between(command.first, command.last):
            stored = {} if payload is None else json.loads(payload)
            if payload is None or stored["number"] != number:
                damaged += 1
                continue
            outbox.put_again(result_id, topic(Result, stored["site"], stored["device"]), payload)
            sent += 1
    return {"results": sent, "left_out": f"{damaged} more are damaged on the disk and are not sent" if damaged else ""}


_HANDLERS: Mapping[type[Command], Callable[[Any, Lifecycle, Scanner], Answer]] = {
    Start: _start,
    Stop: _stop,
    Discard: _discard,
    Reopen: _reopen,
    Review: _review,
    Erase: _erase,
    Resend: _resend,
}
