"""`sicklescope-calibrate int8`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from calibration.int8.calibration_batches import FIELDS_MIN
from calibration.int8.gate import Limits
from edge.errors import RuntimeUnavailableError
from edge.system.console import answering, err, out
from edge.system.progress_bars import progress_bars

Points = typer.Option(min=0.0, max=100.0, help="points that INT8 may lose; the gate's limit")


def int8(
    model: Annotated[Path, typer.Argument(help="fp32 ONNX file written by sicklescope-export")],
    output: Annotated[Path, typer.Option("-o", "--output", help="X.int8.onnx; X.int8.cpu.onnx comes beside it")],
    gate: Annotated[Path, typer.Option(help="gate list: labelled pictures to measure on; never calibrated on")],
    images: Annotated[
        list[Path] | None, typer.Option(help="folder of pictures to calibrate on; may be repeated")
    ] = None,
    captures: Annotated[list[Path] | None, typer.Option(help="folder of frames, one folder in it a slide")] = None,
    partner: Annotated[Path | None, typer.Option(help="fp32 network of the other role; else the shipped one")] = None,
    evaluation_list: Annotated[Path | None, typer.Option(help="sha256 of more pictures that must not be used")] = None,
    keep_fp16: Annotated[
        list[str] | None, typer.Option(help="layer that TensorRT's file leaves in higher precision, or auto")
    ] = None,
    keep_fp32: Annotated[
        list[str] | None, typer.Option(help="layer that the processors' file leaves in fp32, or auto")
    ] = None,
    fields: Annotated[
        int, typer.Option(min=1, help="fields (detector) or cells (classifier) for the ranges")
    ] = FIELDS_MIN,
    um_per_px: Annotated[float | None, typer.Option(min=0.02, max=2.0, help="of the pictures; else estimated")] = None,
    force: Annotated[bool, typer.Option(help="calibrate on too few pictures")] = False,
    recall: Annotated[float, Points] = Limits().recall,
    f1: Annotated[float, Points] = Limits().f1,
    false_calls: Annotated[float, Points] = Limits().false_calls,
    changed: Annotated[float, Points] = Limits().changed,
) -> None:
    """Quantise a network and write it only when it loses nothing against fp32.

    Both are measured on labelled pictures.
    """
    if bool(images) == bool(captures):
        raise typer.BadParameter("give either --images or --captures")
    with answering("sicklescope-calibrate"):
        if find_spec("onnx") is None:
            raise RuntimeUnavailableError(
                f"INT8 needs the package onnx, which is not installed: {sys.executable} -m pip install 'onnx>=1.17'"
            )
        from calibration.int8.procedure import Int8Options, int8_model

        options = Int8Options(
            model, tuple(images or captures or ()), bool(captures), output, gate, partner, evaluation_list,
            tuple(keep_fp16 or ()), tuple(keep_fp32 or ()), fields, um_per_px, force,
            Limits(recall, f1, false_calls, changed),
        )  # fmt: skip
        with progress_bars(err) as progress:
            written = int8_model(options, progress)
    if written.warning:
        err.print(f"forced: {written.warning}", style="yellow", markup=False)
    out.print("\n".join(map(str, written.files)), markup=False, highlight=False, soft_wrap=True)
