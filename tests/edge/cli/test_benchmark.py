"""The table of `sicklescope benchmark`: whose figures it holds, and that a device that cannot read says why."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime
from typer.testing import CliRunner

from edge.cli.main import app


def test_the_table_names_the_machine_and_times_every_stage() -> None:
    done = CliRunner().invoke(app, ["benchmark", "--fields", "5"])
    assert done.exit_code == 0, done.output
    assert f"ONNX Runtime {onnxruntime.__version__}" in done.stdout
    assert re.search(r"networks: onnxruntime \S+ int8", done.stdout)
    assert re.search(r"^\| 5 fields of 640 by 480 pixels, [1-9]\d* cells each \|", done.stdout, re.MULTILINE)
    rows = dict(re.findall(r"^\| ([a-z ,]+) \| ([\d.]+) \|", done.stdout, re.MULTILINE))
    assert {"whole, scale known", "detect", "classify", "whole, scale not known"} <= rows.keys()
    assert min(float(rows[one]) for one in ("whole, scale known", "detect", "whole, scale not known")) > 0
    ((rate, memory),) = re.findall(r"reads ([\d.]+) frames a second .* Peak memory (\d+) MB", done.stdout)
    assert float(rate) > 0
    assert int(memory) > 50


def test_networks_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    settings = tmp_path / "sicklescope.toml"
    settings.write_text('[models]\ndetector = "gone.onnx"\n', "utf-8")
    done = CliRunner().invoke(app, ["benchmark", "--config", str(settings)])
    assert done.exit_code != 0
    assert "gone.onnx" in done.output
    assert "| whole" not in done.output
