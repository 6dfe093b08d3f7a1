"""What runs a network: one protocol and the table of backends."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.config import ModelConfig, ModelsConfig
from edge.errors import RuntimeUnavailableError
from edge.runtime.contract import Contract, Role, verified
from edge.runtime.installed import ModelStore
from edge.types import Pixels


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


RUNTIMES = {"onnxruntime": "edge.runtime.onnx:OnnxNetwork"}
"""Every backend there is; imported only when chosen. `auto` takes the first that can run here."""


def open_network(role: Role, config: ModelsConfig, state_dir: Path | None = None) -> Network:
    """Verify and load the `detector` or `classifier` with the configured runtime.

    It is the one that the configuration names, else the one chosen of those installed below state_dir, else the
    shipped one.

    Raises ModelError when the file is not what was pinned, RuntimeUnavailableError when the named runtime is absent:
    a named backend never falls back to another.
    """
    name = "onnxruntime" if config.runtime == "auto" else config.runtime
    if name not in RUNTIMES:
        raise RuntimeUnavailableError(
            f"models.runtime {name!r} is not available in this version; present: {', '.join(RUNTIMES)}. "
            'Set models.runtime = "auto"'
        )
    model: ModelConfig = getattr(config, role)
    if model.path is None and state_dir is not None:
        model = ModelStore(state_dir).chosen(role) or model
    path, sha256 = verified(role, model)
    module, _, cls = RUNTIMES[name].partition(":")
    network: Network = getattr(import_module(module), cls)(path, role, sha256, config.threads)
    return network
