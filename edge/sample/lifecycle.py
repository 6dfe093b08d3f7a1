"""The life of samples: idle → scanning → review → final, or incomplete; and each change with its result, as one.

Whatever is done to a sample is one transaction over its state, its cells and the result that waits for the broker.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from edge.config.model import Config
from edge.errors import SampleError
from edge.publish.composer import Composer, Life, Stage
from edge.publish.messages import Result, topic
from edge.sample.cell_records import FieldNews
from edge.sample.codes import sample_code
from edge.sample.controls import ControlBook
from edge.sample.store import ABSTAINED_NAME, Moment, Store, StoredSample
from edge.screening.verdict import wilson
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from edge.system.clock import boot_id, clock_synchronised
from edge.types import CLASSES, RED_CELLS

log = logging.getLogger(__name__)

RESUME_S = 300.0
"""A sample whose program failed goes on by itself within this time of the same boot: the slide is still there."""

DEVICE = "device"
"""Who did what nobody asked for."""

CUT_SHORT = "the power or the program failed while it was scanned"


def now() -> Moment:
    """Return the device's clocks."""
    return Moment(time.time_ns() // 1_000_000, clock_synchronised(), boot_id(), time.monotonic())


class Samples:
    """What may be done with samples. Any thread may call it, and other programs beside this one.

    Every method raises SampleError when what is asked cannot be, and StorageError as Database does.
    """

    def __init__(
        self, config: Config, database: Database, composer: Composer, clock: Callable[[], Moment] = now
    ) -> None:
        self.store = Store(database)
        self._config, self._database, self._composer, self._clock = config, database, composer, clock
        self._outbox = Outbox(database)
        self.controls = ControlBook(database, lambda: self._clock().made_ms / 1000)

    def described(self, sample: StoredSample) -> dict[str, Any]:
        """Return all that is kept of a sample but its cells, for JSON."""
        return {
            "id": sample.id,
            "sample": sample.code,
            "day": sample.day,
            "state": sample.state,
            "reason": sample.reason,
            "interruptions": sample.interruptions,
            "setup": json.loads(sample.setup),
            "draft": json.loads(sample.draft),
            "results": [json.loads(payload) for payload in self.store.results(sample.id)],
            "history": self.store.history(sample.id),
        }

    # Scanning.

    def code(self, text: str) -> str:
        """Return a sample code after checking it; raises SampleError."""
        return sample_code(text, self._config.screening.sample_pattern)

    def start(self, life: Life, draft: Result, setup: str, by: str) -> StoredSample:
        """Begin to scan a sample; setup: what it is read with."""
        moment = self._clock()
        day = datetime.fromtimestamp(moment.made_ms / 1000).astimezone().date().isoformat()
        sample = StoredSample(
            str(life.sample_id), self.code(life.code), day, "scanning", "", 0, moment.boot_id, moment.uptime_s,
            moment.made_ms, setup, draft.to_json(),
        )  # fmt: skip
        with self._database.transaction():
            self.store.add(sample)
            self.store.change(sample.id, "scanning", "", by, moment)
        return sample

    def keep(self, sample_id: str, draft: Result, news: Iterable[FieldNews]) -> None:
        """Store how far a sample is."""
        self.store.keep(sample_id, draft.to_json(), self._clock(), news)

    def end(self, sample_id: str, draft: Result, news: Iterable[FieldNews], stage: Stage, reason: str) -> Result:
        """End the scanning of a sample: its result is kept and waits for the broker."""
        with self._database.transaction():
            self.keep(sample_id, draft, news)
            result = self._bring(self.store.find(sample_id), stage, reason, DEVICE)
            self.controls.record(result)
            return result

    def recover(self, code: str | None = None) -> StoredSample | None:
        """Return the sample that was being scanned when the program or the power failed, if it can go on now.

        It can within RESUME_S on the same boot, and when no other code is asked for; else it ends as `incomplete`
        with what was counted, and may be reopened.
        """
        sample = self.store.scanned()
        if sample is None:
            return None
        moment = self._clock()
        same_slide = sample.boot_id == moment.boot_id and 0 <= moment.uptime_s - sample.uptime_s <= RESUME_S
        if not same_slide or code not in (None, sample.code):
            self.give_up(sample, CUT_SHORT)
            return None
        log.warning("sample %s goes on: %s", sample.code, CUT_SHORT)
        return self._go_on(sample, CUT_SHORT, DEVICE)

    def give_up(self, sample: StoredSample, reason: str, by: str = DEVICE) -> None:
        """End a sample that cannot go on, with what was counted."""
        log.warning("sample %s is incomplete: %s", sample.code, reason)
        with self._database.transaction():
            self._bring(sample, "incomplete", reason, by)

    def stop_unread(self, reason: str, by: str) -> StoredSample:
        """End the sample that was being scanned when the service failed, where none is there to go on with it."""
        sample = self.store.scanned()
        if sample is None:
            raise SampleError("no sample is being scanned")
        self.give_up(sample, reason, by)
        return self.store.find(sample.id)

    def _go_on(self, sample: StoredSample, reason: str, by: str) -> StoredSample:
        """Scan a sample further, where the places of its cells are no longer known."""
        draft = Result.model_validate_json(sample.draft)
        further = draft.model_copy(update={"interruptions": sample.interruptions + 1})
        with self._database.transaction():
            self.store.keep(sample.id, further.to_json(), self._clock(), [])
            self.store.change(sample.id, "scanning", reason, by, self._clock(), further.interruptions)
        return self.store.find(sample.id)

    # What people do.

    def discard(self, name: str, by: str, reason: str) -> StoredSample:
        """Say that a sample is not to be used; its result, if one left, is followed by one that says so."""
        sample = self._found(name, ("scanning", "review", "incomplete", "final"), "discarded")
        with self._database.transaction():
            if self.store.results(sample.id):
                self._bring(sample, "discarded", reason, by)
            else:
                self.store.change(sample.id, "discarded", reason, by, self._clock())
        return self.store.find(sample.id)

    def reopen(self, name: str, by: str, reason: str) -> StoredSample:
        """Bring a sample a step back: final → review, discarded → incomplete, review or incomplete → scanning."""
        sample = self._found(name, ("review", "incomplete", "final", "discarded"), "reopened")
        if sample.state in ("review", "incomplete"):
            return self._go_on(sample, reason, by)
        with self._database.transaction():
            self._bring(sample, "review" if sample.state == "final" else "incomplete", reason, by)
        return self.store.find(sample.id)

    def review(self, name: str, classes: Mapping[int, str], by: str, reason: str, done: bool) -> StoredSample:
        """Note what a person says of cells; `done` makes a sample in review final, and publishes what was reviewed."""
        sample = self._found(name, ("review", "incomplete"), "reviewed")
        wrong = sorted(set(classes.values()) - set(CLASSES))
        if wrong:
            raise SampleError(f"{', '.join(wrong)} is no class; expected one of {', '.join(CLASSES)}")
        with self._database.transaction():
            self.store.review(sample.id, classes, by, reason, self._clock())
            if done:
                self._bring(sample, "final" if sample.state == "review" else "incomplete", reason, by)
        return self.store.find(sample.id)

    def erase(self, name: str, by: str, reason: str) -> str:
        """Erase all that is kept of a sample but a tombstone: its identifier, when, by whom and why; returns that.

        What left for the broker is not called back. `reason` and `by` stay, so they must name no patient.
        """
        sample = self._found(name, ("review", "incomplete", "final", "discarded"), "erased")
        moment = self._clock()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO tombstones (sample_id, by, reason, erased_ms, clock_synchronised) VALUES (?, ?, ?, ?, ?)",
                (sample.id, by, reason, moment.made_ms, moment.clock_synchronised),
            )
            for payload in self.store.results(sample.id):
                self._outbox.delete(Result.model_validate_json(payload).id)
            self._outbox.forget_sample(sample.code)
            connection.execute("DELETE FROM samples WHERE id = ?", (sample.id,))
        self._database.forget()
        return sample.id

    def _found(self, name: str, states: tuple[str, ...], what: str) -> StoredSample:
        sample = self.store.find(name)
        if sample.state not in states:
            raise SampleError(f"sample {sample.code} is {sample.state} and cannot be {what}; {_WHEN[what]}")
        return sample

    def _bring(self, sample: StoredSample, stage: Stage, reason: str, by: str) -> Result:
        """Change a sample's state, and keep the result that says so; within a transaction."""
        before = self.store.results(sample.id)
        # The draft is as new as the scanning; a person's reviews are added to it again each time.
        draft = Result.model_validate_json(self.store.find(sample.id).draft)
        reviewed = _reviewed(draft, self.store.reviewed(sample.id))
        result = self._composer.result(draft, len(before) + 1, stage, reason, **reviewed)
        self.store.change(sample.id, stage, reason, by, self._clock())
        self.store.add_result(str(result.id), sample.id, result.revision, result.to_json())
        if self._config.mqtt.enabled:
            self._outbox.put(result.id, topic(result, self._composer.site, self._composer.device), result.to_json())
        return result


_WHEN = {
    "discarded": "it was already",
    "reopened": "stop it first",
    "reviewed": "stop it first, or reopen it when it is final",
    "erased": "stop it first",
}


def _reviewed(draft: Result, reviews: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of `Reviewed` and the words that tell them; none when nobody has looked at a cell."""
    if not reviews:
        return {}
    counts = {name: getattr(draft, name) for name in (*CLASSES, ABSTAINED_NAME)}
    for (automatic, person), number in reviews.items():
        counts[automatic] -= number
        counts[person] += number
    red, sickle = sum(counts[name] for name in RED_CELLS), counts["sickle"]
    told = draft.verdict != "withheld" and red > 0
    low, high = wilson(sickle, red) if told else (None, None)
    said = f" After review of {reviews.total()} cells: {sickle} of {red}."
    if low is not None and high is not None:
        said = f"{said[:-1]} (95 % interval {100 * low:.2f}–{100 * high:.2f} %)."
    return {
        "reviewed_cells": reviews.total(),
        **{f"reviewed_{name}": number for name, number in counts.items()},
        "reviewed_red_cells": red,
        "reviewed_fraction": sickle / red if told else None,
        "reviewed_fraction_low": low,
        "reviewed_fraction_high": high,
        "text": draft.text if draft.verdict == "withheld" else draft.text + said,
    }
