"""Boxes of every cell of the sets without boxes, as the base detector and the labels give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from edge.errors import ModelError
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import CANONICAL_UM_PER_PX
from edge.vision.detect import decoded, padded
from edge.vision.scale import ScaleEstimator
from training.data.datasets import LabelledField, read_pixels
from training.data.fields import TrainingField, corrected, resized, taught_by_detector
from training.data.sets import taught_sets
from training.fit import detector
from training.fit.torch_network import TorchNetwork
from training.run_folder import RunDir, write_text

T = TypeVar("T")

CELLS_MIN = 10
"""Red cells behind an estimated scale that is believed in training."""

OFF_MAX = 1.5
"""An estimate is believed up to so many times from what is usual for pictures of this set and size."""

LIKELY_UM_PER_PX = 0.177
"""Usual scale of `uganda_scd` and `chula_rbc12`, as the base detector estimates it: taken where no estimate is."""

WORKERS = 2
"""Fields whose labels are completed at a time."""

FLOOR = 0.1
"""Score down to which the base detector's boxes are looked at to complete labels."""


def complete_labels(run: RunDir, root: Path, progress: ReportProgress = quiet) -> None:
    """Write boxes of every cell of the sets that teach, but `txl_pbc`.

    Raises DataError, ModelError, StorageError.
    """
    fields = taught_sets(root, run.left_out)
    estimates = _each(run, fields, _estimated, "scales", progress)
    scales = {f.path: scale for f, scale in zip(fields, usual_scales(fields, estimates), strict=True)}

    def line_of(field: LabelledField, network: TorchNetwork) -> str:
        return _to_json(_taught(field, scales[field.path], network), root)

    write_text(run.taught, "\n".join(_each(run, fields, line_of, "completing labels", progress)) + "\n")


def _each(
    run: RunDir,
    fields: Sequence[LabelledField],
    make: Callable[[LabelledField, TorchNetwork], T],
    what: str,
    progress: ReportProgress,
) -> list[T]:
    """Ask the base detector about each field, some at a time."""
    networks: SimpleQueue[TorchNetwork] = SimpleQueue()
    for _ in range(WORKERS):
        networks.put(TorchNetwork(detector.restored(run.base)))

    def one(field: LabelledField) -> T:
        network = networks.get()
        try:
            return make(field, network)
        finally:
            networks.put(network)

    made = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for result in pool.map(one, fields):
            made.append(result)
            progress(what, len(made), len(fields))
    return made


def _estimated(field: LabelledField, network: TorchNetwork) -> tuple[float | None, tuple[int, ...]]:
    """Return the estimated size of a pixel, µm, and the size of the picture."""
    pixels = read_pixels(field.path)
    scale, _ = ScaleEstimator(network)(pixels, CELLS_MIN)
    return (None if scale is None else scale.um_per_px), pixels.shape


def usual_scales(
    fields: Sequence[LabelledField], estimates: Sequence[tuple[float | None, tuple[int, ...]]]
) -> list[float]:
    """Return µm per pixel of each field: its estimate, or the usual one.

    Pictures of one set and size are of one microscope, so an estimate far from their median has failed.
    """
    by_kind: dict[tuple[str, int], list[float]] = {}
    kinds = [(field.dataset, max(shape)) for field, (_, shape) in zip(fields, estimates, strict=True)]
    for kind, (um_per_px, _) in zip(kinds, estimates, strict=True):
        if um_per_px is not None:
            by_kind.setdefault(kind, []).append(um_per_px)
    chosen = []
    for kind, (um_per_px, _) in zip(kinds, estimates, strict=True):
        usual = float(np.median(by_kind[kind])) if kind in by_kind else LIKELY_UM_PER_PX
        believed = um_per_px is not None and usual / OFF_MAX < um_per_px < usual * OFF_MAX
        chosen.append(um_per_px if um_per_px is not None and believed else usual)
    return chosen


def _taught(field: LabelledField, um_per_px: float, network: TorchNetwork) -> TrainingField:
    def detect(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        maps = network(padded(pixels)[None])
        h, w = pixels.shape[:2]
        return decoded(maps["peaks"][0], maps["sides"][0], (h, w), FLOOR)

    return taught_by_detector(field, CANONICAL_UM_PER_PX / um_per_px, detect)


def taught_fields(run: RunDir, root: Path) -> list[TrainingField]:
    """Read what `complete_labels` wrote; raises ModelError when it is of other fields."""
    sources = taught_sets(root, run.left_out)
    try:
        rows = [json.loads(line) for line in run.taught.read_text(encoding="utf-8").splitlines()]
        if [row["path"] for row in rows] != [str(s.path.relative_to(root)) for s in sources]:
            raise ValueError("it is of other fields than the data folder holds")
        return [_from_row(row, source) for row, source in zip(rows, sources, strict=True)]
    except (ValueError, KeyError) as error:
        raise ModelError(f"{run.taught} cannot be used: {error}. Delete it, and it is made anew") from error


def _to_json(field: TrainingField, root: Path) -> str:
    return json.dumps({
        "path": str(field.source.path.relative_to(root)), "zoom": field.zoom, "kinds": field.kinds.tolist(),
        "boxes": field.boxes.astype(float).round(2).tolist(), "ignore": field.ignore.astype(float).round(2).tolist(),
    }, separators=(",", ":"))  # fmt: skip


def _from_row(row: dict[str, object], source: LabelledField) -> TrainingField:
    boxes, ignore = (np.array(row[k], np.float32).reshape(-1, 4) for k in ("boxes", "ignore"))
    zoom = float(row["zoom"])  # type: ignore[arg-type]
    pixels = resized(read_pixels(source.path), zoom)
    return corrected(TrainingField(source, pixels, boxes, np.array(row["kinds"], np.int64), ignore, zoom))
