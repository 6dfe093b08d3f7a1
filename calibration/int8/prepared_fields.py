"""Pictures brought to the networks by the device's own stages, with the device's own limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.camera.base import RejectedInputError
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config
from edge.runtime.base import Network
from edge.system.digest import sha256_file
from edge.types import Field, Rejection
from edge.vision import quality
from edge.vision.classify import CellClassifier
from edge.vision.detect import CellDetector
from edge.vision.examine import Examined, FieldExaminer
from edge.vision.prepare import FieldPreparer, Prepared, cropped, slide_part

LIMITS = Config().quality


@dataclass(frozen=True, slots=True)
class PictureStatistics:
    """What is seen of a picture before any network: enough to choose by.

    colour: mean red, green and blue of the slide, 0–255. focus: fine edges against coarse, as the device measures it.
    """

    path: Path
    sha256: str
    slide: str
    colour: tuple[float, float, float]
    focus: float


def picture_statistics(path: Path, slide: str) -> PictureStatistics | str:
    """Measure a file's colour and focus; returns why it is no use instead, where it is none."""
    try:
        pixels = read_image(path, LIMITS.megapixels_max)
    except RejectedInputError as error:
        return error.rejection.reason.value
    part = slide_part(pixels, LIMITS)
    if isinstance(part, Rejection):
        return part.reason.value
    slide_pixels, visible, _ = cropped(pixels, part.visible)
    step = max(1, max(slide_pixels.shape[:2]) // quality.SAMPLES)
    thin = slide_pixels[::step, ::step]
    seen = thin.reshape(-1, 3) if visible is None else thin[visible[::step, ::step]]
    red, green, blue = seen.mean(0).tolist()
    _, focus, _ = quality.edges(Field(slide_pixels, visible, (0.0, 0.0), 1.0))
    return PictureStatistics(path, sha256_file(path), slide, (red, green, blue), focus)


class FieldReader:
    """Reads files one by one, each a sample by itself, as a device of this configuration would."""

    def __init__(self, config: Config, detector: Network, classifier: Network) -> None:
        self._megapixels_max = config.quality.megapixels_max
        self._prepare = FieldPreparer(config, detector)
        self._examine = FieldExaminer(config, CellDetector(detector), CellClassifier(classifier))

    def prepared(self, path: Path, um_per_px: float | None = None) -> Prepared:
        """Return a picture at the canonical scale, or why the device would not read it.

        Args:
            path: the picture.
            um_per_px: size of its pixels, where it is known of this picture.

        Raises:
            RejectedInputError: the file cannot be read.
        """
        self._prepare.new_sample()
        return self._prepare(stamped(read_image(path, self._megapixels_max), 0, str(path), um_per_px))

    def examined(self, prepared: Prepared) -> Examined | Rejection:
        """Find the cells of a field, or say why the device would not count them."""
        field = prepared.outcome
        return field if isinstance(field, Rejection) else self._examine(field, prepared.size_off_max, {})
