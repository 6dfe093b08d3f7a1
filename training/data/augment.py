"""Changes of stain, light, focus and magnification that another clinic's microscope would make.

Every function takes planes float32 (N, 3, H, W) in 0–1 and draws anew for each picture of the batch.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from edge.types import Pixels


def _uniform(n: int, low: float, high: float, g: torch.Generator) -> Tensor:
    return torch.rand(n, generator=g) * (high - low) + low


def _chance(n: int, p: float, g: torch.Generator) -> Tensor:
    return torch.rand(n, generator=g) < p


def stain(x: Tensor, g: torch.Generator) -> Tensor:
    """Another dye, lamp, white balance, gamma and contrast.

    Some pictures lose their colour altogether.
    """
    n = len(x)
    # Dye: absorbance over that of the glass (Beer–Lambert) through a random mixing matrix, weaker or stronger.
    glass = F.avg_pool2d(x, 4).amax((2, 3), keepdim=True).clamp(0.2, 1)
    absorbance = -torch.log((x / glass).clamp(1 / 255, 1.2))
    mix = torch.eye(3).repeat(n, 1, 1) + torch.randn(n, 3, 3, generator=g) * 0.10
    strength = torch.randn(n, 1, 1, generator=g) * 0.35 + torch.randn(n, 3, 1, generator=g) * 0.25 + 0.1
    mixed = torch.einsum("nij,njhw->nihw", (mix * torch.exp(strength)).clamp_min(0), absorbance)
    # Lamp: from half as bright to full, nearly white.
    lamp = _uniform(n, 0.45, 1.0, g)[:, None] * torch.exp(torch.randn(n, 3, generator=g) * 0.07)
    x = torch.exp(-mixed) * lamp.clamp_max(1)[:, :, None, None]
    # Hue: part of the pictures get their channels in another order, so that no colour can name a data set.
    order = torch.stack([torch.randperm(3, generator=g) for _ in range(n)])
    shuffled = torch.gather(x, 1, order[:, :, None, None].expand_as(x))
    x = torch.where(_chance(n, 0.15, g)[:, None, None, None], shuffled, x)
    grey = x.mean(1, keepdim=True)
    keep = torch.where(_chance(n, 0.15, g), torch.zeros(n), _uniform(n, 0.4, 1.3, g))
    x = grey + (x - grey) * keep[:, None, None, None]
    gamma = torch.exp(torch.randn(n, 1, 1, 1, generator=g) * 0.2)
    return x.clamp(1e-3, 1) ** gamma


def light(x: Tensor, g: torch.Generator) -> Tensor:
    """Lay a gradient of illumination across the field."""
    n, _, h, w = x.shape
    slope = torch.randn(n, 2, generator=g) * 0.12
    rows, columns = torch.linspace(-1, 1, h)[:, None], torch.linspace(-1, 1, w)[None, :]
    ramp = slope[:, 0, None, None] * rows + slope[:, 1, None, None] * columns
    return (x * (1 + ramp[:, None])).clamp(0, 1)


def focus(x: Tensor, g: torch.Generator, sigma_max: float = 1.6) -> Tensor:
    """Defocus (half of the pictures) or an over-sharpened phone picture (some)."""
    n, c, h, w = x.shape
    sigma = torch.where(_chance(n, 0.5, g), _uniform(n, 0.3, sigma_max, g), torch.full((n,), 1e-2))
    at = torch.arange(-4, 5).float()
    kernel = torch.exp(-0.5 * (at[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    planes = F.pad(x.reshape(1, n * c, h, w), (4, 4, 4, 4), mode="replicate")
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=n * c)
    blurred = F.conv2d(planes, kernel[:, None, None, :], groups=n * c).reshape(n, c, h, w)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    sharp = _chance(n, 0.2, g) & (sigma < 0.02)
    return torch.where(sharp[:, None, None, None], x + 1.0 * (x - soft), blurred).clamp(0, 1)


def sensor(x: Tensor, g: torch.Generator) -> Tensor:
    """Fewer pixels (a third of the pictures) and noise."""
    n, _, h, w = x.shape
    coarse = _chance(n, 0.3, g)
    if coarse.any():
        ratio = float(_uniform(1, 0.45, 0.85, g))
        small = F.interpolate(x[coarse], scale_factor=ratio, mode="bilinear", antialias=True)
        x = x.clone()
        x[coarse] = F.interpolate(small, size=(h, w), mode="bilinear")
    noise = torch.randn(x.shape, generator=g) * (_uniform(n, 0, 0.04, g) * _chance(n, 0.6, g))[:, None, None, None]
    return (x + noise).clamp(0, 1)


def phone(x: Tensor, g: torch.Generator) -> Tensor:
    """Treat a picture as a phone does: noise smoothed away (some), then JPEG (half)."""
    out = x.clone()
    smooth, quality = _chance(len(x), 0.15, g), torch.randint(40, 96, (len(x),), generator=g)
    for i in torch.nonzero(smooth | _chance(len(x), 0.5, g)).flatten().tolist():
        pixels = _as_bytes(x[i])
        if smooth[i]:
            pixels = cv2.medianBlur(pixels, 3).astype(np.uint8)
        out[i] = _as_planes(recompressed(pixels, int(quality[i])))
    return out


def recompressed(pixels: Pixels, quality: int) -> Pixels:
    """Write a picture as JPEG, with half as many colours across and down, and read it again."""
    data = simplejpeg.encode_jpeg(pixels, quality, colorspace="RGB", colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), np.uint8)


def _as_bytes(planes: Tensor) -> Pixels:
    return np.ascontiguousarray((planes.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())


def _as_planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def another_microscope(x: Tensor, g: torch.Generator, unchanged: float) -> Tensor:
    """All of the above, in the order of the light's way.

    A share of `unchanged` pictures stay as they are.
    """
    chosen = ~_chance(len(x), unchanged, g)
    changed = x.clone()
    if chosen.any():
        changed[chosen] = phone(sensor(focus(light(stain(x[chosen], g), g), g), g), g)
    return changed


def turned(
    x: Tensor, size: int, g: torch.Generator, squeeze: Tensor | None = None, scale: float = 0.18, shift_px: float = 4.0
) -> Tensor:
    """Rotate, mirror, magnify and shift pictures, and cut their middle.

    By any angle and up to ±`scale`; the middle has `size` pixels.

    squeeze (N,): how many times longer than before, against its width, a cell becomes; 1 leaves its shape.
    """
    n, _, _, side = x.shape
    angle, mirror = _uniform(n, -torch.pi, torch.pi, g), torch.where(_chance(n, 0.5, g), -1.0, 1.0)
    zoom = torch.exp(torch.randn(n, generator=g).clamp(-2, 2) * scale / 2) * size / side
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift = torch.randn(n, 2, generator=g).clamp(-2, 2) * shift_px / side
    # Two thirds of the change make the cell narrower, a third makes it longer, as an oval cell is.
    narrow, long = (1.0, 1.0) if squeeze is None else (squeeze ** (2 / 3), squeeze ** (-1 / 3))
    matrix = torch.stack([torch.stack([cos * mirror * narrow, -sin * long, shift[:, 0]], 1),
                          torch.stack([sin * mirror * narrow, cos * long, shift[:, 1]], 1)], 1)  # fmt: skip
    grid = F.affine_grid(matrix, [n, 3, size, size], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def exchanged(x: Tensor, g: torch.Generator, share: float = 0.35) -> Tensor:
    """Give a share of the pictures the mean and contrast of another one's channels.

    Reinhard et al. 2001.

    Sickle cells come from other slides than their mimics; with exchanged colours no colour can tell them apart.
    """
    partner = torch.randperm(len(x), generator=g)
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True) + 1e-3
    moved = (x - mean) / std * std[partner] + mean[partner]
    return torch.where(_chance(len(x), share, g)[:, None, None, None], moved, x).clamp(0, 1)


ZOOM_AGAIN, SHIFT_AGAIN_PX, QUALITY_AGAIN = 0.03, 1.0, (60, 96)
"""How else the same picture may come: 3 % larger or smaller, a pixel aside, and by another codec."""


def again(x: Tensor, g: torch.Generator) -> Tensor:
    """Show planes (N, 3, H, W) in 0–1 once more, as another file of the same picture would."""
    n = len(x)
    zoom, shift = _uniform(n, 1 - ZOOM_AGAIN, 1 + ZOOM_AGAIN, g), _uniform(2 * n, -1, 1, g).reshape(n, 2)
    shift = shift * 2 * SHIFT_AGAIN_PX / x.shape[-1]
    nought = torch.zeros(n)
    matrix = torch.stack([torch.stack([zoom, nought, shift[:, 0]], 1), torch.stack([nought, zoom, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False).clamp(0, 1)
    quality = torch.randint(*QUALITY_AGAIN, (n,), generator=g).tolist()
    return torch.stack([_as_planes(recompressed(_as_bytes(one), q)) for one, q in zip(moved, quality, strict=True)])


def mirrored_near(x: Tensor, g: torch.Generator, share: float, least_px: int = 4, most_px: int = 12) -> Tensor:
    """Show a share of the cells as a picture of one cell alone is shown.

    Round it lies its mirror image.
    """
    shown = x.clone()
    for i in torch.nonzero(_chance(len(x), share, g)).flatten().tolist():
        edge = int(torch.randint(least_px, most_px + 1, (1,), generator=g))
        shown[i] = F.pad(x[i : i + 1, :, edge:-edge, edge:-edge], (edge,) * 4, mode="reflect")[0]
    return shown
