"""An ordinary installation has no onnx: the optics are calibrated without it, and INT8 says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

WITHOUT = "import sys; sys.modules['onnx'] = None; from calibration.cli import main; main()"


def calibrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("command", [[], ["pixel-size"], ["flat-field"], ["white-balance"], ["int8"]])
def test_every_command_shows_its_help(command: list[str]) -> None:
    """Kind: a command that no installation of the documentation can run."""
    done = calibrate(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_int8_says_in_one_sentence_what_to_install(tmp_path: Path) -> None:
    done = calibrate("int8", tmp_path / "a.onnx", "-o", tmp_path / "b.onnx", "--gate", tmp_path, "--images", tmp_path)
    assert done.returncode == 5
    said = " ".join(done.stderr.split())
    assert said == (
        "sicklescope-calibrate: INT8 needs the package onnx, which is not installed: "
        f"{sys.executable} -m pip install 'onnx>=1.17'"
    )


def test_a_flat_field_is_measured(tmp_path: Path) -> None:
    fields = tmp_path / "empty-fields"
    fields.mkdir()
    noise = np.random.default_rng(1).normal(200, 2, (8, 240, 320, 3))
    for number, field in enumerate(noise):
        cv2.imwrite(str(fields / f"{number}.png"), field.clip(0, 255).astype(np.uint8))
    done = calibrate("flat-field", fields, "-o", tmp_path / "optics.json", "--objective", "40x")
    assert done.returncode == 0, done.stderr
