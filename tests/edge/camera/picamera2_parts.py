"""What edge/camera/picamera2.py calls of picamera2, how real releases declare it, and a fake that meets it.

    python tests/edge/camera/picamera2_parts.py WHEEL...

prints the declarations, for picamera2.json beside it. picamera2 installs anywhere but imports only where libcamera
is: so its source is read, not run.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

CALLED = [
    "__init__",
    "global_camera_info",
    "load_tuning_file",
    "find_tuning_algo",
    "create_video_configuration",
    "configure",
    "camera_configuration",
    "start",
    "capture_array",
    "close",
]


def declarations(wheel: Path) -> dict[str, Any]:
    """Return each method's arguments, and in which order each format's colours lie in memory."""
    methods: dict[str, Any] = {}
    for node in _class(_source(wheel, "picamera2/picamera2.py"), "Picamera2").body:
        if not isinstance(node, ast.FunctionDef) or node.name not in CALLED:
            continue
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        if "overload" not in marks:
            methods[node.name] = {"arguments": [one.arg for one in node.args.args], "static": "staticmethod" in marks}
    orders = [
        ast.literal_eval(node.value)
        for node in ast.walk(_source(wheel, "picamera2/request.py"))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "mode_lookup"
    ]
    return {"methods": methods, "orders": orders[0]}


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _source(wheel: Path, name: str) -> ast.Module:
    with zipfile.ZipFile(wheel) as archive:
        return ast.parse(archive.read(name))


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """Return what this file printed of the real releases, by release."""
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("picamera2.json").read_text("utf-8"))
    return found


SCENE = {"R": 200, "G": 100, "B": 50}
"""The colour that the fake's camera sees."""


class FakePicamera2:
    """A camera that sees one colour, and hands it over in the memory order of the format asked for."""

    attached: ClassVar[list[dict[str, Any]]] = [{"Model": "imx219", "Num": 0}]
    tuning: ClassVar[dict[str, Any]] = {
        "version": 2.0,
        "algorithms": [{"rpi.awb": {}}, {"rpi.alsc": {"luminance_strength": 0.7}}],
    }
    sizes: tuple[tuple[int, int], ...] = ((1280, 720), (640, 480), (128, 96))
    last: FakePicamera2

    def __init__(self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None) -> None:
        type(self).last = self
        self.asked: dict[str, Any] = {}
        self.given_tuning, self.started, self.closed = tuning, False, False
        self.captured = 0
        self.fault: RuntimeError | None = None

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return FakePicamera2.attached

    @staticmethod
    def load_tuning_file(tuning_file: str, dir: str | None = None) -> dict[str, Any]:
        if tuning_file != "imx219.json":
            raise RuntimeError("Tuning file not found")
        tuning: dict[str, Any] = json.loads(json.dumps(FakePicamera2.tuning))
        return tuning

    @staticmethod
    def find_tuning_algo(tuning: dict[str, Any], name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(algorithm for algorithm in tuning["algorithms"] if name in algorithm)[name]
        return found

    def create_video_configuration(self, main: dict[str, Any], controls: dict[str, Any]) -> dict[str, Any]:
        return {"main": {"format": "XBGR8888", "size": (1280, 720)} | main, "controls": controls}

    def configure(self, camera_config: Any = None) -> None:
        self.asked = camera_config
        if self.asked["main"]["size"] not in self.sizes:
            self.asked["main"]["size"] = self.sizes[0]

    def camera_configuration(self) -> dict[str, Any]:
        return self.asked

    def start(self, config: Any = None, show_preview: bool = False) -> None:
        self.started = True

    def capture_array(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> np.ndarray:
        if self.fault:
            raise self.fault
        width, height = self.asked["main"]["size"]
        order = next(iter(recorded().values()))["orders"][self.asked["main"]["format"]]
        pixels = np.full((height, width, len(order)), [SCENE.get(colour, 255) for colour in order], np.uint8)
        pixels[0, 0, 0] = self.captured % 256
        self.captured += 1
        return pixels

    def close(self) -> None:
        self.closed = True


if __name__ == "__main__":
    print(json.dumps({Path(one).name.split("-")[1]: declarations(Path(one)) for one in sys.argv[1:]}, indent=1))
