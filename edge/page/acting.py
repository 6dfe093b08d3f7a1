"""What people do to samples at the page: one thing after the other, and whoever comes second is told who was first."""

from __future__ import annotations

import threading
from typing import Any

from edge.api.device import Device
from edge.errors import SampleError
from edge.sample.commands import Answer, Command, Discard, Reopen, Review, Start, Stop
from edge.sample.handlers import summary
from edge.sample.sample_row import StoredSample
from edge.storage.database import Database
from edge.storage.users import Users

REFUSED = "Nothing was changed"


class Acting:
    """Does commands as long as what a person saw still holds. Any thread may call it.

    One at a time: of two people who press at the same moment, or of a double click, the second sees what the first did.
    """

    def __init__(self, device: Device, users: Users) -> None:
        self._device, self._users, self._lock = device, users, threading.Lock()
        self._store = device.lifecycle.store

    def do(self, command: Command, seen: str) -> Answer:
        """Do what is asked.

        Args:
            command: what; the sample by its identifier.
            seen: `version_of` the sample when the person's page was made; for start and stop the identifier of the
                sample that was being scanned then, or nothing.

        Raises:
            SampleError: Somebody was quicker; it says who, and what the sample is now.
            EdgeError: As the command.
        """
        with self._lock:
            done = self._done_before(command, seen)
            if done is not None:
                return done
            answer = self._device.commands.ask(command)
            action = "signed" if isinstance(command, Review) else command.command
            self._users.note(command.by, action, str(answer["id"]))
            return answer

    def _done_before(self, command: Command, seen: str) -> Answer | None:
        """Return what came of the same command, where it is the second of a double click.

        Raises:
            SampleError: What the person saw is no longer so.
        """
        if isinstance(command, Start):
            return self._begun_before(command)
        if isinstance(command, Stop):
            return self._stopped_before(command, seen)
        if isinstance(command, Discard | Reopen | Review):
            self._require_unchanged(self._store.find(command.sample), command.by, seen)
        return None

    def _begun_before(self, command: Start) -> Answer | None:
        scanned = self._store.scanned()
        if scanned is None:
            return None
        by = self._steps(scanned)[-1]["by"]
        if (scanned.code, by) == (command.sample, command.by):
            return summary(scanned)
        raise SampleError(
            f"sample {scanned.code} is being scanned: {_whom(by, command.by)} began it. Stop it first: one sample is "
            f"read at a time. {REFUSED}"
        )

    def _stopped_before(self, command: Stop, seen: str) -> Answer | None:
        scanned = self._store.scanned()
        if scanned is not None and scanned.id == seen:
            return None
        ended = next((one for one in self._store.newest(50) if one.id == seen), None)
        if ended is None and scanned is None:
            raise SampleError(f"no sample is being scanned. {REFUSED}")
        if ended is not None and scanned is None and self._steps(ended)[-1]["by"] == command.by:
            return summary(ended)
        was = f"sample {ended.code} is {self._how(ended, command.by)}" if ended else "your page was of another sample"
        now = f"; sample {scanned.code} is being scanned now" if scanned else ""
        raise SampleError(f"{was}{now}. {REFUSED}")

    def _require_unchanged(self, sample: StoredSample, by: str, seen: str) -> None:
        if seen != version_of(self._device.lifecycle.database, sample):
            raise SampleError(
                f"sample {sample.code} was changed since your page was made: it is {self._how(sample, by)}. {REFUSED}: "
                "look at it again, then decide"
            )

    def _how(self, sample: StoredSample, by: str) -> str:
        last = self._steps(sample)[-1]
        reason = f" ({last['reason']})" if last["reason"] else ""
        return f"{sample.state}, by {_whom(last['by'], by)}{reason}"

    def _steps(self, sample: StoredSample) -> list[dict[str, Any]]:
        return self._store.history(sample.id)


def _whom(name: str, by: str) -> str:
    return "you" if name == by else name


def version_of(database: Database, sample: StoredSample) -> str:
    """Return what changes with each step of a sample's life, and each answer and mark."""
    ((steps, answers, marks),) = database.read(
        "SELECT (SELECT COUNT(*) FROM history WHERE sample_id = ?1), "
        "(SELECT COUNT(*) FROM reviews WHERE sample_id = ?1), (SELECT COUNT(*) FROM marks WHERE sample_id = ?1)",
        sample.id,
    )
    return f"{steps}.{answers}.{marks}"
