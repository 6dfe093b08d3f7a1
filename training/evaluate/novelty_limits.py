"""From which novelty on a cell is not named and a field refused; chosen on what was read out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.screening.accumulator import FAMILIAR_MIN
from edge.types import Reason
from training.evaluate.estimates import Figure
from training.evaluate.predictions import Prediction

CELLS_NAMED, FIELDS_READ = 99.95, 99.0
"""Percentiles of cells and of fields, read by networks that never saw their fold, which are taken as familiar."""

MARGIN = 1.1
"""Times the percentile is the limit: the next clinic's slides are smears too. Little is enough, for novelty is measured
between slides. With both two of some 180 places of `uganda_scd` and `chula_rbc12` are refused out of fold, none of
`txl_pbc` validation, and drawn textures are (docs/decisions/0038).
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of novelty for cells and for fields.

    Above the first a cell is not named; above the second the median of whole cells refuses the field.
    """

    cell: float
    field: float

    def as_thresholds(self) -> dict[str, float]:
        """Return what a contract says of them."""
        return {"novelty_cell": self.cell, "novelty_field": self.field}


NoveltyLimits = Mapping[int, Limits]
"""Limits of each fold, chosen on the others."""


def chosen(seen: Sequence[Prediction]) -> Limits:
    """Choose limits that nearly all of the cells and fields are below.

    Where none was read, a usual cell's 1 stands.
    """
    usual = np.ones(1, np.float32)
    cells = [s.reading.novelty[~s.reading.border] for s in seen if not s.reading.border.all()] or [usual]
    fields = [middle for s in seen if (middle := _middle(s)) is not None] or [1.0]
    return Limits(
        round(MARGIN * float(np.percentile(np.concatenate(cells), CELLS_NAMED)), 3),
        round(MARGIN * float(np.percentile(fields, FIELDS_READ)), 3),
    )


def judged(s: Prediction, limits: Limits) -> Prediction:
    """Return what the device makes of a reading.

    Strange cells have no probability, a strange field is gated.
    """
    r, middle = s.reading, _middle(s)
    refused = middle is not None and middle > limits.field
    prob = np.where(r.novelty[:, None] <= limits.cell, r.prob, 0).astype(np.float32)
    return Prediction(s.field, replace(r, prob=prob, gated=r.gated or (Reason.UNFAMILIAR.value if refused else None)))


def refused(seen: Sequence[Prediction]) -> Figure:
    """Return the part of fields that are refused as unfamiliar, of those `judged`."""
    return Figure.ratio(
        [float(s.reading.gated == Reason.UNFAMILIAR.value) for s in seen],
        [1.0] * len(seen),
        [s.field.group for s in seen],
    )


def unnamed(seen: Sequence[Prediction]) -> Figure:
    """Return the part of the `judged` whole cells that are too strange to be named."""
    strange = [~s.reading.prob.any(1) & ~s.reading.border for s in seen]
    return Figure.ratio(
        [float(part.sum()) for part in strange],
        [float((~s.reading.border).sum()) for s in seen],
        [s.field.group for s in seen],
    )


def _middle(s: Prediction) -> float | None:
    whole = s.reading.novelty[~s.reading.border]
    return float(np.median(whole)) if len(whole) >= FAMILIAR_MIN else None
