"""The pages: links lead to files, and the architecture page names each module once."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "edge/models").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    """A page moves, or a heading is renamed, and a reader meets a dead link."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), f"{page.relative_to(ROOT)} links to {target}: no such heading"


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted((ROOT / "docs/decisions").glob("*.md")), ids=lambda page: page.name[:4])
def test_every_decision_has_its_date_status_and_parts(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.search(r"^\* Date: 20\d\d-\d\d-\d\d$", text, re.MULTILINE)
    assert re.search(r"^\* Status: (accepted|superseded by \[)", text, re.MULTILINE)
    parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences"]


def test_every_test_that_stands_against_a_hazard_is_there() -> None:
    """A test is renamed, and a page for users goes on naming it."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/hazards.md").read_text("utf-8"))
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"{file} has no {test}"


def test_the_architecture_page_lists_every_module() -> None:
    """A module is added or moved, and the map of the code does not say so."""
    source = runpy.run_path(str(ROOT / "docs/modules.py"))
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    assert source["listed"](page) == page, "docs/architecture.md is not current. Run: python docs/modules.py"
