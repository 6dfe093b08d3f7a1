"""The rooms stay what docs/architecture.md says: few modules in each, and one sentence on what belongs there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MODULES_MAX = 15

FIRST_LINE_MAX = 90

FOLDERS = [
    folder
    for top in ("edge", "calibration", "fleet", "training")
    for folder in (ROOT / top, *sorted((ROOT / top).rglob("*")))
    if folder.is_dir() and any(folder.glob("*.py"))
]


def test_only_four_modules_lie_outside_a_room() -> None:
    assert {path.stem for path in (ROOT / "edge").glob("*.py")} == {
        "__init__",
        "__main__",
        "errors",
        "pipeline",
        "types",
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_room_is_small_and_says_in_a_sentence_what_belongs_in_it(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MODULES_MAX
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    assert doc is not None
    assert doc.endswith(".")
    assert ". " not in doc.replace("\n", " "), "one sentence"


def public_docstrings() -> Iterator[tuple[str, str]]:
    """Give name and docstring of each public function, method and class of the program."""
    for top in ("edge", "calibration", "export", "fleet", "training"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                    yield f"{path.relative_to(ROOT)}: {node.name}", ast.get_docstring(node) or ""


def test_a_docstring_begins_with_one_short_line() -> None:
    """That it is imperative, ruff checks (D401)."""
    long = [name for name, text in public_docstrings() if len(text.partition("\n")[0]) > FIRST_LINE_MAX]
    assert long == []
