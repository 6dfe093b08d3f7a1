"""Write the list of modules in docs/architecture.md from the tree: `python docs/modules.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("edge", "calibration", "export", "fleet", "training")
BEGIN, END = "<!-- modules: python docs/modules.py -->\n", "<!-- end of modules -->\n"


def listed(page: str) -> str:
    """Return the page with the list of modules as the tree has them."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{''.join(_rows())}\n{END}{after}"


def _rows() -> Iterator[str]:
    """Give a row for each folder: its path, the first line of its docstring, and its modules."""
    yield "| folder | holds | modules |\n|---|---|---|\n"
    for package in PACKAGES:
        for init in sorted((ROOT / package).rglob("__init__.py")):
            text = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
            names = sorted(path.stem for path in init.parent.glob("*.py") if path != init)
            modules = ", ".join(f"`{name}`" for name in names)
            yield f"| `{init.parent.relative_to(ROOT)}/` | {text.partition(chr(10))[0]} | {modules} |\n"


if __name__ == "__main__":
    PAGE.write_text(listed(PAGE.read_text("utf-8")), "utf-8")
