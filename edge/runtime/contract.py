"""The contract inside a model file: what it reads, what it answers, and proof that it is the file that was pinned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.config.model import ModelConfig
from edge.errors import ModelError
from edge.types import CANONICAL_UM_PER_PX, CLASSES, KINDS

Role: TypeAlias = Literal["detector", "classifier"]

ROLES: tuple[Role, ...] = ("detector", "classifier")

METADATA_KEY = "sicklescope.contract"
"""Name of the ONNX metadata property that holds the contract as JSON."""

SHIPPED_DIR = Path(__file__).parent.parent / "models"

SHIPPED_SHA256: dict[str, str] = {
    "detector": "3d236bc7cc2f39c90b9b9aab95c6349926022feb706e0bb5cbcc3c379ba21544",
    "classifier": "f17ab1311924b80b59c1ee6f29557299093b80fbe3b260b8950704ca642c45ef",
    "detector.fp16": "42f628d32e83b4c4c93063f8882153112d2d618c75420049dfa881f701a11555",
    "classifier.fp16": "3485da41dbb3a75c5bc4a4bb1df0d3bcf5c0a7329380cd2250d3f7e66579b07e",
    "detector.int8": "1d19826a3c0dc159fa6735809a0abc43502c31e57b399c03b120e5a915b1c234",
    "classifier.int8": "8415f6ff4cd3b57a56e7f8e656e54a95c1c5937c18d5fa913be410802999eb35",
    "detector.int8.cpu": "f7b7fe382185ff42d4e2476693508970166d134dfb94a9f385db252edcd5de91",
    "classifier.int8.cpu": "b3be3ea5a584981f410f3d902893b8b93567391f30f3e3e09862a53f914efc95",
}
"""Digests of the shipped files by name: a role, alone or with a form (`detector.fp16`)."""

CPU_FORM = {"detector": "int8.cpu", "classifier": "int8.cpu"}
"""Form of the shipped file that a processor runs unless told: none for fp32, or the INT8 twin (docs/int8.md)."""

GPU_FORM = {"detector": "int8", "classifier": "int8"}
"""The same for TensorRT."""


OUTPUTS = {"detector": ("peaks", "sides"), "classifier": ("prob",)}
"""What a network of each role answers; see Contract.outputs."""

NOVELTY = "novelty"
"""What a classifier whose contract sets NOVELTY_THRESHOLDS answers as well: float32 (N,), how far each cell lies from
those it was trained on.
"""

NOVELTY_THRESHOLDS = ("novelty_cell", "novelty_field")

THRESHOLDS = {"detector": ("score",), "classifier": ("sickle", "abstain", "second_look")}
"""What a contract of each role must set."""


NOVELTY_MAX = 1000.0
"""No threshold of novelty, a distance of about 1 for known cells, is above this."""

NAME_MAX, SIDE_MAX = 128, 1024
"""Longest name of a model, and largest crop in pixels."""

ONE_LINE = r"^[^\x00-\x1f\x7f]+$"

STRIDE = 4
"""Pixels of a field for one place of the detector's maps."""

EXTERNAL = b"\x0a\x08location\x12"
"""How a weight that lies in another file begins in ONNX's encoding: the key `location` of its `external_data`."""


class Contract(BaseModel):
    """What a model promises; written into its ONNX metadata by the exporter, as JSON.

    thresholds: detector `score` and, where a kind needs another, `score_wbc` and `score_platelet`; classifier
    `sickle` (probability at which a cell is called sickle), `abstain` (sickle probability from which one that is
    not called so is not named either) and `second_look` (from which a cell is looked at from other sides); and,
    where it can tell, `novelty_cell` (above it a cell is unlike anything it was trained on) and `novelty_field`
    (the same of the median of a field's cells). size: the detector's stride, or the side of the classifier's crop,
    in canonical pixels. limit_of_blank: fraction of red cells called sickle on smears without any, 95th percentile.
    log_odds: factor and shift that make the log odds of the sickle probability, mean of all looks, those of a
    chance, for training shows sickle cells far more often than slides do; thresholds are of before, what is told of
    a cell of after. precision: of the layers; int8 files hold fp32 heads.
    graph_sha256: digest of the graph without its metadata.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    role: Role
    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX, pattern=ONE_LINE)]
    version: Annotated[str, Field(min_length=1, max_length=NAME_MAX, pattern=ONE_LINE)]
    classes: tuple[str, ...]
    um_per_px: Annotated[float, Field(gt=0)]
    size: Annotated[int, Field(gt=0, le=SIDE_MAX)]
    thresholds: dict[str, float]
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    log_odds: tuple[Annotated[float, Field(ge=0.01, le=100)], Annotated[float, Field(ge=-20, le=20)]] = (1.0, 0.0)
    limit_of_blank: Annotated[float, Field(ge=0, le=1)] | None = None
    training_data: tuple[str, ...] = ()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    graph_sha256: str

    @model_validator(mode="after")
    def _thresholds_can_be_reached(self) -> Contract:
        for name, value in self.thresholds.items():
            if not 0 < value <= (NOVELTY_MAX if name in NOVELTY_THRESHOLDS else 1):
                raise ValueError(f"threshold {name} is {value:g}; expected a probability above 0, at most 1")
        if self.role == "detector" and self.size != STRIDE:
            raise ValueError(f"size of a detector is {self.size}; expected its stride, {STRIDE}")
        return self

    @property
    def tells_novelty(self) -> bool:
        """Whether the network says of a cell how far it lies from those it was trained on."""
        return not set(NOVELTY_THRESHOLDS).isdisjoint(self.thresholds)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network answers."""
        return (*OUTPUTS[self.role], NOVELTY) if self.tells_novelty else OUTPUTS[self.role]


def verified(role: str, config: ModelConfig, form: str = "") -> tuple[Path, str]:
    """Return the path of the configured model and its sha256.

    After checking that it is the pinned file.

    The shipped model is pinned in this module; any other needs its digest in the configuration. form: which of the
    shipped files, `fp16`, `int8` or `int8.cpu`, or none for fp32; a configured file is what it is.
    Raises ModelError when the file is missing, or its digest is not the pinned one.
    """
    pinned: str | None
    if config.path is None:
        name = f"{role}.{form}" if form else role
        if name not in SHIPPED_SHA256:
            raise ModelError(
                f"no file {name}.onnx is shipped with this version; shipped: {', '.join(SHIPPED_SHA256)}. Make one "
                f"with sicklescope-export or sicklescope-calibrate and set models.{role}.path and sha256"
            )
        path, pinned = SHIPPED_DIR / f"{name}.onnx", SHIPPED_SHA256[name]
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
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if pinned is None:
        raise ModelError(f"{role} model {path} has sha256 {found}, and no digest is pinned for it. {remedy}")
    if found != pinned:
        raise ModelError(f"{role} model {path} has sha256 {found}; expected {pinned}. {remedy}")
    self_contained(path, data)
    return path, found


def self_contained(path: Path, data: bytes) -> None:
    """Raise ModelError for a file whose weights lie in another: its digest would not pin them."""
    if EXTERNAL in data:
        raise ModelError(
            f"{path} keeps weights in another file, which its digest does not pin. Pack them in: onnx.save(onnx.load("
            "path), path), or export it again with sicklescope-export"
        )


def read_contract(metadata: Mapping[str, str], role: str | None, path: Path) -> Contract:
    """Read the contract from the metadata of an ONNX file.

    Args:
        metadata: the file's properties by name.
        role: what it has to be; None takes either.
        path: of the file, for the words of an error.

    Raises:
        ModelError: the contract is absent, cannot be read, or is of another role.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path} carries no contract (metadata {METADATA_KEY}). Export it with sicklescope-export")
    try:
        contract = Contract.model_validate_json(text)
    except ValueError as error:
        raise ModelError(f"{path} carries a contract that cannot be read: {error}") from error
    if role is not None and contract.role != role:
        raise ModelError(f"{path} is a {contract.role}; expected a {role}. Were the two paths swapped?")
    return contract


def device_contract(metadata: Mapping[str, str], role: str | None, path: Path) -> Contract:
    """Read a contract, as `read_contract` does, that a device of this version can keep.

    Raises:
        ModelError: it would misread every cell.
    """
    contract = read_contract(metadata, role, path)
    classes = KINDS if contract.role == "detector" else CLASSES
    for name, expected in (("um_per_px", CANONICAL_UM_PER_PX), ("classes", classes)):
        found = getattr(contract, name)
        if found != expected:
            raise ModelError(f"{path} has {name} {found}; expected {expected}. Train and export it for this version")
    wanted = {*THRESHOLDS[contract.role], *(NOVELTY_THRESHOLDS if contract.tells_novelty else ())}
    missing = wanted - set(contract.thresholds)
    if missing:
        raise ModelError(f"{path} sets no threshold {', '.join(sorted(missing))}. Export it again with all of them")
    return contract
