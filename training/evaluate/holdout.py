"""The look at `erythrocytes_idb1`, with everything frozen: no figure of it may change anything, and each is logged."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from edge.errors import StorageError
from edge.screening.calls import called
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import Pixels
from training.data.datasets import IDB1_UM_PER_PX, read_idb1, read_pixels
from training.evaluate.estimates import Figure
from training.evaluate.predict import FieldReader
from training.evaluate.predictions import SICKLE
from training.fit.thresholds import ABSTAIN
from training.metrics import bootstrap
from training.run_folder import RunDir, write_text

HEAD = """# Held-out evaluations on erythrocytes_idb1

The set judges the shipped pair after everything is fixed. Each evaluation is a line here, whatever it showed: first in
colour, then in grey.

| date (UTC) | commit | threshold | result |
|---|---|---|---|
"""


def held_out_evaluation(
    run: RunDir, root: Path, threshold: float, progress: ReportProgress = quiet
) -> dict[str, Figure]:
    """Read each crop with the shipped pair, in colour and in grey, at one threshold.

    Elongated cells are sickle, circular and other ones are not.
    """
    cells = read_idb1(root)
    reader = FieldReader(*run.shipped())

    def is_sickle(pixels: Pixels) -> bool:
        prob = reader.crop(pixels, IDB1_UM_PER_PX)
        return bool(called(prob[None], threshold, ABSTAIN)[0] == SICKLE)

    said = np.zeros((len(cells), 2), bool)
    for i, cell in enumerate(cells):
        pixels = read_pixels(cell.path)
        said[i] = is_sickle(pixels), is_sickle(luminance(pixels))
        progress("erythrocytes_idb1", i + 1, len(cells))
    label = np.array([cell.label for cell in cells])
    in_grey = {f"{name}_in_grey": figure for name, figure in judged(said[:, 1], label).items()}
    return {**judged(said[:, 0], label), **in_grey}


def luminance(pixels: Pixels) -> Pixels:
    """Return a picture, uint8 (H, W, 3) RGB, without colour.

    The luma of ITU-R BT.601 in all three channels.
    """
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def judged(said: np.ndarray, label: np.ndarray) -> dict[str, Figure]:
    """Compare sickle calls, bool (N,), with the labels (N,).

    Nobody knows which cells share a slide: the intervals take them as independent, and are too narrow.
    """
    true = label == "elongated"

    def balanced(rows: np.ndarray) -> float:
        t, s = true[rows], said[rows]
        return float((s[t].mean() + (~s[~t]).mean()) / 2) if t.any() and not t.all() else float("nan")

    everything = np.arange(len(said))
    low, high = bootstrap([str(i) for i in everything], balanced)
    return {
        "balanced_accuracy": Figure(balanced(everything), low, high, f"{len(said)} cells"),
        "recall_elongated": Figure.proportion(int(said[true].sum()), int(true.sum())),
        **{
            f"sickle_calls_{name}": Figure.proportion(int(said[label == name].sum()), int((label == name).sum()))
            for name in sorted(set(label[~true]))
        },
    }


def log_evaluation(page: Path, threshold: float, figures: dict[str, Figure]) -> None:
    """Add a line to the page of looks; raises StorageError."""
    try:
        before = page.read_text(encoding="utf-8") if page.exists() else HEAD
    except OSError as error:
        raise StorageError(f"{page} cannot be read: {error.strerror}. The look must be logged there") from error
    result = "; ".join(f"{name.replace('_', ' ')} {f.value:.3f} ({f.counted})" for name, f in figures.items())
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    write_text(page, f"{before}| {when} | {commit()} | {threshold:.6f} | {result} |\n")


def commit() -> str:
    """Return the commit of the source; `unknown` outside a checkout.

    Marked where files differ from it.
    """
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"
