"""The look at `erythrocytes_idb1`, with everything frozen: no figure of it may change anything, and each is logged."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.errors import StorageError
from edge.vision.classify import called
from training.data import IDB1_UM_PER_PX, read_idb1, read_pixels
from training.figures import Figure
from training.metrics import bootstrap
from training.readings import Reader
from training.rundir import Progress, RunDir, quiet, write_text
from training.seen import ABSTAIN, SICKLE

HEAD = """# Looks at erythrocytes_idb1

The set judges the shipped pair once everything is frozen. Each look is a line here, whatever it showed.

| date (UTC) | commit | threshold | result |
|---|---|---|---|
"""


def look(run: RunDir, root: Path, threshold: float, progress: Progress = quiet) -> dict[str, Figure]:
    """Read each crop with the shipped pair: elongated cells are sickle, circular and other ones are not.

    Nobody knows which cells share a slide: the intervals take them as independent, and are too narrow.
    """
    cells = read_idb1(root)
    reader = Reader(*run.shipped())
    sickle = []
    for i, cell in enumerate(cells):
        prob = reader.crop(read_pixels(cell.path), IDB1_UM_PER_PX)
        sickle.append(bool(called(prob[None], threshold, ABSTAIN)[0] == SICKLE))
        progress("erythrocytes_idb1", i + 1, len(cells))
    said, label = np.array(sickle), np.array([cell.label for cell in cells])
    true = label == "elongated"

    def balanced(rows: np.ndarray) -> float:
        t, s = true[rows], said[rows]
        return float((s[t].mean() + (~s[~t]).mean()) / 2) if t.any() and not t.all() else float("nan")

    everything = np.arange(len(cells))
    low, high = bootstrap([str(i) for i in everything], balanced)
    return {
        "balanced_accuracy": Figure(balanced(everything), low, high, f"{len(cells)} cells"),
        "recall_elongated": Figure.proportion(int(said[true].sum()), int(true.sum())),
        **{
            f"sickle_calls_{name}": Figure.proportion(int(said[label == name].sum()), int((label == name).sum()))
            for name in sorted(set(label[~true]))
        },
    }


def log_look(page: Path, threshold: float, figures: dict[str, Figure]) -> None:
    """Add a line to the page of looks; raises StorageError."""
    try:
        before = page.read_text(encoding="utf-8") if page.exists() else HEAD
    except OSError as error:
        raise StorageError(f"{page} cannot be read: {error.strerror}. The look must be logged there") from error
    result = "; ".join(f"{name.replace('_', ' ')} {f.value:.3f} ({f.counted})" for name, f in figures.items())
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    write_text(page, f"{before}| {when} | {_commit()} | {threshold:.6f} | {result} |\n")


def _commit() -> str:
    """Return the commit of the source, marked where files differ from it; `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"
