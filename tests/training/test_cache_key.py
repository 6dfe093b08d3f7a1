"""What networks saw is read anew when the code that reads a field has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is for training only (make test-training)")

import edge
import training
from edge.config.model import OpticsConfig, QualityConfig, ScreeningConfig
from training.evaluate import predict

pytestmark = pytest.mark.training

EDGE, TRAINING = Path(edge.__file__).parent, Path(training.__file__).parent

OWN = ("fit/networks.py", "fit/torch_network.py", "fit/thresholds.py", "evaluate/predict.py", "evaluate/predictions.py")
"""What else of training a reading depends on: the graph, its thresholds, and what is kept of an answer."""


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


@pytest.mark.parametrize(
    "changed",
    [
        EDGE / name
        for name in (
            "vision/detect.py",
            "vision/registration/matching.py",
            "pipeline.py",
            "types.py",
            "runtime/contract.py",
        )
    ]
    + [TRAINING / name for name in OWN],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_a_change_of_code_changes_the_key(changed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, bare = predict._code_digest(predict.as_taken), predict._bare
    monkeypatch.setattr(predict, "_bare", lambda path: bare(path) + "x" * (path == changed))
    assert predict._code_digest(predict.as_taken) != before


@pytest.mark.parametrize("limits", [QualityConfig, OpticsConfig, ScreeningConfig])
def test_a_change_of_a_default_limit_changes_the_key(
    limits: type[QualityConfig | OpticsConfig | ScreeningConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = predict._code_digest(predict.as_taken)
    monkeypatch.setattr(limits, "model_dump_json", lambda self: "other")
    assert predict._code_digest(predict.as_taken) != before


def test_a_comment_and_a_docstring_change_no_key(tmp_path: Path) -> None:
    plain, commented = tmp_path / "plain.py", tmp_path / "commented.py"
    plain.write_text("def f():\n    return 1\n")
    commented.write_text('"""Say what."""\n\n\ndef f():\n    """Return one."""\n    return 1  # always\n')
    assert predict._bare(plain) == predict._bare(commented)
