"""Runs a model on drawn pictures in a process of its own, so that one that cannot be run does no harm here."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from edge.errors import ModelError
from edge.runtime.base import Network
from edge.runtime.contract import NOVELTY, OUTPUTS, STRIDE, Contract

TIMEOUT_S = 120.0
"""A model that has not read a few small pictures by then would never keep up."""

MEMORY_BYTES = 8 << 30
"""Address space that a trial may take."""

REFUSED = 5
"""Exit code of a trial whose model breaks its contract."""


def tried(path: Path) -> None:
    """Run a model file on golden pictures in a process of its own.

    Raises:
        ModelError: it cannot be loaded or run, or answers something else than its contract says.
    """
    begin = f"from edge.runtime.trial import main; main({str(path.absolute())!r})"
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from outside but the path, as a literal
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {begin}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} had not read a few small pictures after {TIMEOUT_S:.0f} s: it is refused") from error
    if done.returncode == REFUSED:
        raise ModelError(done.stdout.strip())
    if done.returncode:
        ended = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"{path} ended the process that tried it ({ended}: {last}): it is refused")


def main(path: str) -> None:
    """Try one model; a model that is refused is named on standard output, by exit code 5."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from edge.config.model import ModelsConfig
    from edge.runtime.base import Source
    from edge.runtime.onnx import OnnxNetwork

    try:
        check_answers(Path(path), OnnxNetwork(Source(None, Path(path), "", ModelsConfig(threads=1))))
    except ModelError as error:
        sys.stdout.write(str(error))
        sys.exit(REFUSED)


def check_answers(path: Path, network: Network) -> None:
    """Run a network of a file on golden pictures.

    Raises:
        ModelError: It fails, or answers something else than its contract says.
    """
    from edge.runtime.parity import golden_pictures

    pictures = golden_pictures(network.contract)
    # Of several sizes and numbers, for fields have any size and come with any number of cells.
    batches = [pictures, pictures[:1]]
    if network.contract.role == "detector":
        batches += [np.ascontiguousarray(pictures[:, :96, :128]), np.tile(pictures, (1, 2, 3, 1))]
    else:
        batches.append(np.tile(pictures, (6, 1, 1, 1))[:32])
    for batch in batches:
        _check(path, network.contract, batch.shape[:3], network(batch))


def _check(path: Path, contract: Contract, shape: tuple[int, ...], found: dict[str, np.ndarray]) -> None:
    """Raise ModelError unless the answers to N pictures (N, height, width) are those of the contract's role."""
    n, h, w = shape
    rows, columns = h // STRIDE, w // STRIDE
    shapes = {"prob": (n, 6), NOVELTY: (n,), "peaks": (n, 3, rows, columns), "sides": (n, 4, rows, columns)}
    for name in contract.outputs:
        array = found[name]
        if array.dtype != np.float32 or array.shape != shapes[name]:
            raise ModelError(
                f"{path} answers {name} as {array.dtype} {array.shape}; expected float32 {shapes[name]}. Export it "
                "again with sicklescope-export"
            )
        if not np.isfinite(array).all():
            raise ModelError(f"{path} answers {name} with what is no number, on drawn cells. Train it again")
        if name in ("prob", OUTPUTS["detector"][0]) and not ((array >= -1e-3) & (array <= 1 + 1e-3)).all():
            raise ModelError(f"{path} answers {name} outside 0 to 1. Export it again with sicklescope-export")
    if contract.role == "classifier" and not np.allclose(found["prob"].sum(1), 1, atol=0.02):
        raise ModelError(f"{path} answers probabilities that do not make 1. Export it again with sicklescope-export")
