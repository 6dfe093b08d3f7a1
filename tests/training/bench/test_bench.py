"""The bench as a user drives it: fit, features, ensemble, compare, evaluate; killed, damaged, and given bad data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.training.training_parts import one_thread  # noqa: F401  a fixture

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")

from training.bench.models import networks  # noqa: E402
from training.cli import app  # noqa: E402
from training.fit.classifier import save  # noqa: E402
from training.fit.networks import Classifier  # noqa: E402

pytestmark = [
    pytest.mark.training,
    pytest.mark.timeout(300),
]

FIT = ["--epochs", "0,1,2", "--side", "24", "--batch", "16", "--folds", "0,1"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw round and long cells on six slides, on grounds of their own."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for slide in range(6):
        for kind, axes in (("round", (5, 5)), ("long", (9, 2))):
            for i in range(6):
                ground = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
                cell = cv2.resize(ground, (32, 32), interpolation=cv2.INTER_CUBIC)
                cv2.ellipse(cell, (16, 16), axes, float(rng.uniform(0, 180)), 0, 360, (250, 250, 250), -1)
                path = root / kind / f"slide{slide}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), cell)
    return root


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def figures(run: Path) -> dict[str, object]:
    return dict(json.loads((run / "figures.json").read_text()))


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two runs on the same folds."""
    root = tmp_path_factory.mktemp("runs")
    for words in (
        ["fit", "--net", "compact", *FIT, "--out", root / "net"],
        ["features", "--net", "compact", "--side", 24, "--classifier", "knn", "--folds", "0,1", "--out", root / "knn"],
    ):
        result = bench(*words, "--set", drawn)
        assert result.exit_code == 0, result.output
    return root


def test_a_run_holds_what_was_found(runs: Path) -> None:
    for name in ("net", "knn"):
        found = figures(runs / name)
        assert found["cells"] == len((runs / name / "predictions.csv").read_text().splitlines()) - 1 > 0
        assert (runs / name / "report.html").read_text().count("data:image/png") >= 2


def test_features_are_measured_by_the_network_of_each_fold(runs: Path, drawn: Path, tmp_path: Path) -> None:
    words = ["features", "--net", "compact", "--side", 24, "--classifier", "knn", "--set", drawn]
    run = tmp_path / "run"
    result = bench(*words, "--folds", "0,1", "--weights", runs / "net", "--out", run)
    assert result.exit_code == 0, result.output
    for fold in ("fold0", "fold1"):
        measuring, fitted = (
            networks.restored(r / fold / name) for r, name in ((run, "trunk.pt"), (runs / "net", "weights.pt"))
        )
        for mine, its in zip(networks.state(measuring.trunk), networks.state(fitted.trunk), strict=True):
            assert torch.equal(mine, its)
    result = bench("evaluate", run, "--set", drawn)
    assert result.exit_code == 0, result.output
    result = bench(*words, "--seed", 1, "--weights", runs / "net", "--out", tmp_path / "other")
    assert result.exit_code != 0
    assert "other cells or folds" in " ".join(result.output.split())


def test_a_fit_starts_from_the_shipped_classifier_but_not_on_sets_that_taught_it(drawn: Path, tmp_path: Path) -> None:
    classifier = Classifier()
    save(classifier, tmp_path / "classifier.pt")
    net = networks.built("compact", 2, 24, str(tmp_path / "classifier.pt"), 0)
    for mine, its in zip(networks.state(net.trunk), classifier.body.state_dict().values(), strict=True):
        assert torch.equal(mine, its)
    shutil.copytree(drawn, tmp_path / "taught/chula_rbc12")
    words = ["--weights", tmp_path / "classifier.pt", "--set", tmp_path / "taught/chula_rbc12"]
    result = bench("fit", "--net", "compact", *FIT, *words, "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert "taught by pictures of chula_rbc12" in " ".join(result.output.split())


def test_ensemble_compare_and_evaluate(runs: Path, drawn: Path, tmp_path: Path) -> None:
    vote = tmp_path / "vote"
    result = bench("ensemble", runs / "net", runs / "knn", "--set", drawn, "--out", vote)
    assert result.exit_code == 0, result.output
    assert np.load(vote / "fold0/weights.npy").sum() == pytest.approx(1)
    result = bench("compare", runs / "net", runs / "knn", vote, "--page", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert "the best" in result.output
    assert "vote" in (tmp_path / "page.html").read_text()
    result = bench("evaluate", runs / "net", "--set", drawn, "--page", tmp_path / "judged.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "judged.json").read_text())["accuracy"] == figures(runs / "net")["accuracy"]


def test_a_network_is_distilled_from_an_ensemble_of_the_same_folds(runs: Path, drawn: Path, tmp_path: Path) -> None:
    vote = tmp_path / "vote"
    assert bench("ensemble", runs / "net", runs / "knn", "--set", drawn, "--out", vote).exit_code == 0
    words = ["fit", "--net", "compact", *FIT, "--teacher", vote, "--set", drawn]
    result = bench(*words, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    told, untold = (
        json.loads((r / "fold0/curve.json").read_text())[0]["loss"] for r in (tmp_path / "run", runs / "net")
    )
    assert told != untold
    result = bench(*words, "--seed", 1, "--out", tmp_path / "other")
    assert result.exit_code != 0
    assert "other cells or folds" in " ".join(result.output.split())


def test_a_run_is_not_judged_on_cells_that_it_learnt_from(runs: Path, drawn: Path, tmp_path: Path) -> None:
    some = tmp_path / "some"
    for path in drawn.glob("*/slide[0-3]/*.png"):
        copy = some / path.relative_to(drawn)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    result = bench("evaluate", runs / "net", "--set", some)
    assert result.exit_code != 0
    assert "learnt from" in result.output


def test_a_kill_in_mid_epoch_leads_to_the_same_curve(runs: Path, drawn: Path, tmp_path: Path) -> None:
    words = ["bench", "fit", "--net", "compact", *FIT, "--set", str(drawn), "--out", str(tmp_path / "run")]
    code = "import sys, torch; torch.set_num_threads(1); from training.cli import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        until = time.monotonic() + 60
        while not (tmp_path / "run/fold0/checkpoint.pt").is_file() and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/figures.json").exists()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    for fold in ("fold0", "fold1"):
        again, whole = (json.loads((r / fold / "curve.json").read_text()) for r in (tmp_path / "run", runs / "net"))
        assert again == whole


def test_a_checkpoint_of_another_network_is_refused(drawn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run/fold0"
    folder.mkdir(parents=True)
    torch.save({"net": "vgg16"}, folder / "checkpoint.pt")
    result = bench("fit", "--net", "compact", *FIT, "--set", drawn, "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert "vgg16" in result.output


def test_other_settings_in_the_same_folder_are_refused(runs: Path, drawn: Path) -> None:
    result = bench("fit", "--net", "compact", *FIT, "--seed", 5, "--set", drawn, "--out", runs / "net")
    assert result.exit_code != 0
    assert "settings" in result.output


@pytest.mark.parametrize(("content", "said"), [(b"no picture", "cannot be read"), (b"", "cannot be read")])
def test_an_unreadable_picture_is_named(content: bytes, said: str, tmp_path: Path, drawn: Path) -> None:
    for path in drawn.glob("*/*/0.png"):
        copy = tmp_path / "set" / path.relative_to(drawn)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "set/round/slide1/0.png").write_bytes(content)
    result = bench("fit", *FIT, "--set", tmp_path / "set", "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("name", sorted(set(networks.NETS) - {"vgg16", "inception_v3", "alexnet"}))
def test_every_network_learns_from_a_batch(name: str) -> None:
    net = networks.built(name, 3, max(32, networks.NETS[name].least), "none", 0)
    for stage in range(3):
        net.thaw(stage)
        net.train()
        net(torch.zeros(2, net.side, net.side, 3, dtype=torch.uint8)).sum().backward()
    assert any(p.grad is not None for p in net.trunk.parameters())
