"""What is asked of a scan, and the configuration that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from edge.batch.reading.engine import Engine
from edge.config.model import Config, OpticsConfig
from edge.errors import ConfigError
from edge.language.languages import ENGLISH, asked


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What is asked of a scan; what is given here stands above the configuration.

    Attributes:
        cells: each image is a crop of one cell.
        annotate: draw each field.
        keep_border: count cells that the picture's edge cuts.
        no_quality_gate: read what the quality checks reject.
        one_sample: all images of a sample are of one slide and come from one microscope: they may overlap, and each
            cell counts once, as in a video; not with `cells`.
        keep_duplicates: count copies of a picture as often as they are there.
        um_per_px: size of a pixel on the slide.
        resume: go on from a scan that was killed or stopped.
        processes: that read files, 1 to the number of cores; None for as many as pay.
        language: of the report, one of `edge.language.languages.codes`.
        engine: this computer's own processes, or Ray, on this computer or many.
        address: of a Ray cluster that runs already; None to start Ray on this computer for this scan.
        parquet: write the fields and cells as Parquet too.
    """

    cells: bool = False
    annotate: bool = False
    keep_border: bool = False
    no_quality_gate: bool = False
    one_sample: bool = False
    keep_duplicates: bool = False
    um_per_px: float | Literal["auto"] | None = None
    resume: bool = False
    processes: int | None = 1
    language: str = ENGLISH
    engine: Engine = Engine.LOCAL
    address: str | None = None
    parquet: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError for options that exclude each other, and for an unknown language."""
        asked(self.language)
        if self.cells and self.one_sample:
            raise ConfigError("cells and one_sample exclude each other: a picture of one cell has no place on a slide")
        if self.address is not None and self.engine is not Engine.RAY:
            raise ConfigError(f"address {self.address} is that of a Ray cluster. Give --engine ray with it")

    def reading(self) -> str:
        """Return how images are read, in words."""
        return "one cell an image" if self.cells else "fields of one sample" if self.one_sample else "fields"


def effective(config: Config, options: ScanOptions) -> Config:
    """Return the configuration with what was asked for this scan in its place."""
    changes: dict[str, Any] = {}
    if options.keep_border:
        changes["screening"] = config.screening.model_copy(update={"keep_border": True})
    if options.no_quality_gate:
        changes["quality"] = config.quality.model_copy(update={"gate": False})
    if options.um_per_px is not None:
        try:
            given = OpticsConfig(um_per_px=options.um_per_px).um_per_px
        except ValidationError as error:
            raise ConfigError(
                f"um_per_px is {options.um_per_px}; expected 'auto' or micrometres per pixel between 0.02 and 2"
            ) from error
        changes["optics"] = config.optics.model_copy(update={"um_per_px": given})
    return config.model_copy(update=changes)


def sections(config: Config) -> dict[str, Any]:
    """Return the sections of the configuration that a reading depends on."""
    return {name: getattr(config, name).model_dump(mode="json") for name in ("optics", "quality", "screening")}
