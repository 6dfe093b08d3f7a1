"""Engines from the command line: on the device for its service, or ahead of time with TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.config.loader import load
from edge.errors import ModelError
from edge.runtime.contract import Role, read_contract
from edge.runtime.onnx import cpu_session, metadata_of
from edge.runtime.registry import open_network
from edge.runtime.tensorrt.engine_builder import PROFILES, build, tensorrt_module
from edge.system.atomic_files import aside, move
from edge.system.digest import sha256_file


def role_of(path: Path) -> Role:
    """Return the role that a model file's contract names.

    Raises ModelError when it is none of ours.
    """
    if not path.is_file():
        raise ModelError(f"{path} not found")
    session = cpu_session(path, f"model {path}", threads=1)
    return read_contract(metadata_of(session), None, path).role


def build_here(path: Path, config: Path | None, progress: Callable[[str], None]) -> str:
    """Build, check and store the engine where the service looks for it; return what it is."""
    settings = load(config).config
    role, digest = role_of(path), sha256_file(path)
    chosen = getattr(settings.models, role).model_copy(update={"path": path.absolute(), "sha256": digest})
    models = settings.models.model_copy(update={role: chosen, "runtime": "tensorrt"})
    network = open_network(role, models, settings.device.state_dir, progress)
    try:
        return f"{path}: {role}, {network.runtime}; agrees with ONNX Runtime; kept in {settings.device.state_dir}"
    finally:
        network.close()


def build_ahead(
    path: Path, output: Path, targets: tuple[str, ...], config: Path | None, progress: Callable[[str], None]
) -> None:
    """Build for other GPUs and write the plain engine file.

    Nothing is run, so nothing is compared.
    """
    role, settings = role_of(path), load(config).config.models
    built = build(
        tensorrt_module(),
        path.name,
        path.read_bytes(),
        PROFILES[role],
        settings.precision,
        settings.tensorrt,
        progress=progress,
        targets=targets,
    )
    with aside(output.parent) as unfinished:
        (unfinished / output.name).write_bytes(built.engine)
        move(unfinished / output.name, output)
