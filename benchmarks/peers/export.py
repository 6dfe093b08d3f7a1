"""Write YOLO detectors of 640×480 pixels to ONNX, fp32 and INT8, with random weights.

    peers/bin/python benchmarks/peers/export.py FOLDER

In the environment of requirements.txt beside this file. INT8 is ONNX Runtime's own static quantisation (Q/DQ, uint8
activations, int8 weights per channel of 7 bits, all convolutions but those of the head), on drawn pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

MODELS = ("yolo11n.yaml", "yolo26n.yaml", "yolov8n.yaml")

HEIGHT, WIDTH = 480, 640

PICTURES = 8


class Drawn(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Noise in place of pictures: ranges do not change the speed."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(0)
        drawn = (rng.random((1, 3, HEIGHT, WIDTH), dtype=np.float32) for _ in range(PICTURES))
        self._pictures: Iterator[dict[str, np.ndarray]] = ({name: one} for one in drawn)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next picture by the input's name."""
        return next(self._pictures, None)


def heads(model: onnx.ModelProto) -> list[str]:
    """Return the nodes of the last block, which stays in fp32 as ours does."""
    blocks = [int(part[len("model.") :]) for node in model.graph.node for part in node.name.split("/")
              if part.startswith("model.") and part[len("model.") :].isdecimal()]  # fmt: skip
    last = f"/model.{max(blocks)}/"
    return [node.name for node in model.graph.node if last in node.name]


def export(config: str, folder: Path) -> list[Path]:
    """Write one detector in both forms; returns the files."""
    from ultralytics import YOLO

    made = Path(YOLO(config).export(format="onnx", imgsz=(HEIGHT, WIDTH), opset=17, simplify=False))
    fp32, int8 = folder / f"{Path(config).stem}.onnx", folder / f"{Path(config).stem}.int8.onnx"
    made.replace(fp32)
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(prepared)
    quantize_static(
        prepared,
        int8,
        Drawn(model.graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=heads(model),
    )
    prepared.unlink()
    return [fp32, int8]


def main() -> None:
    """Export all of MODELS into the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/peers/export.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for config in MODELS:
        for path in export(config, folder):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
