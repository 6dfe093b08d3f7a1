"""The two small networks. Both take uint8 NHWC pictures, so that training and device cannot disagree on preparation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STRIDE = 4
"""Canonical pixels between two positions of the detector's maps."""


GREY = 128.0
"""Taken off every pixel value, so that the zeros round a picture are grey."""

INT8_MAX = 127
"""Steps of symmetric INT8 above nought."""


class Rectified(nn.Module):
    """A ReLU with an upper limit, infinite until `training.fit.quantisation_aware` measures it.

    While it `rounds`, its answers are whole parts of the limit, as INT8 will round them.
    """

    high: Tensor
    rounds = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("high", torch.full((), torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, what lies below nought or above the limit cut off."""
        high = float(self.high)
        if high == torch.inf:
            return F.relu(x)
        if self.rounds:
            return torch.fake_quantize_per_tensor_affine(x, high / INT8_MAX, 0, 0, INT8_MAX)
        return F.hardtanh(x, 0.0, high)


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            Rectified(),
        )


class Residual(nn.Module):
    """Two 3×3 convolutions beside the identity (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBlock(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False),
                                  nn.BatchNorm2d(width))  # fmt: skip
        self.sum = Rectified()

    def forward(self, x: Tensor) -> Tensor:
        """Return planes of the same shape."""
        return self.sum(x + self.body(x))


def normalised(pixels: Tensor) -> Tensor:
    """Turn pixels (N, H, W, 3) in 0–255 into planes (N, 3, H, W) in −128…127.

    Normalisation layers scale them.
    """
    return pixels.permute(0, 3, 1, 2).float() - GREY


class Detector(nn.Module):
    """Fully convolutional, stride 4.

    A heat map of centres for each kind of cell, and the box around each position.

    After "Objects as Points" (Zhou et al. 2019, arXiv 1904.07850), with the four distances to the box's sides of FCOS
    (Tian et al. 2019, arXiv 1904.01355). Input planes (N, 3, H, W), sides multiples of 16.
    """

    def __init__(self, kinds: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 16, stride=2), ConvBlock(16, 32, stride=2))
        self.at4 = Residual(32)
        self.at8 = nn.Sequential(ConvBlock(32, 64, stride=2), Residual(64), Residual(64))
        self.at16 = nn.Sequential(ConvBlock(64, 96, stride=2), Residual(96), Residual(96))
        self.up16 = ConvBlock(96, 64, 1)
        self.sum8 = Rectified()
        self.fuse8 = ConvBlock(64, 64)
        self.up8 = ConvBlock(64, 32, 1)
        self.sum4 = Rectified()
        self.fuse4 = ConvBlock(32, 32)
        self.head = ConvBlock(32, 48)
        self.kinds = kinds
        self.maps = nn.Conv2d(48, kinds + 4, 1)
        nn.init.constant_(self.maps.bias[:kinds], -4.0)
        nn.init.constant_(self.maps.bias[kinds:], 1.3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat logits (N, kinds, H/4, W/4) and distances to the four sides.

        Left, top, right, bottom, in pixels (N, 4, …).
        """
        at4 = self.at4(self.stem(x))
        at8 = self.at8(at4)
        at16 = self.at16(at8)
        at8 = self.fuse8(self.sum8(at8 + F.interpolate(self.up16(at16), scale_factor=2.0, mode="nearest")))
        at4 = self.fuse4(self.sum4(at4 + F.interpolate(self.up8(at8), scale_factor=2.0, mode="nearest")))
        maps = self.maps(self.head(at4))
        return maps[:, : self.kinds], torch.exp(maps[:, self.kinds :].clamp(-2, 4)) * STRIDE


class DetectorGraph(nn.Module):
    """What is exported.

    Pixels in, peaks of the heat map and sides out, so that the device only gathers.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return peaks float32 (N, kinds, h, w) and sides of pixels uint8 (N, H, W, 3).

        Peaks are 0 where there is no local maximum.
        """
        heat, sides = self.detector(normalised(pixels))
        heat = torch.sigmoid(heat)
        highest = F.max_pool2d(heat, 3, 1, 1)
        return heat * (heat >= highest).float(), sides


def colours(x: Tensor) -> Tensor:
    """Return the mean and the mean deviation of each channel of planes (N, 3, H, W): (N, 6)."""
    mean = x.mean((2, 3))
    return torch.cat([mean, (x - mean[:, :, None, None]).abs().mean((2, 3))], dim=1)


DETAIL_SIZES = 4


def detail(x: Tensor) -> Tensor:
    """Return the logarithm of the mean step between neighbouring pixels, (N, 4).

    Neighbours lie 1, 2, 4 and 8 pixels apart, in (N, 3, H, W).
    """
    grey = x.mean(1, keepdim=True)
    steps = []
    for size in range(DETAIL_SIZES):
        if size:
            grey = F.avg_pool2d(grey, 2)
        across = (grey[..., 1:] - grey[..., :-1]).abs().mean((1, 2, 3))
        down = (grey[..., 1:, :] - grey[..., :-1, :]).abs().mean((1, 2, 3))
        steps.append(torch.log(across + down + 0.5))
    return torch.stack(steps, dim=1)


FEATURES = 192
"""Numbers that the classifier makes of a cell before it names it."""

MEASURES = {"features": FEATURES, "middle": 48, "colours": 6, "detail": DETAIL_SIZES}
"""What a cell is compared by with those trained on, and how many numbers each is."""


class Usual(nn.Module):
    """What cells usually are by one measure.

    `training.fit.novelty_statistics` finds it out after training.

    whiten (d, d): gives each direction in which usual cells differ the same weight; middles (M, d): whitened, of each
    kind of cell.
    """

    whiten: Tensor
    middles: Tensor

    def __init__(self, numbers: int, kinds: int) -> None:
        super().__init__()
        self.register_buffer("whiten", torch.eye(numbers))
        self.register_buffer("middles", torch.zeros(kinds, numbers))

    def forward(self, measured: Tensor) -> Tensor:
        """Return how far features (N, d) lie from the nearest kind, (N,).

        Mahalanobis distance, root mean square of its d parts.

        Each part is bounded, so that half precision can hold it.
        """
        apart = (measured @ self.whiten)[:, None] - self.middles[None]
        return apart.clamp(-20, 20).square().mean(-1).sqrt().amin(1)


def _pooled(planes: Tensor) -> Tensor:
    # The maximum sees a pointed end that the mean would wash out.
    return torch.cat([planes.mean((2, 3)), planes.amax((2, 3))], dim=1)


MIDDLE = 5
"""Blocks of the classifier before the middle, where a position sees 63 pixels, a cell and what lies beside it, and the
means still tell textures apart."""


class Classifier(nn.Module):
    """Names one cell from its crop of 64×64 canonical pixels.

    Input planes (N, 3, 64, 64), output logits (N, 6).
    """

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(3, 16, stride=2),
            ConvBlock(16, 24, stride=2),
            Residual(24),
            ConvBlock(24, 48, stride=2),
            Residual(48),
            ConvBlock(48, 96, stride=2),
            Residual(96),
        )
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURES, classes)
        self.usual = nn.ModuleDict(
            {name: Usual(numbers, classes if name == "features" else 1) for name, numbers in MEASURES.items()}
        )

    def features(self, x: Tensor) -> Tensor:
        """Return what the head decides by, (N, FEATURES)."""
        return _pooled(self.body(x))

    def measured(self, x: Tensor) -> dict[str, Tensor]:
        """Return a cell by each of MEASURES, (N, numbers)."""
        middle = self.body[:MIDDLE](x)
        features = _pooled(self.body[MIDDLE:](middle))
        return {"features": features, "middle": middle.mean((2, 3)), "colours": colours(x), "detail": detail(x)}

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        return self.head(self.drop(self.features(x)))

    def novelty(self, measured: dict[str, Tensor]) -> Tensor:
        """Return how far cells are from those trained on, (N,).

        The largest of the distances by each measure.

        Each counts by its own spread, at most 1 in nearly all usual fields. Of the features, and of the means of an
        earlier layer: the network's own view (Lee et al. 2018, arXiv 1807.03888). Of colours and detail: what
        training
        makes the features blind to.
        """
        return torch.stack([usual(measured[name]) for name, usual in self.usual.items()]).amax(0)


class ClassifierGraph(nn.Module):
    """What is exported: pixels in, class probabilities and novelty out.

    The temperature is inside.
    """

    def __init__(self, classifier: Classifier, temperature: float) -> None:
        super().__init__()
        self.classifier, self.temperature = classifier, temperature

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels uint8 (N, 64, 64, 3) → probabilities float32 (N, classes) and novelty (N,)."""
        measured = self.classifier.measured(normalised(pixels))
        prob = torch.softmax(self.classifier.head(measured["features"]) / self.temperature, dim=1)
        return prob, self.classifier.novelty(measured)
