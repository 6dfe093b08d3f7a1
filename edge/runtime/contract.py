"""The contract inside a model file: what it reads, what it answers, and proof that it is the file that was pinned."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.config import ModelConfig
from edge.errors import ModelError
from edge.types import CANONICAL_UM_PER_PX, CLASSES

METADATA_KEY = "sicklescope.contract"
"""Name of the ONNX metadata property that holds the contract as JSON."""

SHIPPED_DIR = Path(__file__).parent.parent / "models"

SHIPPED_SHA256: dict[str, str] = {
    "detector": "880698f62e86b87b2afd93f65fa581c111ba7146fbcbd9a4509dacc0987915b4",
    "classifier": "be1f8fb06fa7e37f7de342d785eedacb12f36198d3094c85a7d02481a3c323ca",
}
"""Digests of the files that a processor runs, by role."""

SHIPPED_FILES = {"detector": "detector.onnx", "classifier": "classifier.onnx"}
"""Which of the shipped files a processor runs: fp32, or the faster INT8 twin `*.int8.cpu.onnx` (docs/int8.md)."""


OUTPUTS = {"detector": ("peaks", "sides"), "classifier": ("prob",)}
"""What a network of each role answers."""

THRESHOLDS = {"detector": ("score",), "classifier": ("sickle", "abstain", "second_look")}
"""What a contract of each role must set."""

KINDS = ("rbc", "wbc", "platelet")
"""What the detector tells apart, in the order of its peaks."""


class Contract(BaseModel):
    """What a model promises; written into its ONNX metadata by the exporter, as JSON.

    thresholds: detector `score`; classifier `sickle` (probability at which a cell is called sickle), `abstain` (below
    which the best class is not named) and `second_look` (from which a cell is looked at from all sides). size: the
    detector's stride, or the side of the classifier's crop, in canonical pixels. limit_of_blank: fraction of red cells
    called sickle on smears without any, 95th percentile. precision: of the layers; int8 files hold fp32 heads.
    graph_sha256: digest of the graph without its metadata.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    role: Literal["detector", "classifier"]
    name: str
    version: str
    classes: tuple[str, ...]
    um_per_px: Annotated[float, Field(gt=0)]
    size: Annotated[int, Field(gt=0)]
    thresholds: dict[str, float]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    limit_of_blank: float | None = None
    training_data: tuple[str, ...] = ()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    graph_sha256: str


def verified(role: str, config: ModelConfig) -> tuple[Path, str]:
    """Return the path of the configured model and its sha256, after checking that it is the pinned file.

    The shipped model is pinned in this module; any other needs its digest in the configuration.
    Raises ModelError when the file is missing, or its digest is not the pinned one.
    """
    if config.path is None:
        path, pinned = SHIPPED_DIR / SHIPPED_FILES[role], SHIPPED_SHA256.get(role)
        remedy = "Reinstall sicklescope: the shipped file was changed or cut short"
    else:
        path, pinned = config.path.expanduser(), config.sha256
        remedy = f"If the file is the one you want, set models.{role}.sha256 to the digest found"
    if not path.is_file():
        raise ModelError(
            f"{role} model {path} not found. {remedy}"
            if config.path is None
            else f"{role} model {path} not found. Set models.{role}.path to an ONNX file"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if pinned is None:
        raise ModelError(f"{role} model {path} has sha256 {found}, and no digest is pinned for it. {remedy}")
    if found != pinned:
        raise ModelError(f"{role} model {path} has sha256 {found}; expected {pinned}. {remedy}")
    return path, found


def parse_contract(text: str | None, role: str, path: Path) -> Contract:
    """Read the contract from an ONNX metadata property; raises ModelError when absent, wrong or of another role."""
    if text is None:
        raise ModelError(f"{path} carries no contract (metadata {METADATA_KEY}). Export it with sicklescope-export")
    try:
        contract = Contract.model_validate_json(text)
    except ValueError as error:
        raise ModelError(f"{path} carries a contract that cannot be read: {error}") from error
    if contract.role != role:
        raise ModelError(f"{path} is a {contract.role}; expected a {role}. Were the two paths swapped?")
    _check(contract, path)
    return contract


def _check(contract: Contract, path: Path) -> None:
    """Raise ModelError for a contract that this version cannot keep: it would misread every cell."""
    classes = KINDS if contract.role == "detector" else CLASSES
    for name, expected in (("um_per_px", CANONICAL_UM_PER_PX), ("classes", classes)):
        found = getattr(contract, name)
        if found != expected:
            raise ModelError(f"{path} has {name} {found}; expected {expected}. Train and export it for this version")
    missing = set(THRESHOLDS[contract.role]) - set(contract.thresholds)
    if missing:
        raise ModelError(f"{path} sets no threshold {', '.join(sorted(missing))}. Export it again with all of them")
