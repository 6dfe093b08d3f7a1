"""The `sicklescope-export` command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import ValidationError
from rich.console import Console

from edge.errors import EdgeError, ModelError
from edge.runtime.contract import Contract
from export.onnx import export_onnx

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Trained network → a file a device can run.")


@app.callback()
def _commands() -> None:
    """Keep `onnx` a command of its own."""


@app.command("onnx")
def onnx_command(
    checkpoint: Annotated[Path, typer.Argument(help="NAME.pt of a training run; NAME.json and NAME.npy lie beside it")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the ONNX file to write")],
) -> None:
    """Write an ONNX file with its contract, compared with the trained network on real pictures."""
    try:
        beside = checkpoint.with_suffix(".json"), checkpoint.with_suffix(".npy")
        for path in (checkpoint, *beside):
            if not path.is_file():
                raise ModelError(f"{path} not found; a training run writes NAME.pt, NAME.json and NAME.npy together")
        try:
            wanted = Contract.model_validate({**json.loads(beside[0].read_text(encoding="utf-8")), "graph_sha256": ""})
        except (ValidationError, ValueError) as error:
            raise ModelError(f"{beside[0]} is no contract: {error}") from error
        difference = export_onnx(checkpoint, wanted, np.load(beside[1]), output)
    except EdgeError as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        raise typer.Exit(error.exit_code) from error
    Console().print(
        f"{output}: {output.stat().st_size / 1e6:.2f} MB, largest difference {difference:.1e}, "
        f"sha256 {hashlib.sha256(output.read_bytes()).hexdigest()}"
    )


def main() -> None:
    """Run the command."""
    app()
