"""How a network of the bench is fitted: every value, its limits and its default, from TOML and the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import ConfigError
from training.bench.models.augmentation import Augmentation

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Epochs = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]

PRETRAINED: Epochs = (10, 20, 50)
SCRATCH: Epochs = (0, 0, 80)


class FitSettings(BaseModel):
    """One fit.

    epochs: with the trunk frozen, with its last block free, with all free; rates: of learning in each.

    Left out, epochs are 10, 20, 50 from weights, and 0, 0, 80 from scratch. patience: epochs without a better
    validation loss after which a stage ends. validation: share of the training groups that stops and calibrates, and
    is
    never learnt from. views: turned and mirrored looks at a cell whose answers are averaged, 1 or 8. copies: the
    leaky
    division of turned copies at random, to show what it is worth. softness: temperature of a teacher's answers, and
    teaching: their share of the loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    net: str = "compact"
    weights: str = "none"
    side: Annotated[int, Field(ge=16, le=512)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    epochs: Epochs | None = None
    rates: tuple[float, float, float] = (1e-3, 2e-4, 1e-3)
    batch: Annotated[int, Field(ge=2)] = 32
    patience: Annotated[int, Field(ge=1)] = 12
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    class_weights: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    views: Literal[1, 8] = 1
    copies: bool = False
    folds: tuple[int, ...] | None = None
    teacher: str | None = None
    softness: Annotated[float, Field(ge=1)] = 2.0
    teaching: Annotated[float, Field(ge=0, le=1)] = 0.7
    augmentation: Augmentation = Augmentation()

    @property
    def schedule(self) -> Epochs:
        """Epochs of the three stages."""
        return self.epochs or (SCRATCH if self.weights == "none" else PRETRAINED)


def settings(file: Path | None, **given: Any) -> FitSettings:
    """Merge a TOML file with what the command line names (None: not named); raises ConfigError."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read as TOML: {error}") from error
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return FitSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{file or 'the command'}: {where}: {first['msg']}. GroundTruth: {', '.join(FitSettings.model_fields)}"
        ) from error
