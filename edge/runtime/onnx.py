"""ONNX Runtime on the CPU: the backend that is always there, and the one session that every tool runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.runtime.base import Source
from edge.runtime.contract import Contract, device_contract
from edge.types import Pixels

RUNTIME = f"onnxruntime {ort.__version__}"


def cpu_session(model: Path | bytes, what: str, threads: int = 0) -> Any:
    """Return an onnxruntime.InferenceSession on the CPU.

    Args:
        model: the file, or its bytes.
        what: how an error names the model.
        threads: of one operator; 0 for as many as there are processors to run on.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Waiting threads sleep: a device that idles between frames must not run hot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    loaded = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(loaded, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class but this
        raise ModelError(f"{what} cannot be loaded by {RUNTIME}: {error}") from error


def metadata_of(session: Any) -> dict[str, str]:
    """Return the metadata properties of a session's model."""
    return dict(session.get_modelmeta().custom_metadata_map)


WHY_CHARACTERS = 200
"""Of ONNX Runtime's reason: what to do comes behind it, and a status has no room for more."""


class SessionNetwork:
    """A network run by a session; see edge.runtime.base.Network."""

    def __init__(self, session: Any, contract: Contract, sha256: str) -> None:
        self._session = session
        self.contract, self.sha256 = contract, sha256
        self.runtime = f"{RUNTIME} {contract.precision} on the CPU"
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on uint8 (N, H, W, 3)."""
        try:
            answers = self._session.run(None, {self._input: batch})
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            role, why = self.contract.role, " ".join(str(error).split())
            raise ModelError(
                f"the {role} {self.contract.name} {self.contract.version} failed in {RUNTIME} on a batch {batch.shape}"
                f": {why[:WHY_CHARACTERS]}. Go back: `sicklescope model rollback {role}`"
            ) from error
        return dict(zip(self._outputs, answers, strict=True))

    def close(self) -> None:
        """Give the session's memory back."""
        self._session = None


class OnnxNetwork(SessionNetwork):
    """A network of a pinned file."""

    def __init__(self, source: Source) -> None:
        path, role = source.path, source.role
        session = cpu_session(path, f"{role or 'the'} model {path}", source.models.threads)
        super().__init__(session, device_contract(metadata_of(session), role, path), source.sha256)
        given = session.get_inputs()
        if len(given) != 1 or given[0].type != "tensor(uint8)" or len(given[0].shape) != 4:
            found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in given)
            raise ModelError(f"{path} takes {found}; expected uint8 (N, height, width, 3). Export it again")
        if missing := set(self.contract.outputs) - set(self._outputs):
            raise ModelError(
                f"{path} answers {', '.join(self._outputs)}; a {self.contract.role} of its contract answers "
                f"{', '.join(sorted(missing))} as well. Export it again with sicklescope-export"
            )
