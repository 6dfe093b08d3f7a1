"""No two modules need each other: whoever reads one can stop at what it imports."""

from __future__ import annotations

import pytest

grimp = pytest.importorskip("grimp", reason="grimp comes with the check extra (make test)")


@pytest.mark.parametrize("package", ["edge", "calibration", "export", "fleet", "training"])
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    """Imports for types alone count too: a reader follows them as any other."""
    graph = grimp.build_graph(package, cache_dir=None)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            back = graph.find_shortest_chain(importer=imported, imported=module)
            assert back is None, " -> ".join((module, *back))
