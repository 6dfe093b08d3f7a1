"""Two versions that read by turns: the same pictures, the same cells, and a version that is not there is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmarks.compare import Version, ratio_of, written
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide


def test_a_version_reads_in_its_own_process_in_every_mode(tmp_path: Path) -> None:
    slide = Slide(SlideSpec(seed=3, n_fields=1, width=320, height=240))
    (path,) = written([slide.render(0)], tmp_path)
    with Version(Path(sys.executable), 1) as version:
        answers = [
            version.ask({"picture": str(path), "mode": mode, "um_per_px": 0.25})
            for mode in ("known", "unknown", "checked")
        ]
    assert answers[0]["cells"] > 5
    assert answers[0]["um_per_px"] == 0.25
    assert all(answer["cpu_ms"] > 0 for answer in answers)


def test_a_python_without_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/bin/true")
    with (
        Version(tmp_path / "python", 1) as version,
        pytest.raises(typer.BadParameter, match="Is sicklescope there"),
    ):
        version.ask({"picture": "", "mode": "known", "um_per_px": 0.25})


def test_a_ratio_is_of_sums_and_lies_in_its_interval() -> None:
    old, new = np.array([10.0, 20.0, 30.0]), np.array([5.0, 10.0, 45.0])
    ratio, low, high = ratio_of(old, new)
    assert ratio == 1.0
    assert low == 0.5
    assert high == 1.5
