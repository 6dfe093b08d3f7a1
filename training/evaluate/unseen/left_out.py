"""What a pair makes of sets that it never saw: false calls, abstained cells, pasted sickle cells, refused fields.

Rates are of the frozen red cells of each picture (`reference`). Variants are compared on half of the fields; each look
at the other half is logged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.errors import ModelError, StorageError
from edge.runtime.contract import ROLES, Contract, read_contract
from edge.runtime.onnx import cpu_session, metadata_of
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import ABSTAINED
from training.data.datasets import LabelledField, read_uganda
from training.data.sets import SETS, read_set
from training.evaluate.estimates import Figure
from training.evaluate.holdout import commit
from training.evaluate.predict import read_fields
from training.evaluate.predictions import SICKLE, Prediction
from training.evaluate.sickle_calls import nearness
from training.evaluate.unseen.reference import PASTED, Paster, counted, freeze, red_cells, reference_counts
from training.evaluate.unseen.robustness import robustness
from training.run_folder import digest, write_text

HALVES = ("choose", "judge", "all")

GROUP_CELLS_MIN = 1000
"""Groups of fewer frozen red cells have no row of their own."""

HEAD = """# Held-out evaluations on sets that a pair never saw

Variants are chosen on half of the fields, by a hash of the name. Each look at the other half is a line here.

| date (UTC) | commit | pair | sets, half | result |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ONNX files."""

    detector: Path
    classifier: Path

    @property
    def weights(self) -> tuple[Path, Path]:
        """Both files."""
        return self.detector, self.classifier

    @property
    def contract(self) -> Contract:
        """The classifier's contract; raises ModelError."""
        session = cpu_session(self.classifier, f"classifier {self.classifier}", 1)
        return read_contract(metadata_of(session), "classifier", self.classifier)

    @property
    def name(self) -> str:
        """First digits of both digests."""
        return " + ".join(digest(path)[:12] for path in self.weights)


def pair_in(folder: Path, form: str) -> Pair:
    """Name the files of a form in a folder; raises ModelError when one is absent."""
    files = [folder / f"{role}{'' if form == 'fp32' else '.' + form}.onnx" for role in ROLES]
    if absent := [str(path) for path in files if not path.is_file()]:
        raise ModelError(
            f"{', '.join(absent)} not found. Name a folder of detector and classifier files, and their form"
        )
    return Pair(*files)


@dataclass(frozen=True, slots=True)
class Looked:
    """What is read.

    half: one of HALVES; cache: folder of the readings; fields_max: of each set, at most; workers: fields at a time.
    """

    half: str
    cache: Path
    fields_max: int | None = None
    workers: int = 2
    progress: ReportProgress = field(default=quiet)


def in_half(one: LabelledField, half: str) -> bool:
    """Whether a field belongs to a half.

    A hash of its name decides, so that no new field moves another.
    """
    name = f"{one.dataset}/{one.path.parent.name}/{one.path.name}"
    even = hashlib.sha256(name.encode()).digest()[0] % 2 == 0
    return half == "all" or even == (half == "choose")


def fields_of(root: Path, name: str, looked: Looked) -> list[LabelledField]:
    """Read the fields without sickle cells of a set; raises DataError.

    Of `uganda_scd` the negative ones.
    """
    chosen = [one for one in read_set(root, name) if one.label != "positive" and in_half(one, looked.half)]
    return chosen[: looked.fields_max]


def left_out(pair: Pair, root: Path, names: Sequence[str], looked: Looked) -> dict[str, dict[str, Figure]]:
    """Read sets and count the figures of each; raises ModelError, DataError, StorageError."""
    sickle, counts = pair.contract.thresholds["sickle"], reference_counts()
    paster = Paster(read_uganda(root))
    figures = {}
    for name in names:
        fields = fields_of(root, name, looked)
        seen = read_fields(pair.weights, fields, looked.cache / f"{name}.jsonl", looked.progress,
                           workers=looked.workers)  # fmt: skip
        figures[name] = of_negatives(seen, counts, sickle)
        targets = paster.labelled(fields)
        if targets:
            cache = looked.cache / f"{name}-pasted-{digest(PASTED)[:8]}.jsonl"
            there = read_fields(pair.weights, targets, cache, looked.progress, paster.picture, looked.workers)
            figures[name] |= of_pasted(there, sickle)
    return figures


def frozen(pair: Pair, root: Path, looked: Looked) -> None:
    """Read everything and write the reference anew; raises ModelError, DataError, StorageError."""
    targets: list[Prediction] = []
    for name in SETS:
        fields = fields_of(root, name, looked)
        targets += read_fields(pair.weights, fields, looked.cache / f"{name}.jsonl", looked.progress,
                               workers=looked.workers)  # fmt: skip
    positive = [one for one in read_uganda(root) if one.label == "positive"]
    sources = read_fields(pair.weights, positive, looked.cache / "positive.jsonl", looked.progress,
                          workers=looked.workers)  # fmt: skip
    freeze(targets, sources, pair.contract.thresholds["sickle"])


def of_negatives(seen: Sequence[Prediction], counts: Mapping[str, int], sickle: float) -> dict[str, Figure]:
    """Count what is called, abstained and refused in fields without sickle cells."""
    cells = counted([s.field for s in seen], counts)
    figures = {}
    for name, rows in _parts(seen, cells).items():
        chosen, n = [seen[i] for i in rows], [cells[i] for i in rows]
        labels = [s.reading.labels(sickle)[~s.reading.border] for s in chosen]
        groups = _bootstrap_groups(chosen)
        called, abstained = ([int((found == kind).sum()) for found in labels] for kind in (SICKLE, ABSTAINED))
        figures[f"false_calls{name}"] = Figure.ratio(called, n, groups)
        figures[f"abstained{name}"] = Figure.ratio(abstained, n, groups)
        figures[f"red_cells{name}"] = Figure.ratio([red_cells(s, sickle) for s in chosen], n, groups)
    readable = [s for s in seen if s.reading.rejected is None]
    refused = [float(s.reading.gated is not None) for s in readable]
    figures["fields_refused"] = Figure.ratio(refused, [1.0] * len(refused), _bootstrap_groups(readable))
    return figures


def _parts(seen: Sequence[Prediction], cells: Sequence[int]) -> dict[str, list[int]]:
    """Return which rows each line of the table counts: all, elliptocytosis apart, and large groups of `krd_wbc`."""
    apart = [i for i, s in enumerate(seen) if s.field.label == "elliptocytosis"]
    parts = {"": [i for i in range(len(seen)) if i not in set(apart)]}
    if apart:
        parts["_elliptocytosis"] = apart
    for group in sorted({s.field.group for s in seen if s.field.dataset == "krd_wbc"}):
        rows = [i for i, s in enumerate(seen) if s.field.group == group]
        if sum(cells[i] for i in rows) >= GROUP_CELLS_MIN:
            parts[f"_{group}"] = rows
    return parts


def _bootstrap_groups(seen: Sequence[Prediction]) -> list[str]:
    """Return what the bootstrap draws: groups, or single fields of `krd_wbc`, whose four groups are too few.

    An interval by field is a lower bound on the uncertainty.
    """
    return [s.reading.key if s.field.dataset == "krd_wbc" else s.field.group for s in seen]


def of_pasted(there: Sequence[Prediction], sickle: float) -> dict[str, Figure]:
    """Count the pasted sickle cells that are called, and those called or abstained."""
    rows = [_pasted_found(s, sickle) for s in there]
    groups, wanted = _bootstrap_groups(there), [len(s.field.boxes) for s in there]
    return {
        "pasted_called": Figure.ratio([row[0] for row in rows], wanted, groups),
        "pasted_offered": Figure.ratio([row[1] for row in rows], wanted, groups),
    }


def _pasted_found(s: Prediction, sickle: float) -> tuple[int, int]:
    labels = s.reading.labels(sickle)
    counts = []
    for kinds in ((SICKLE,), (SICKLE, ABSTAINED)):
        centres = s.reading.centres[np.isin(labels, kinds) & ~s.reading.border]
        counts.append(int(np.isfinite(nearness(centres, s.field.boxes)).any(0).sum()))
    return counts[0], counts[1]


def robust(pair: Pair, root: Path, looked: Looked) -> dict[str, Figure]:
    """Read some fields of every set, `uganda_scd`'s positive ones with them, in two forms each."""
    fields = [one for name in ("krd_wbc", "chula_rbc12") for one in fields_of(root, name, looked)]
    positive = [one for one in read_uganda(root) if one.label == "positive" and in_half(one, looked.half)]
    fields += positive[: looked.fields_max]
    return robustness(pair.weights, fields, pair.contract.thresholds["sickle"], looked.cache, looked.progress,
                      looked.workers)  # fmt: skip


def markdown(figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """Return the figures as Markdown tables."""

    def said(f: Figure) -> str:
        return f"{100 * f.value:.2f} % | {100 * f.low:.2f} to {100 * f.high:.2f} % | {f.counted}"

    lines = []
    for name, rows in figures.items():
        lines += [f"## {name}", "", "| figure | value | 95 % interval | counted |", "|---|---|---|---|"]
        lines += [f"| {key.replace('_', ' ')} | {said(f)} |" for key, f in rows.items()]
        lines.append("")
    return "\n".join(lines)


def log_look(
    page: Path, pair: Pair, names: Sequence[str], half: str, figures: Mapping[str, Mapping[str, Figure]]
) -> None:
    """Add a line to the page of looks; raises StorageError."""
    try:
        before = page.read_text(encoding="utf-8") if page.exists() else HEAD
    except OSError as error:
        raise StorageError(f"{page} cannot be read: {error.strerror}. The look must be logged there") from error
    said = "; ".join(
        f"{name} {key.replace('_', ' ')} {100 * f.value:.2f} % ({f.counted})"
        for name, rows in figures.items() for key, f in rows.items()
    )  # fmt: skip
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    write_text(page, f"{before}| {when} | {commit()} | {pair.name} | {', '.join(names)}, {half} | {said} |\n")
