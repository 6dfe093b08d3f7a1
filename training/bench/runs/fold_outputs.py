"""What a run knows of each fold: the probabilities of cells it never learnt from, and of those that calibrated it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from edge.errors import ConfigError, ModelError
from edge.types import Floats
from training.run_folder import write_bytes, write_text

OUTCOME, CONFIG, FIGURES = "outcome.npz", "config.json", "figures.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fold. test and check.

    Rows of the set that were judged, and that stopped and calibrated the fit.

    prob: float32 (test, classes), check_prob: float32 (check, classes), both with `temperature` in them.
    """

    fold: int
    test: np.ndarray
    prob: Floats
    check: np.ndarray
    check_prob: Floats
    temperature: float

    def save(self, folder: Path) -> None:
        """Write it aside and rename; raises StorageError."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, fold=self.fold, test=self.test, prob=self.prob, check=self.check,
                            check_prob=self.check_prob, temperature=self.temperature)  # fmt: skip
        write_bytes(folder / OUTCOME, buffer.getvalue())


def of_fold(run: Path, fold: int) -> Path:
    """Return the folder of a fold."""
    return run / f"fold{fold}"


def loaded(folder: Path) -> Outcome:
    """Read what `Outcome.save` wrote; raises ModelError when it is damaged."""
    try:
        with np.load(folder / OUTCOME) as c:
            return Outcome(int(c["fold"]), c["test"], c["prob"], c["check"], c["check_prob"], float(c["temperature"]))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder / OUTCOME} cannot be read: {error}. Delete it and run the same command") from error


def outcomes(run: Path) -> list[Outcome]:
    """Return the folds of a finished run; raises ModelError when there are none."""
    configuration(run)
    found = [loaded(path.parent) for path in sorted(run.glob(f"fold*/{OUTCOME}"))]
    if not found or not (run / FIGURES).is_file():
        raise ModelError(f"{run} is not a finished run: run its command again, and it goes on")
    return found


def configuration(run: Path) -> dict[str, Any]:
    """Return what a run was made with; raises ModelError when it is none."""
    try:
        content: dict[str, Any] = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{run} is no run of the bench: {CONFIG} cannot be read ({error})") from error
    return content


def begin(run: Path, content: dict[str, Any]) -> None:
    """Write what a run is made with, or see that it is what it was.

    Raises ConfigError where it is not.
    """
    content = json.loads(json.dumps(content))
    if (run / CONFIG).is_file():
        before = configuration(run)
        differs = sorted(k for k in {*before, *content} if before.get(k) != content.get(k))
        if differs:
            raise ConfigError(
                f"{run} was made with other {', '.join(differs)}: choose another --out, or delete the folder"
            )
        return
    write_text(run / CONFIG, json.dumps(content, indent=1) + "\n")


def tempered(prob: Floats, temperature: float) -> Floats:
    """Return probabilities sharpened (below 1) or softened (above 1) by a temperature.

    Prob (N, classes).
    """
    logits = np.log(np.clip(prob, 1e-12, 1)) / temperature
    power = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(power / power.sum(1, keepdims=True), np.float32)


def temperature_of(prob: Floats, y: np.ndarray) -> float:
    """Return the temperature that makes labels likeliest, within 0.1–10.

    Guo et al. 2017, arXiv 1706.04599.
    """

    def unlikely(log_t: float) -> float:
        at = tempered(prob, float(np.exp(log_t)))[np.arange(len(y)), y]
        return float(-np.log(np.clip(at, 1e-12, 1)).mean())

    return float(np.exp(minimize_scalar(unlikely, bounds=(np.log(0.1), np.log(10)), method="bounded").x))


def calibrated(fold: int, test: np.ndarray, prob: Floats, check: np.ndarray, check_prob: Floats,
               y: Sequence[int] | np.ndarray) -> Outcome:  # fmt: skip
    """Return the outcome of a fold with the temperature that its validation cells ask for.

    y: labels of the set.
    """
    t = temperature_of(check_prob, np.asarray(y)[check])
    return Outcome(fold, test, tempered(prob, t), check, tempered(check_prob, t), t)
