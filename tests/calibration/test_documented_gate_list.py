"""The way from a laboratory's labels to a gate list works as docs/int8.md has it."""

from __future__ import annotations

import csv
import subprocess
import sys
import textwrap
from pathlib import Path

from calibration.int8.gate_list import read_gate_list

PAGE = Path(__file__).parents[2] / "docs" / "int8.md"


def test_the_documented_lines_write_a_list_that_the_gate_takes(tmp_path: Path) -> None:
    """Documentation that does not work: an example that nobody ran."""
    page = PAGE.read_text("utf-8")
    section = page.partition("## From a laboratory's own labels")[2].partition("\n## ")[0]
    blocks = [textwrap.dedent(part) for part in section.split("\n\n") if part.startswith("    ")]
    labels, program = blocks
    (tmp_path / "labels.csv").write_text(labels.strip() + "\n")
    names = [row["picture"] for row in csv.DictReader(labels.strip().splitlines())]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, check=True)
    found = read_gate_list(tmp_path / "gate.jsonl")
    assert [one.picture for one in found] == [tmp_path / name for name in names]
    assert {one.part for one in found} == {"choose", "measure"}
    assert [(one.kind, len(one.sickle)) for one in found] == [("positive", 1), ("negative", 0)]
