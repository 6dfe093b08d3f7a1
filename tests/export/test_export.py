"""From a traced network to a file: what was trained is what runs, it is sealed, and nothing is written otherwise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.runtime.contract import Role

torch = pytest.importorskip("torch", reason="torch is for training only (make test-training)")
onnx = pytest.importorskip("onnx")

import export.onnx as exporter  # noqa: E402
from edge.config.model import ModelConfig, ModelsConfig  # noqa: E402
from edge.errors import ModelError  # noqa: E402
from edge.runtime.base import Network  # noqa: E402
from edge.runtime.contract import Contract  # noqa: E402
from edge.runtime.registry import open_network  # noqa: E402
from export.cli import app  # noqa: E402
from export.graph import graph_sha256  # noqa: E402
from training.fit.networks import Classifier, ClassifierGraph, Detector, DetectorGraph  # noqa: E402
from training.fit.release import hand_over  # noqa: E402

pytestmark = pytest.mark.training

THRESHOLDS = {
    "detector": {"score": 0.3, "score_platelet": 0.4},
    "classifier": {"sickle": 0.5, "abstain": 0.4, "second_look": 0.1, "novelty_cell": 3.0, "novelty_field": 2.0},
}


def handed_over(role: str, folder: Path) -> Path:
    """Hand over an untrained network as training does, and return its TorchScript file."""
    torch.manual_seed(0)
    net: Any = Detector() if role == "detector" else Classifier()
    shape = (2, 64, 96, 3) if role == "detector" else (3, 64, 64, 3)
    samples = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    more = {} if role == "detector" else {"temperature": 1.7, "limit_of_blank": 0.003}
    return hand_over(net.eval(), folder, samples, "0.0.1", THRESHOLDS[role], **more)


def exported(role: str, folder: Path, target: Path) -> float:
    traced = handed_over(role, folder)
    wanted = Contract.model_validate({**json.loads(traced.with_suffix(".json").read_text("utf-8")), "graph_sha256": ""})
    return exporter.export_onnx(traced, wanted, np.load(traced.with_suffix(".npy")), target)


def opened(role: Role, path: Path) -> Network:
    model = ModelConfig(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return open_network(role, ModelsConfig(detector=model, classifier=model, threads=1))


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_the_file_answers_as_the_trained_network_does_at_any_batch_and_size(role: Role, tmp_path: Path) -> None:
    assert exported(role, tmp_path, tmp_path / "out.onnx") < 1e-4
    network = opened(role, tmp_path / "out.onnx")
    torch.manual_seed(0)
    graph: Any = DetectorGraph(Detector()) if role == "detector" else ClassifierGraph(Classifier(), 1.7)
    shape = (3, 112, 80, 3) if role == "detector" else (7, 64, 64, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    with torch.inference_mode():
        wanted = graph.eval()(torch.from_numpy(pixels))
    found = network(pixels)
    for name, array in zip(network.contract.outputs, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert found[name].shape == tuple(array.shape)
        assert np.allclose(found[name], array.numpy(), rtol=1e-3, atol=1e-3)
    network.close()


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_the_file_is_of_the_promised_opset_and_sealed_with_its_contract(role: Role, tmp_path: Path) -> None:
    exported(role, tmp_path, tmp_path / "out.onnx")
    model = onnx.load(str(tmp_path / "out.onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    network = opened(role, tmp_path / "out.onnx")
    contract = network.contract
    assert contract.thresholds == THRESHOLDS[role]
    assert contract.graph_sha256 == graph_sha256(model)
    assert contract.temperature == (1.7 if role == "classifier" else 1.0)
    assert contract.version == "0.0.1"
    figures = {entry.key: entry.value for entry in model.metadata_props}
    assert float(figures["sicklescope.parity"]) < 1e-4
    assert figures["sicklescope.parity_pictures"] == ("2" if role == "detector" else "3")
    operators = [node.op_type for node in model.graph.node]
    assert [n.op_type for n in model.graph.node if "pixels" in n.input] == ["Cast"]  # TensorRT does no more with uint8
    assert not {"Identity", "Constant"} & set(operators)
    network.close()


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_the_same_network_gives_the_same_file(role: Role, tmp_path: Path) -> None:
    digests = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        exported(role, folder, folder / "out.onnx")
        digests.add(hashlib.sha256((folder / "out.onnx").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_file_that_differs_from_the_network_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"the file before")
    monkeypatch.setattr(exporter, "parity", lambda *_: 0.01)
    with pytest.raises(ModelError, match=r"differs from the trained network by 0\.01.*Nothing was written"):
        exported("classifier", tmp_path, target)
    assert target.read_bytes() == b"the file before"
    assert not list(tmp_path.glob("*.part"))


def test_parity_sees_a_changed_weight(tmp_path: Path) -> None:
    traced = handed_over("classifier", tmp_path)
    exported("classifier", tmp_path, tmp_path / "out.onnx")
    model = onnx.load(str(tmp_path / "out.onnx"))
    samples = np.load(traced.with_suffix(".npy"))
    network = torch.jit.load(str(traced)).eval()
    assert exporter.parity(network, model, samples) < 1e-4
    bias = next(w for w in model.graph.initializer if list(w.dims) == [6])
    bias.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.eye(6, dtype=np.float32)[0], bias.name)
    )
    assert exporter.parity(network, model, samples) > exporter.PARITY_MAX


def test_the_command_exports_what_training_left_and_says_what_is_missing(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    traced, target = handed_over("detector", tmp_path), tmp_path / "out.onnx"
    result = CliRunner().invoke(app, ["onnx", str(traced), "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert hashlib.sha256(target.read_bytes()).hexdigest() in result.output.replace("\n", "")
    target.unlink()
    traced.with_suffix(".json").write_text("{}", encoding="utf-8")
    assert CliRunner().invoke(app, ["onnx", str(traced), "-o", str(target)]).exit_code == 5
    traced.with_suffix(".npy").unlink()
    assert CliRunner().invoke(app, ["onnx", str(traced), "-o", str(target)]).exit_code == 5
    assert not target.exists()
