"""What the device's own pipeline sees in labelled fields, kept so that every figure is counted from one reading."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np

import edge
import training
from edge.camera.frames import stamped
from edge.config.model import Config, ModelsConfig, OpticsConfig, QualityConfig, ScreeningConfig
from edge.errors import ModelError
from edge.pipeline import Pipeline
from edge.runtime.base import Network, Source
from edge.runtime.contract import Role
from edge.runtime.onnx import OnnxNetwork
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import CLASSES, FieldReading, Floats, Pixels
from training.data.datasets import LabelledField, read_pixels
from training.evaluate import interventions
from training.evaluate.predictions import PredictedCells, Prediction
from training.evaluate.remembering import RememberingNetwork
from training.fit.classifier import restored as restored_classifier
from training.fit.detector import restored as restored_detector
from training.fit.thresholds import SCORES
from training.fit.torch_network import TorchNetwork
from training.run_folder import digest, write_text

ONNX = ".onnx"


def opened(detector: Path, classifier: Path) -> tuple[Network, Network]:
    """Open a pair, weights of a run or ONNX files; raises ModelError."""
    if detector.suffix == ONNX:
        return _onnx("detector", detector), _onnx("classifier", classifier)
    return (
        TorchNetwork(restored_detector(detector), digest(detector)),
        TorchNetwork(restored_classifier(classifier), digest(classifier)),
    )


def _onnx(role: Role, path: Path) -> Network:
    """Open a file, its probabilities not calibrated: thresholds are of before."""
    network = OnnxNetwork(Source(role, path, digest(path), ModelsConfig(threads=1)))
    network.contract = network.contract.model_copy(update={"log_odds": (1.0, 0.0)})
    return network


class FieldReader:
    """Reads fields through the device's pipeline.

    Each network is asked once for each picture.
    """

    def __init__(self, detector: Path, classifier: Path) -> None:
        """Read with weights of a run (`.pt`), or with files as a device has them (`.onnx`)."""
        first, second = opened(detector, classifier)
        self._networks = RememberingNetwork(first), RememberingNetwork(second)
        quality, kept = QualityConfig(gate=False), ScreeningConfig(keep_border=True)
        self._all = Pipeline(Config(quality=quality, screening=kept), self._networks)
        self._whole = Pipeline(Config(quality=quality), self._networks)
        self._gated = Pipeline(Config(), self._networks)

    def __call__(self, key: str, pixels: Pixels) -> PredictedCells:
        """Read a field, uint8 (H, W, 3)."""
        for network in self._networks:
            network.forget()
        found = self._read(self._all, key, pixels)
        whole = {box.tobytes() for box in self._read(self._whole, key, pixels).boxes}
        gated = self._read(self._gated, key, pixels).rejected
        border = np.array([box.tobytes() not in whole for box in found.boxes], bool)
        return PredictedCells(
            key,
            (found.height, found.width),
            found.scale.um_per_px if found.scale else None,
            found.rejected.reason.value if found.rejected else None,
            gated.reason.value if gated else None,
            found.boxes,
            found.score,
            found.prob,
            border,
            found.kind,
            found.novelty,
        )

    def crop(self, pixels: Pixels, um_per_px: float) -> Floats:
        """Return the class probabilities (6,) of a picture of one cell; NaN where it cannot be read."""
        for network in self._networks:
            network.forget()
        pipeline = Pipeline(Config(optics=OpticsConfig(um_per_px=um_per_px)), self._networks)
        prob = pipeline.read_crop(stamped(pixels, 0, "")).prob
        return prob[0] if len(prob) else np.full(len(CLASSES), np.nan, np.float32)

    @staticmethod
    def _read(pipeline: Pipeline, key: str, pixels: Pixels) -> FieldReading:
        pipeline.new_sample()
        return pipeline.read(stamped(pixels, 0, key))


Picture = Callable[[LabelledField], Pixels]
"""Makes the picture that is read: the file's own, or a changed one."""


def as_taken(field: LabelledField) -> Pixels:
    """Return the picture as it lies in the file."""
    return read_pixels(field.path)


def read_fields(
    weights: tuple[Path, Path],
    fields: Sequence[LabelledField],
    cache: Path,
    progress: ReportProgress = quiet,
    picture: Picture = as_taken,
    workers: int = 2,
) -> list[Prediction]:
    """Read fields with a detector and a classifier, or take kept readings.

    Readings of an earlier run come from `cache`.

    Of weights of a run boxes from FLOOR are kept in the cache, those from SCORES returned; an ONNX file has its own.
    A cache made with other weights, of other fields, or by other code of the device is made anew.
    Raises ModelError, DataError, StorageError.
    """
    keys = [f"{f.dataset}/{f.path.parent.name}/{f.path.name}" for f in fields]
    head = json.dumps({"detector": digest(weights[0]), "classifier": digest(weights[1]), "code": _code_digest(picture)})
    readings = _cached(cache, head, keys)
    if readings is None:
        read = _read_all(weights, [(k, f) for k, f in zip(keys, fields, strict=True)], picture,
                         lambda done: progress(cache.stem, done, len(keys)), workers)  # fmt: skip
        lines = [reading.to_json() for reading in read]
        write_text(cache, "\n".join([head, *lines]) + "\n")
        readings = [PredictedCells.from_json(line) for line in lines]  # rounded as those of a later run will be
    if weights[0].suffix != ONNX:
        readings = [reading.above(SCORES) for reading in readings]
    return [Prediction(f, r) for f, r in zip(fields, readings, strict=True)]


def _code_digest(picture: Picture) -> str:
    """Return the digest of the code that reads a field, and of its limits, without comments and docstrings."""
    sources = _sources()
    if picture is not as_taken:
        sources.append(Path(interventions.__file__))
    limits = [config().model_dump_json() for config in (QualityConfig, OpticsConfig, ScreeningConfig)]
    return hashlib.sha256("".join([*limits, *(_bare(path) for path in sources)]).encode()).hexdigest()


def _sources() -> list[Path]:
    """Return the files that a reading depends on: the device's, the networks behind it, and what keeps it."""
    device, own = Path(edge.__file__).parent, Path(training.__file__).parent
    rooms = [path for room in ("vision", "screening") for path in sorted((device / room).rglob("*.py"))]
    network = [own / "fit" / name for name in ("networks.py", "torch_network.py", "thresholds.py")]
    kept = [own / "evaluate" / name for name in ("predict.py", "predictions.py")]
    return [device / "pipeline.py", device / "types.py", device / "runtime" / "contract.py", *rooms, *network, *kept]


def _bare(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _cached(cache: Path, head: str, keys: list[str]) -> list[PredictedCells] | None:
    if not cache.is_file():
        return None
    lines = cache.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0] != head:
        return None
    try:
        readings = [PredictedCells.from_json(line) for line in lines[1:]]
    except (ValueError, KeyError) as error:
        raise ModelError(f"{cache} cannot be read: {error}. Delete it, and it is made anew") from error
    return readings if [r.key for r in readings] == keys else None


def _read_all(
    weights: tuple[Path, Path],
    fields: Sequence[tuple[str, LabelledField]],
    picture: Picture,
    done: Callable[[int], None],
    workers: int,
) -> list[PredictedCells]:
    readers: SimpleQueue[FieldReader] = SimpleQueue()
    for _ in range(workers):
        readers.put(FieldReader(*weights))

    def read(item: tuple[str, LabelledField]) -> PredictedCells:
        reader = readers.get()
        try:
            return reader(item[0], picture(item[1]))
        finally:
            readers.put(reader)

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(read, item) for item in fields]
        try:
            return [_counted(job.result(), i + 1, done) for i, job in enumerate(jobs)]
        except BaseException:
            for job in jobs:
                job.cancel()
            raise


def _counted(reading: PredictedCells, n: int, done: Callable[[int], None]) -> PredictedCells:
    done(n)
    return reading
