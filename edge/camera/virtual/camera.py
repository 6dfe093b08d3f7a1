"""A rendered slide as a camera: seeded, stepping over the slide in whole fields, the truth of each of them known."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType

from edge.camera.frames import Pace, stamped
from edge.camera.virtual.layout import SlideSpec, VirtualCell
from edge.camera.virtual.slide import Slide
from edge.camera.virtual.specimen import serpentine
from edge.config.model import CameraConfig
from edge.types import Frame


class VirtualCamera:
    """The fields of a rendered slide, one after the other, to the end of the path.

    `camera.frames` is its length.

    Without it the path has 60 fields, some 5,000 red cells. The size of a pixel is known: each frame tells it.
    """

    live = False

    def __init__(self, config: CameraConfig, spec: SlideSpec | None = None) -> None:
        self._pace = Pace(config.fps)
        self._index = 0
        self._slide = Slide(spec or _configured(config))
        spec = self._slide.spec
        self.name = f"virtual slide {spec.seed} {spec.width}x{spec.height} at {spec.um_per_px:g} µm/px"

    @classmethod
    def from_spec(cls, spec: SlideSpec) -> VirtualCamera:
        """Make the camera over any slide, as fast as possible."""
        return cls(CameraConfig(kind="virtual"), spec)

    def __enter__(self) -> VirtualCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave: there is nothing to close."""

    def read(self) -> Frame | None:
        """Return the next field, or None at the end of the path."""
        spec = self._slide.spec
        if self._index >= (len(spec.views) or spec.n_fields):
            return None
        self._pace.wait()
        name = f"{self.name}#{self._index}"
        frame = stamped(self._slide.render(self._index), self._index, name, spec.um_per_px)
        self._index += 1
        return frame

    def truth(self, index: int) -> list[VirtualCell]:
        """Return every cell that shows in the frame of that index, wholly or cut by its edge."""
        return self._slide.truth(index)


def _configured(config: CameraConfig) -> SlideSpec:
    default = SlideSpec(seed=config.seed)
    spec = replace(
        default,
        width=config.width or default.width,
        height=config.height or default.height,
        n_fields=config.frames or default.n_fields,
    )
    return replace(spec, views=serpentine(spec, config.overlap)) if config.overlap else spec
