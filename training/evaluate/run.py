"""Measures a training run on fields that its networks have not seen, and hands the shipped pair over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.system.progress_bars import ReportProgress, quiet
from edge.types import Floats, Pixels
from edge.vision.classify import crops
from edge.vision.scale import to_canonical
from training.data.crops import CROP_PX, SICKLE_FREE
from training.data.datasets import FOLDS, LabelledField, read_pixels, read_txl
from training.data.sets import SETS, read_set
from training.evaluate import calibration, detection, novelty_limits, shortcut_tests, sickle_calls, simulated_samples
from training.evaluate.estimates import SHIPPED, Figure, LogOdds, Thresholds
from training.evaluate.ground_truth import ground_truth
from training.evaluate.predict import read_fields
from training.evaluate.predictions import Prediction, of
from training.fit.classifier import restored as restored_classifier
from training.fit.completed_labels import LIKELY_UM_PER_PX
from training.fit.detector import restored as restored_detector
from training.fit.release import hand_over
from training.fit.thresholds import ABSTAIN, SCORES, SECOND_LOOK
from training.run_folder import RunDir, digest, write_text

TARGET = 0.001
"""Rate of false calls that thresholds are chosen for: on microscopes that nobody trained on there are several times as
many (docs/decisions/0067)."""

CURVE = (0.001, 0.002, 0.003, 0.005)
"""Rates of false calls at which recall is given."""

LABELLED = ("uganda_scd", "chula_rbc12")
"""Sets whose cells have labels: thresholds and calibration are chosen on these, novelty limits on all that teach."""

SAMPLE_PX = 256
"""Side of the pictures on which an exported network is compared with the trained one."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured.

    seen: out-of-fold readings of the sets that teach, but `txl_pbc`. thresholds, log_odds: of each fold, and the
    shipped pair's at SHIPPED. figures: by section and name.
    """

    seen: list[Prediction]
    thresholds: dict[int, float]
    log_odds: LogOdds
    limit_of_blank: float
    figures: dict[str, dict[str, Figure]]

    def to_json(self, run: RunDir, target: float) -> str:
        """Write what was measured, and by what."""
        weights = [*run.shipped(), *(path for fold in FOLDS for path in run.for_fold(fold))]
        content: dict[str, Any] = {
            "sicklescope": version("sicklescope"),
            "weights": {path.name: digest(path) for path in weights},
            "target_rate": target,
            "thresholds": {"shipped" if k == SHIPPED else str(k): v for k, v in self.thresholds.items()},
            "log_odds": {"shipped" if k == SHIPPED else str(k): v for k, v in self.log_odds.items()},
            "limit_of_blank": self.limit_of_blank,
            "figures": {part: {k: _finite(asdict(f)) for k, f in rows.items()} for part, rows in self.figures.items()},
        }
        return json.dumps(content, indent=1) + "\n"


def _finite(figure: dict[str, Any]) -> dict[str, Any]:
    """Replace what is not a number by null, which JSON knows."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in figure.items()}


def evaluate(
    run: RunDir,
    root: Path,
    target: float = TARGET,
    fields_max: int | None = None,
    transferred: bool = True,
    progress: ReportProgress = quiet,
) -> Evaluation:
    """Read every field out of fold, count the figures and write the release.

    Thresholds are chosen between the two.

    fields_max: at most so many fields of each set, fold and label. transferred: read the changed fields too.
    Raises ModelError when weights are missing, DataError when pictures or labels are, StorageError.
    """
    torch.set_num_threads(1)  # two fields are read at a time
    read = read_out_of_fold(run, root, fields_max, progress)
    novelty = {fold: novelty_limits.chosen([s for s in read if s.field.fold != fold]) for fold in (*FOLDS, SHIPPED)}
    seen = [novelty_limits.judged(s, novelty[s.field.fold]) for s in read]
    thresholds = chosen_thresholds(seen, target)
    blank = simulated_samples.limit_of_blank(of(seen, "uganda_scd", "negative"), thresholds)
    log_odds = calibration.chosen_log_odds(ground_truth(labelled(seen), thresholds))
    write_release(run, seen, thresholds[SHIPPED], log_odds[SHIPPED], novelty[SHIPPED], blank.value)
    validation = read_fields(run.shipped(), thinned(read_txl(root, "val"), fields_max), run.readings / "txl-val.jsonl",
                             progress)  # fmt: skip
    validation = [novelty_limits.judged(s, novelty[SHIPPED]) for s in validation]
    figures = counted(seen, validation, thresholds, log_odds, blank)
    if transferred:
        uganda, chula = of(seen, "uganda_scd"), of(seen, "chula_rbc12")
        changed = shortcut_tests.Changed(run, novelty, progress)
        figures["field_score"] = shortcut_tests.field_scores(changed, uganda, thresholds, log_odds)
        figures["transfer"] = {
            **shortcut_tests.pasted_cells(changed, uganda, thresholds),
            **shortcut_tests.exchanged_looks(changed, uganda, chula, thresholds),
        }
    return Evaluation(seen, thresholds, log_odds, blank.value, figures)


def counted(
    seen: list[Prediction],
    validation: list[Prediction],
    thresholds: Thresholds,
    log_odds: LogOdds,
    blank: Figure,
) -> dict[str, dict[str, Figure]]:
    """Count the figures of fields as they were taken, by section.

    blank: the limit of blank of the contract.
    """
    uganda, chula = of(seen, "uganda_scd"), of(seen, "chula_rbc12")
    known = ground_truth(labelled(seen), thresholds)
    return {
        "detection": detection.detection(validation, thresholds[SHIPPED]),
        "counts": detection.counts(chula, thresholds),
        "sickle": sickle_figures(uganda, chula, thresholds),
        "mimics": sickle_calls.mimics(chula, thresholds),
        "sickle_free": sickle_free_figures(seen, thresholds),
        "folds": fold_figures(uganda, chula, thresholds),
        "curve": curve(uganda, chula),
        "calibration": calibration.calibration(known, log_odds),
        "abstention": calibration.abstention(known),
        "in_silico": {
            "limit_of_blank_of_single_groups": blank,
            **simulated_samples.samples(uganda, thresholds, blank.value),
        },
        "field_score": {"auc_colour": sickle_calls.field_auc(uganda, thresholds, log_odds)},
        "novelty": {
            "fields_refused": novelty_limits.refused(seen),
            "fields_refused_txl_validation": novelty_limits.refused(validation),
            "cells_not_named": novelty_limits.unnamed(seen),
            "cells_not_named_txl_validation": novelty_limits.unnamed(validation),
        },
    }


def thinned(fields: Iterable[LabelledField], most: int | None) -> list[LabelledField]:
    """Return at most so many fields of each set, fold and label."""
    taken: dict[tuple[str, int, str], int] = {}
    kept = []
    for field in fields:
        key = field.dataset, field.fold, field.label
        taken[key] = taken.get(key, 0) + 1
        if most is None or taken[key] <= most:
            kept.append(field)
    return kept


def read_out_of_fold(run: RunDir, root: Path, fields_max: int | None, progress: ReportProgress) -> list[Prediction]:
    """Read fields of all sets but `txl_pbc` with networks that have never seen their fold."""
    names = [name for name in SETS if name not in run.left_out]
    fields = thinned((field for name in names for field in read_set(root, name)), fields_max)
    seen = []
    for fold in FOLDS:
        mine = [f for f in fields if f.fold == fold]
        seen += read_fields(run.for_fold(fold), mine, run.readings / f"fold{fold}.jsonl", progress)
    return seen


def labelled(seen: list[Prediction]) -> list[Prediction]:
    """Return the fields of LABELLED."""
    return [s for s in seen if s.field.dataset in LABELLED]


def chosen_thresholds(seen: list[Prediction], target: float) -> dict[int, float]:
    """Choose the sickle threshold of each fold on the other folds only.

    The shipped one is chosen on all.
    """
    thresholds = {}
    for fold in (*FOLDS, SHIPPED):
        others = [s for s in seen if s.field.fold != fold]
        negative, chula = of(others, "uganda_scd", "negative"), of(others, "chula_rbc12")
        thresholds[fold] = sickle_calls.lowest_threshold(negative, chula, target)
    return thresholds


def sickle_figures(uganda: list[Prediction], chula: list[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Recall of boxed sickle cells, and false calls."""
    positive, negative = of(uganda, "uganda_scd", "positive"), of(uganda, "uganda_scd", "negative")
    rates = sickle_calls.false_calls(negative, thresholds)
    return {
        "recall": sickle_calls.recall(positive, thresholds),
        "recall_with_quality_gate": sickle_calls.recall(positive, thresholds, gate=True),
        "boxes_called_or_abstained": sickle_calls.offered(positive, thresholds),
        "abstained_negative_fields": sickle_calls.abstained(negative, thresholds),
        "false_calls_negative_fields": rates["pooled"],
        "false_calls_worst_tenth": rates["worst_tenth"],
        "false_calls_chula_normal": sickle_calls.normal_calls(chula, thresholds),
        "calls_in_no_box_of_positive_fields": sickle_calls.unboxed_calls(positive, thresholds),
    }


def sickle_free_figures(seen: list[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Return false calls and abstained cells of sets without sickle cells or labels.

    Elliptocytosis stands apart.
    """
    figures = {}
    for name in SICKLE_FREE:
        mine = [s for s in of(seen, name) if s.field.label != "elliptocytosis"]
        if mine:
            figures[f"false_calls_{name}"] = sickle_calls.false_calls(mine, thresholds)["pooled"]
            figures[f"abstained_{name}"] = sickle_calls.abstained(mine, thresholds)
    return figures


def fold_figures(uganda: list[Prediction], chula: list[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Recall and realised rate of each fold."""
    figures = {}
    for fold in FOLDS:
        mine, others = ([s for s in seen if s.field.fold == fold] for seen in (uganda, chula))
        for name, figure in sickle_figures(mine, others, thresholds).items():
            figures[f"{name}_fold{fold}"] = figure
    return figures


def curve(uganda: list[Prediction], chula: list[Prediction]) -> dict[str, Figure]:
    """Recall where all folds share the threshold that just realises a rate of false calls.

    For comparison only.
    """
    positive, negative = of(uganda, "uganda_scd", "positive"), of(uganda, "uganda_scd", "negative")
    figures = {}
    for rate in CURVE:
        threshold = sickle_calls.lowest_threshold(negative, chula, rate)
        everywhere: Mapping[int, float] = dict.fromkeys(FOLDS, threshold)
        figures[f"recall_at_{100 * rate:.1f}_percent"] = sickle_calls.recall(positive, everywhere)
    return figures


def write_release(
    run: RunDir,
    seen: list[Prediction],
    sickle: float,
    log_odds: tuple[float, float],
    novelty: novelty_limits.Limits,
    blank: float,
) -> None:
    """Hand the shipped pair over to `sicklescope-export onnx`.

    With real pictures to compare the two on.
    """
    fields = []
    for s in seen[:: max(1, len(seen) // 4)]:
        field = to_canonical(read_pixels(s.field.path), s.reading.um_per_px or LIKELY_UM_PER_PX)
        fields.append(crops(field, middle_of(field), SAMPLE_PX)[0])
    pictures = np.stack(fields)
    n, side = len(fields), SAMPLE_PX // CROP_PX
    tiles = pictures.reshape(n, side, CROP_PX, side, CROP_PX, 3).transpose(0, 1, 3, 2, 4, 5)
    detector, classifier = run.shipped()
    name = version("sicklescope")
    scores = dict(zip(("score", "score_wbc", "score_platelet"), SCORES, strict=True))
    hand_over(restored_detector(detector), run.release, pictures, name, scores)
    thresholds = {"sickle": sickle, "abstain": ABSTAIN, "second_look": SECOND_LOOK, **novelty.as_thresholds()}
    hand_over(restored_classifier(classifier), run.release, tiles.reshape(-1, CROP_PX, CROP_PX, 3), name, thresholds,
              limit_of_blank=blank, log_odds=log_odds)  # fmt: skip


def middle_of(field: Pixels) -> Floats:
    """Return a box (1, 4) round the middle of a picture."""
    h, w = field.shape[:2]
    return np.array([[w / 2 - 1, h / 2 - 1, w / 2 + 1, h / 2 + 1]], np.float32)


def write_evaluation(evaluation: Evaluation, run: RunDir, target: float) -> Path:
    """Write `evaluation.json` into the run; returns its path."""
    path = run.path / "evaluation.json"
    write_text(path, evaluation.to_json(run, target))
    return path
