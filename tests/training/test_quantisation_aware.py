"""The last steps of training: that INT8 multiplies by the very weights of fp32, and fp32 answers within limits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.training.training_parts import lay_out, one_thread  # noqa: F401  one_thread is a fixture

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")

from calibration.int8.onnx_graph import Graph  # noqa: E402
from calibration.int8.quantise import planned, signed  # noqa: E402
from calibration.int8.ranges import found_ranges  # noqa: E402
from edge.errors import ModelError  # noqa: E402
from export.graph import fold  # noqa: E402
from training.data.crops import of_fields  # noqa: E402
from training.data.datasets import read_txl  # noqa: E402
from training.data.fields import TrainingField, scaled_by_labels  # noqa: E402
from training.fit import classifier, detector  # noqa: E402
from training.fit.networks import Classifier, ClassifierGraph, Detector, DetectorGraph, Rectified  # noqa: E402
from training.run_folder import write_torch  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

Made = dict[str, tuple[Any, Any]]
"""By role: the network as it is trained, and as it is exported."""


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingField]:
    root = lay_out(tmp_path_factory.mktemp("data"))
    return [scaled_by_labels(field) for field in read_txl(root, "train")]


@pytest.fixture(scope="module")
def made(fields: list[TrainingField]) -> Made:
    """Return networks after a few last steps, and the graphs that are exported of them."""
    finder = detector.train([fields], [2], 3, 0, Detector().eval(), 5e-4, rounded=True)
    namer = classifier.train(of_fields(fields, seed=0), 3, 0, 5e-4, Classifier().eval(), rounded=True)
    return {"detector": (finder, DetectorGraph(finder)), "classifier": (namer, ClassifierGraph(namer, 1.0))}


def exported(graph: Any, pixels: np.ndarray) -> onnx.ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(graph.eval(), (torch.from_numpy(pixels),), buffer, input_names=["pixels"], opset_version=17,
                      dynamo=False)  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    fold(model)
    return model


@pytest.fixture(scope="module")
def pixels() -> Callable[[str], np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"detector": (1, 64, 64, 3), "classifier": (2, 64, 64, 3)}
    return lambda role: rng.integers(0, 255, shapes[role], np.uint8)


@pytest.mark.filterwarnings("ignore")  # the exporter's, of what it traces
@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_int8_multiplies_by_the_weights_of_fp32(made: Made, pixels: Callable[[str], np.ndarray], role: str) -> None:
    batch = pixels(role)
    model = exported(made[role][1], batch)
    plan = planned(model)
    assert len(plan.layers) == {"detector": 18, "classifier": 9}[role]
    ranges = found_ranges(model, plan.tensors, [batch], lambda _: None, ["minmax"])["minmax"]
    before, after = Graph(model), Graph(signed(model, plan, ranges))
    for node in after.nodes:
        if node.name in plan.layers:
            whole, scale, _ = (after.array(name) for name in after.maker[node.input[1]].input)
            plain = before.array(next(n for n in before.nodes if n.name == node.name).input[1])
            assert np.abs(whole * scale[:, None, None, None] - plain).max() <= 1e-4 * np.abs(plain).max()


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_what_a_device_runs_rounds_nothing_and_stays_within_its_limits(
    made: Made, pixels: Callable[[str], np.ndarray], role: str
) -> None:
    network, graph = made[role]
    relus = [module for module in network.modules() if isinstance(module, Rectified)]
    assert all(0 < float(relu.high) < np.inf and not relu.rounds for relu in relus)
    answers: list[Any] = []
    hooks = [relu.register_forward_hook(lambda _, __, answer: answers.append(answer)) for relu in relus]
    with torch.inference_mode():
        graph.eval()(torch.from_numpy(pixels(role)))
    for hook in hooks:
        hook.remove()
    assert len(answers) == len(relus)
    for relu, answer in zip(relus, answers, strict=True):
        assert float(answer.min()) >= 0
        assert float(answer.max()) <= float(relu.high)
    steps = torch.cat([(a / relu.high * 127).flatten() for relu, a in zip(relus, answers, strict=True)])
    assert float((steps - steps.round()).abs().max()) > 0.1, "rounded still"


def test_weights_of_an_earlier_network_are_named_with_what_to_do(made: Made, tmp_path: Path) -> None:
    weights = made["classifier"][0].state_dict()
    write_torch({name: value for name, value in weights.items() if not name.endswith(".high")}, tmp_path / "old.pt")
    with pytest.raises(ModelError, match=r"old\.pt are not those of today's Classifier: .*Train again"):
        classifier.restored(tmp_path / "old.pt")


def test_the_last_steps_begin_from_the_trained_weights_and_leave_a_file_like_any_other(
    made: Made, tmp_path: Path
) -> None:
    modules: dict[str, tuple[Any, type[Any]]] = {
        "detector": (detector, Detector),
        "classifier": (classifier, Classifier),
    }
    for role, (module, restored) in modules.items():
        net = made[role][0]
        module.save(net, tmp_path / f"{role}.pt")
        again = module.restored(tmp_path / f"{role}.pt")
        assert isinstance(again, restored)
        before, after = net.state_dict(), again.state_dict()
        assert set(after) == set(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
