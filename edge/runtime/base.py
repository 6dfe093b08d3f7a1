"""The network protocol: what every backend does, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.config.model import DeviceConfig, ModelsConfig
from edge.runtime.contract import Contract
from edge.types import Pixels

STATE_DIR = DeviceConfig().state_dir


class Network(Protocol):
    """A loaded network. A call takes uint8 (N, H, W, 3) RGB and returns the outputs by name.

    The arrays it returns belong to the caller. Not thread-safe: one thread calls it.
    """

    contract: Contract
    sha256: str
    """Digest of the file that was loaded."""

    runtime: str
    """Backend, version and precision, as shown to people and sent in the birth message."""

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on a batch."""
        ...

    def close(self) -> None:
        """Give memory and device back."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A verified model file and how it is to be run.

    role: what the contract is to name; None takes either. state_dir: where engines are kept. progress: told in words,
    often, while an engine is built, which takes minutes.
    """

    role: str | None
    path: Path
    sha256: str
    models: ModelsConfig
    state_dir: Path = STATE_DIR
    progress: Callable[[str], None] = lambda _: None
