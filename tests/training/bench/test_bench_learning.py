"""What the bench learns with: losses, classical learners, a configuration, an ONNX file, a disk that is full."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.training.training_parts import one_thread  # noqa: F401  a fixture

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")
pytest.importorskip("imagehash", reason="imagehash not installed (make test-training)")

from tests.training.bench.test_bench_sets import draw, slides  # noqa: E402
from training.bench.runs.trainer import classification_loss  # noqa: E402
from training.cli import app  # noqa: E402

pytestmark = pytest.mark.training

SHIPPED = Path(__file__).parents[3] / "edge/models"
SMALL = ["--net", "compact", "--side", 24, "--folds", 0]
ONCE = [*SMALL, "--epochs", "0,0,1", "--batch", 16]


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out six slides with three times as many cells of one class."""
    root = slides(tmp_path_factory.mktemp("uneven"))
    for group in range(6):
        for i in range(4):
            draw(root / f"class0/slide{group}/more{i}.png", 1000 + 10 * group + i)
    return root


def test_focal_loss_and_class_weights_as_their_formulae_say() -> None:
    logits, y, even = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]), torch.ones(2)
    p = torch.softmax(logits, 1)[:, 0]
    assert classification_loss(logits, y, even, "cross_entropy") == pytest.approx(float(-p.log().mean()))
    assert classification_loss(logits, y, even, "focal") == pytest.approx(float((-p.log() * (1 - p) ** 2).mean()))
    y, weights = torch.tensor([0, 1]), torch.tensor([3.0, 1.0])
    q = torch.softmax(logits, 1)[[0, 1], [0, 1]]
    expected = float((-q.log() * weights).sum() / 4)
    assert classification_loss(logits, y, weights, "cross_entropy") == pytest.approx(expected)


def test_a_configuration_reaches_the_fit_and_options_win_over_it(uneven: Path, tmp_path: Path) -> None:
    losses = {}
    for name, content in {
        "plain": "",
        "focal": 'loss = "focal"\n',
        "even": "class_weights = false\nseed = 9\n",
        "still": "[augmentation]\nrotation = 0\nstain = 0.5\n",
    }.items():
        config, run = tmp_path / f"{name}.toml", tmp_path / name
        config.write_text(content)
        result = bench("fit", *ONCE, "--seed", 0, "--config", config, "--set", uneven, "--out", run)
        assert result.exit_code == 0, result.output
        losses[name] = json.loads((run / "fold0/curve.json").read_text())[0]["loss"]
    assert len(set(losses.values())) == 4
    assert losses["focal"] < losses["plain"]
    told = json.loads((tmp_path / "even/config.json").read_text())["settings"]
    assert (told["seed"], told["class_weights"], told["side"]) == (0, False, 24)


@pytest.mark.parametrize(
    ("content", "expected"),
    [("colour = 1", "colour"), ("batch = 1", "batch"), ("= nothing", "cannot be read as TOML")],
)
def test_a_wrong_configuration_says_what_is_wrong(content: str, expected: str, uneven: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(content)
    result = bench("fit", "--config", tmp_path / "bad.toml", "--set", uneven, "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert expected in said(result)
    assert "bad.toml" in said(result)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("classifier", ["svm", "naive_bayes", "knn", "random_forest"])
def test_each_classical_learner_judges_every_cell_of_a_fold(classifier: str, uneven: Path, tmp_path: Path) -> None:
    result = bench("features", *SMALL, "--classifier", classifier, "--set", uneven, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "run/predictions.csv").read_text().splitlines()[1:]
    prob = [[float(v) for v in row.split(",")[-2:]] for row in rows]
    assert len(prob) == json.loads((tmp_path / "run/figures.json").read_text())["cells"] > 0
    assert all(sum(pair) == pytest.approx(1, abs=1e-4) for pair in prob)


def test_one_class_one_group_and_no_class_end_before_a_run_begins(tmp_path: Path) -> None:
    for name, root, expected in (
        ("class", slides(tmp_path / "a", classes=1), "two classes or more"),
        ("group", slides(tmp_path / "b", groups=1), "one group"),
        ("none", tmp_path, "looked for"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        result = bench("fit", *ONCE, "--set", tmp_path / "empty" if name == "none" else root, "--out", tmp_path / name)
        assert result.exit_code != 0
        assert expected in said(result)
        assert not (tmp_path / name).exists()


def test_an_onnx_classifier_is_judged_under_the_names_of_the_set(uneven: Path, tmp_path: Path) -> None:
    renamed = ["--as", "normal=class0", "--as", "other=class0", "--as", "sickle=class1"]
    result = bench("evaluate", SHIPPED / "classifier.onnx", *renamed, "--set", uneven, "--page", tmp_path / "f.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["cells"] == 48
    assert list(found["classes"]) == ["class0", "class1"]


@pytest.mark.parametrize(
    ("file", "words", "expected"),
    [
        ("classifier.onnx", [], "Say which is which: --as normal=circular"),
        ("detector.onnx", ["--as", "normal=class0"], "is a detector; expected a classifier"),
        ("classifier.md", ["--as", "normal=class0"], "cannot be loaded by onnxruntime"),
        ("absent.onnx", ["--as", "normal=class0"], "is neither a run of the bench nor an ONNX file"),
    ],
)
def test_what_is_no_onnx_classifier_is_told_so(file: str, words: list[str], expected: str, uneven: Path) -> None:
    result = bench("evaluate", SHIPPED / file, *words, "--set", uneven)
    assert result.exit_code != 0
    assert expected in said(result)


def test_a_full_disk_ends_a_fit_which_goes_on_when_there_is_room(small_disk: Path, uneven: Path) -> None:
    words = ["fit", *ONCE, "--set", uneven, "--out", small_disk / "run"]
    result = bench(*words)
    assert result.exit_code != 0
    assert "checkpoint.pt cannot be written: No space left on device" in said(result)
    assert not [p for p in small_disk.rglob("*") if p.name.startswith(".partial") or p.name == "checkpoint.pt"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    result = bench(*words)
    assert result.exit_code == 0, result.output
    assert (small_disk / "run/figures.json").is_file()
