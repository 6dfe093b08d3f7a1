"""Frame → result: the main path, readable top to bottom. (Interface; the body follows.)"""

from __future__ import annotations

from types import TracebackType

from edge.config import Config
from edge.runtime.base import Network, open_network
from edge.types import FieldReading, Frame


class Pipeline:
    """Reads frames with the configured networks. One thread uses it; a context manager that owns the networks."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.detector: Network = open_network("detector", config.models)
        self.classifier: Network = open_network("classifier", config.models)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detector.close()
        self.classifier.close()

    def new_sample(self) -> None:
        """Forget the locked scale and the last frame: the next frame begins another sample."""

    def read(self, frame: Frame) -> FieldReading:
        """Read a whole field; never raises for what is in the picture."""
        raise NotImplementedError

    def read_crop(self, frame: Frame) -> FieldReading:
        """Read a picture of one cell (`scan --cells`): the box is the whole picture."""
        raise NotImplementedError
