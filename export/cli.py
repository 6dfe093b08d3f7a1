"""The `sicklescope-export` command. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import ValidationError

from edge.errors import ModelError
from edge.runtime.contract import Contract
from edge.system import console
from edge.system.console import err, out
from edge.system.digest import sha256_file

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Trained network → a file a device can run.")

Output = Annotated[Path, typer.Option("-o", "--output", help="the file to write")]
OnnxFile = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="a file of sicklescope-export onnx")]


answering = partial(console.answering, "sicklescope-export")


@app.command("onnx")
def onnx_command(
    checkpoint: Annotated[Path, typer.Argument(help="NAME.pt of a training run; NAME.json and NAME.npy lie beside it")],
    output: Output,
) -> None:
    """Write an ONNX file with its contract, compared with the trained network on real pictures."""
    with answering():
        beside = checkpoint.with_suffix(".json"), checkpoint.with_suffix(".npy")
        for path in (checkpoint, *beside):
            if not path.is_file():
                raise ModelError(f"{path} not found; a training run writes NAME.pt, NAME.json and NAME.npy together")
        try:
            wanted = Contract.model_validate({**json.loads(beside[0].read_text(encoding="utf-8")), "graph_sha256": ""})
        except (ValidationError, ValueError) as error:
            raise ModelError(f"{beside[0]} is no contract: {error}") from error
        from export.onnx import export_onnx

        difference = export_onnx(checkpoint, wanted, np.load(beside[1]), output)
        _say(output, f"largest difference {difference:.1e}")


@app.command("fp16")
def fp16_command(model: OnnxFile, output: Output) -> None:
    """Write the half-precision twin of a model, fp32 or Q/DQ.

    What a strongly typed TensorRT makes fp16 engines of.
    """
    with answering():
        from export.half import write_half

        differences = write_half(model, output)
        _say(output, "largest differences " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))


@app.command("engine")
def engine_command(
    model: OnnxFile,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="as of sicklescope")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="with --target: the file to write")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="build for these GPUs, such as SM86, on a machine without; TensorRT-RTX")
    ] = None,
) -> None:
    """Build the TensorRT engine of a model on this device and keep it for the service.

    It is checked against ONNX Runtime.

    The service does the same at its start; this does it beforehand.
    """
    with answering():
        from export.engine import build_ahead, build_here

        if target:
            if output is None:
                raise ModelError("--target needs -o FILE: an engine for another GPU is not kept for this device")
            build_ahead(model, output, tuple(target), config, _progress)
            _say(output, f"built for {', '.join(target)}, not tried: no such GPU was used")
        else:
            out.print(build_here(model, config, _progress))


def _progress(text: str) -> None:
    err.print(text, markup=False, highlight=False)


def _say(path: Path, about: str) -> None:
    digest = sha256_file(path)
    out.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {about}, sha256 {digest}", soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()
