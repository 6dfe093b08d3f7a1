"""What was seen in one labelled field, as it is kept on disk; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.screening.calls import called
from edge.types import CLASSES, RED_CELLS, Floats, Labels, Mask
from training.data.datasets import LabelledField
from training.fit.thresholds import ABSTAIN

SICKLE = CLASSES.index("sickle")
RED = [CLASSES.index(name) for name in RED_CELLS]


@dataclass(frozen=True, slots=True)
class PredictedCells:
    """What was seen in one field, read without the quality gate.

    Cells at the border are kept and marked.

    size: height and width of the picture; um_per_px: the estimated scale. boxes: float32 (N, 4) in pixels of the
    file; score (N,), prob (N, 6), border bool (N,), kind (N,) into KINDS, novelty (N,). rejected: why nothing was
    read; gated: why the quality gate would have rejected the field.
    """

    key: str
    size: tuple[int, int]
    um_per_px: float | None
    rejected: str | None
    gated: str | None
    boxes: Floats
    score: Floats
    prob: Floats
    border: Mask
    kind: Labels
    novelty: Floats

    def labels(self, sickle: float) -> Labels:
        """Return the labels int8 (N,) at a sickle threshold, as the device gives them."""
        return called(self.prob, sickle, ABSTAIN)

    def above(self, scores: Sequence[float]) -> PredictedCells:
        """Return the reading as a detector of higher score thresholds, of each kind, gives it.

        A box that falls away may have hidden one of another kind, which stays hidden.
        """
        kept = self.score >= np.array(scores)[self.kind]
        return replace(self, boxes=self.boxes[kept], score=self.score[kept], prob=self.prob[kept],
                       border=self.border[kept], kind=self.kind[kept], novelty=self.novelty[kept])  # fmt: skip

    @property
    def centres(self) -> Floats:
        """Centres (N, 2) of the boxes."""
        return ((self.boxes[:, :2] + self.boxes[:, 2:]) / 2).astype(np.float32)

    def to_json(self) -> str:
        """Write one line of JSON."""
        head = {"key": self.key, "size": self.size, "um_per_px": self.um_per_px}
        why = {"rejected": self.rejected, "gated": self.gated}
        arrays = {
            "boxes": self.boxes.astype(float).round(2).tolist(),
            "score": self.score.astype(float).round(5).tolist(),
            "prob": self.prob.astype(float).round(7).tolist(),
            "border": self.border.astype(int).tolist(),
            "kind": self.kind.tolist(),
            "novelty": self.novelty.astype(float).round(4).tolist(),
        }
        return json.dumps({**head, **why, **arrays}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> PredictedCells:
        """Read a line written by `to_json`."""
        d = json.loads(line)
        return cls(
            d["key"], (d["size"][0], d["size"][1]), d["um_per_px"], d["rejected"], d["gated"],
            np.array(d["boxes"], np.float32).reshape(-1, 4), np.array(d["score"], np.float32),
            np.array(d["prob"], np.float32).reshape(-1, len(CLASSES)), np.array(d["border"], bool),
            np.array(d["kind"], np.int8), np.array(d["novelty"], np.float32),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prediction:
    """A labelled field and what was seen in it."""

    field: LabelledField
    reading: PredictedCells


def of(seen: Iterable[Prediction], dataset: str, label: str | None = None) -> list[Prediction]:
    """Return the fields of one set, and of one label."""
    return [s for s in seen if s.field.dataset == dataset and label in (None, s.field.label)]
