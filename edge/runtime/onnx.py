"""ONNX Runtime on the CPU: the backend that is always there."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.runtime.base import Source
from edge.runtime.contract import METADATA_KEY, parse_contract
from edge.types import Pixels


class OnnxNetwork:
    """A network run by ONNX Runtime's CPU provider; see edge.runtime.base.Network."""

    def __init__(self, source: Source) -> None:
        path, role = source.path, source.role
        options = ort.SessionOptions()
        options.intra_op_num_threads = source.models.threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        # Waiting threads sleep: a device that idles between frames must not run hot.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            name = f"onnxruntime {ort.__version__}"
            raise ModelError(f"{role or 'the'} model {path} cannot be loaded by {name}: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.contract = parse_contract(metadata.get(METADATA_KEY), role, path)
        self.sha256 = source.sha256
        self.runtime = f"onnxruntime {ort.__version__} {self.contract.precision} on the CPU"
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        if missing := set(self.contract.outputs) - set(self._outputs):
            raise ModelError(
                f"{path} answers {', '.join(self._outputs)}; a {self.contract.role} of its contract answers "
                f"{', '.join(sorted(missing))} as well. Export it again with sicklescope-export"
            )

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on uint8 (N, H, W, 3)."""
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))

    def close(self) -> None:
        """Give the session's memory back."""
        self._session = None
