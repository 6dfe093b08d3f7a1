"""Architectures of the literature that keras.applications does not offer, as Keras models from pixels to features."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers
from keras import ops as k
from torch import Tensor


def _conv(x: Any, width: int, kernel: int, stride: int = 1, name: str | None = None) -> Any:
    x = layers.Conv2D(width, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal",
                      name=name)(x)  # fmt: skip
    return layers.ReLU()(layers.BatchNormalization()(x))


def _bounded(x: Any) -> Any:
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def alexnet(side: int) -> keras.Model:
    """Five convolutions and two dense layers (Krizhevsky, Sutskever, Hinton 2012, NeurIPS 25).

    Batch normalisation stands for local response normalisation, and there is one column instead of two. Pixels come in
    −1…1, (N, side, side, 3); features (N, 4096).
    """
    pixels = keras.Input((side, side, 3))
    x = layers.MaxPooling2D(3, 2)(_conv(pixels, 96, 11, 4))
    x = layers.MaxPooling2D(3, 2)(_conv(x, 256, 5))
    x = _conv(_conv(_conv(x, 384, 3), 384, 3), 256, 3, name="last_convolution")
    x = layers.Flatten()(layers.MaxPooling2D(2, 2, padding="same")(x))
    for _ in range(2):
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal")(layers.Dropout(0.5)(x))
    return keras.Model(pixels, x, name="alexnet")


INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Table 1 of the paper: widths of the kernels of 1; of 3, reduced before and after; of 5, so too; and after pooling."""


def googlenet(side: int) -> keras.Model:
    """Build nine inception modules with batch normalisation.

    Szegedy et al. 2015, arXiv 1409.4842; arXiv 1502.03167.

    The two auxiliary classifiers are left out. Pixels come in −1…1, (N, side, side, 3); features (N, 1024).
    """
    pixels = keras.Input((side, side, 3))
    x = layers.MaxPooling2D(3, 2, "same")(_conv(pixels, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(_conv(_conv(x, 64, 1), 192, 3))
    for name, (one, three_in, three, five_in, five, pooled) in INCEPTION.items():
        if name in ("4a", "5a"):
            x = layers.MaxPooling2D(3, 2, "same")(x)
        x = layers.Concatenate(name=f"inception_{name}")([
            _conv(x, one, 1, name=f"first_{name}"), _conv(_conv(x, three_in, 1), three, 3),
            _conv(_conv(x, five_in, 1), five, 5), _conv(layers.MaxPooling2D(3, 1, "same")(x), pooled, 1),
        ])  # fmt: skip
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="googlenet")


LITE0 = ((1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112), (4, 6, 5, 2, 192),
         (1, 6, 3, 1, 320))  # fmt: skip
"""Stages of inverted residual blocks: blocks, expansion, kernel, stride of the first, width."""


def efficientnet_lite0(side: int) -> keras.Model:
    """Build EfficientNet-B0 with bounded ReLUs and no squeeze and excitation.

    Tan, Le 2019, arXiv 1905.11946; *lite*, 2020.

    Pixels come in −1…1, (N, side, side, 3); features (N, 1280). Its arrays are made in the order of a pass, as those of
    the published file are.
    """
    pixels = keras.Input((side, side, 3))
    x = _bounded(layers.Conv2D(32, 3, 2, "same", use_bias=False)(pixels))
    for stage, (blocks, expansion, kernel, stride, width) in enumerate(LITE0):
        for i in range(blocks):
            into = x
            if expansion > 1:
                expand = layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"expand_{stage}_{i}")
                x = _bounded(expand(x))
            x = _bounded(layers.DepthwiseConv2D(kernel, 1 if i else stride, "same", use_bias=False)(x))
            x = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(x))
            x = layers.Add()([into, x]) if i else x
    x = _bounded(layers.Conv2D(1280, 1, use_bias=False)(x))
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="efficientnet_lite0")


CAPSULE = 8
"""Length of a primary capsule's vector."""


def capsules(side: int) -> keras.Model:
    """Return the primary capsules of a capsule network.

    Sabour, Frosst, Hinton 2017, arXiv 1710.09829.

    Pixels come in −1…1, (N, side, side, 3); features (N, capsules × 8), each capsule's length within 0–1.
    """
    pixels = keras.Input((side, side, 3))
    x = layers.Conv2D(256, 9, activation="relu")(pixels)
    x = layers.Conv2D(32 * CAPSULE, 9, 2, name="primary")(x)
    x = layers.Reshape((-1, CAPSULE))(x)
    return keras.Model(pixels, layers.Flatten()(layers.Lambda(squashed)(x)), name="capsnet")


def squashed(vectors: Tensor) -> Tensor:
    """Shrink vectors along the last axis to a length within 0–1 (equation 1 of the paper)."""
    square = k.sum(k.square(vectors), axis=-1, keepdims=True)
    return square / (1 + square) * vectors / k.sqrt(square + 1e-7)


@keras.saving.register_keras_serializable("sicklescope")
class Routing(layers.Layer):
    """Class capsules of 16 numbers, routed by agreement in three rounds.

    Answers the log odds of their lengths.

    The paper trains lengths with a margin loss and a picture drawn again from them; here log odds stand as logits, so
    that one loss serves every network, and nothing is drawn.
    """

    def __init__(self, classes: int, width: int = 16, rounds: int = 3) -> None:
        super().__init__()
        self.classes, self.width, self.rounds = classes, width, rounds

    def build(self, shape: tuple[int, int]) -> None:
        """Make one matrix from each primary capsule to each class."""
        self.matrices = self.add_weight(
            shape=(shape[-1] // CAPSULE, self.classes, self.width, CAPSULE),
            initializer=keras.initializers.RandomNormal(stddev=0.05), name="matrices",
        )  # fmt: skip

    def call(self, features: Tensor) -> Tensor:
        """Features (N, capsules × 8) → logits (N, classes)."""
        primary = k.reshape(features, (-1, features.shape[-1] // CAPSULE, CAPSULE))
        votes = k.einsum("ncd,ckwd->nckw", primary, self.matrices)
        logits = k.zeros_like(votes[..., 0])
        for i in range(self.rounds):
            coupling = k.softmax(logits, axis=2)
            out = squashed(k.einsum("nck,nckw->nkw", coupling, votes))
            if i < self.rounds - 1:
                logits = logits + k.einsum("nckw,nkw->nck", votes, out)
        length = k.clip(k.sqrt(k.sum(k.square(out), axis=-1) + 1e-7), 1e-4, 1 - 1e-4)
        return k.log(length) - k.log(1 - length)
