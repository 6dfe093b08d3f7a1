"""A sample while it is scanned: what is read of it is counted, kept on the disk, and ends by a rule or by word."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.metadata import version
from uuid import UUID, uuid4

from edge.camera.base import RejectedInputError
from edge.camera.capture_thread import Item
from edge.config.model import Config, StopConfig
from edge.errors import SampleError
from edge.publish.composer import Composer, Life, Models
from edge.publish.messages import Result
from edge.sample.accumulator import Sample
from edge.sample.cell_records import FieldNews, Gatherer
from edge.sample.codes import CONTROL
from edge.sample.lifecycle import Samples
from edge.sample.store import StoredSample
from edge.types import FieldReading

INTERRUPTED = "it was read with other networks or thresholds, which cannot be mixed in one sample"


class Reader:
    """What a device reads samples with; makes the scanning of one. One thread uses it."""

    def __init__(self, config: Config, samples: Samples, composer: Composer, models: Models, camera: str) -> None:
        self.config, self.samples, self.composer, self.models = config, samples, composer, models
        self._camera = camera

    def begin(self, code: str, by: str) -> Scan:
        """Begin a new sample; raises SampleError when its code cannot be used or another is being scanned."""
        life = Life(uuid4(), self.samples.code(code))
        networks = self.models.detector_sha256, self.models.classifier_sha256
        flags = self.samples.controls.flags(code, self.config.control, networks)
        fresh = Sample(self.config, code, self.models.classifier.limit_of_blank, flags=flags)
        draft = self.composer.draft(life, fresh.counts(), fresh.verdict(), None, self.models, fresh.period())
        return Scan(self, self.samples.start(life, draft, self._setup(), by))

    def go_on(self, sample: StoredSample) -> Scan:
        """Scan a sample further that was broken off; raises SampleError when it was read with other networks."""
        draft = Result.model_validate_json(sample.draft)
        ours = self.models.as_fields()
        if any(getattr(draft, key) != ours[key] for key in ours if key != "runtime"):
            self.samples.give_up(sample, INTERRUPTED)
            raise SampleError(f"sample {sample.code} cannot go on: {INTERRUPTED}. Begin a new one")
        return Scan(self, sample)

    def _setup(self) -> str:
        """Return what a sample is read with, as JSON, beside what its results tell."""
        optics, settings = self.config.optics, {"quality", "optics", "screening"}
        calibration = optics.calibration
        return json.dumps(
            {
                "sicklescope": version("sicklescope"),
                "camera": self._camera,
                "calibration_sha256": hashlib.sha256(calibration.read_bytes()).hexdigest() if calibration else None,
                **self.models.as_fields(),
                "thresholds": {**self.models.detector.thresholds, **self.models.classifier.thresholds},
                "log_odds": self.models.classifier.log_odds,
                **self.config.model_dump(mode="json", include=settings),
            },
            ensure_ascii=False,
        )


class Scan:
    """The scanning of a sample, from now to its end."""

    def __init__(self, reader: Reader, stored: StoredSample) -> None:
        self._reader = reader
        # A control slide is always read up to the target, that one day's reading is worth as much as the next's.
        self._stop = StopConfig() if stored.code.startswith(f"{CONTROL}-") else reader.config.screening.stop
        draft = Result.model_validate_json(stored.draft)
        self.id, self.code = stored.id, stored.code
        self.sample = Sample(reader.config, stored.code, reader.models.classifier.limit_of_blank, draft)
        self._life = Life(UUID(stored.id), stored.code, stored.interruptions)
        self._gatherer = Gatherer(reader.samples.store.next_number(stored.id), draft.islands)
        self._news: list[FieldNews] = []
        self._kept_s = time.monotonic()

    def add(self, reading: FieldReading, item: Item) -> None:
        """Count a reading, and store it when it is time; raises StorageError when it cannot be."""
        index = self.sample.frames
        if isinstance(item, RejectedInputError):
            self.sample.add(reading, None)
        else:
            self.sample.add(reading, item)
            news = self._gatherer.take(reading, item.pixels, index)
            self._news += [news] if news else []
        if time.monotonic() - self._kept_s >= self._reader.config.screening.store_interval_s:
            self._reader.samples.keep(self.id, self._draft(), self._news)
            self._news.clear()
            self._kept_s = time.monotonic()

    def rule(self) -> str:
        """Return the rule by which the scanning is to end, in words, or nothing."""
        counts, target = self.sample.counts(), self._reader.config.screening.target_red_cells
        if self._stop.at_target and counts.red_cells >= target:
            return f"the target of {target} red cells was reached"
        if self._stop.fields is not None and counts.fields_read >= self._stop.fields:
            return f"{self._stop.fields} fields were read"
        if self._stop.minutes is not None and self.sample.period().duration_s >= 60 * self._stop.minutes:
            return f"{self._stop.minutes:g} minutes were over"
        return ""

    def end(self, why: str) -> Result:
        """End the scanning by a rule, or early, for `why`: its result is on the disk on return."""
        rule = self.rule()
        target = self._reader.config.screening.target_red_cells
        whole = bool(rule) or self.sample.counts().red_cells >= target
        return self._reader.samples.end(
            self.id, self._draft(), self._news, "review" if whole else "incomplete", rule or why
        )

    def _draft(self) -> Result:
        sample = self.sample
        return self._reader.composer.draft(
            self._life, sample.counts(), sample.verdict(), sample.scale, self._reader.models, sample.period()
        )
