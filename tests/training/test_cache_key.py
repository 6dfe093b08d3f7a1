"""What networks saw is read anew when the code that reads a field has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is for training only (make test-training)")

import edge
from training.evaluate import predict

pytestmark = pytest.mark.training

EDGE = Path(edge.__file__).parent


def test_the_key_covers_every_file_of_vision_however_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return ""

    monkeypatch.setattr(predict, "_bare", noted)
    predict._code_digest(predict.as_taken)
    assert set((EDGE / "vision").rglob("*.py")) <= set(read)
    assert EDGE / "vision" / "registration" / "registrar.py" in read
    assert EDGE / "pipeline.py" in read


@pytest.mark.parametrize("changed", ["vision/detect.py", "vision/registration/matching.py", "pipeline.py", "types.py"])
def test_a_change_of_code_changes_the_key_and_a_comment_does_not(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, bare = predict._code_digest(predict.as_taken), predict._bare
    monkeypatch.setattr(predict, "_bare", lambda path: bare(path) + "x" * (path == EDGE / changed))
    assert predict._code_digest(predict.as_taken) != before
