"""How pictures of cells are altered while a network learns: from the configuration, drawn by a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F  # noqa: N812

from edge.types import Pixels
from training.data.augment import stain

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation(BaseModel):
    """Changes of each picture of a batch, drawn anew each time.

    rotation: degrees to either side; shift: share of the side; shear and zoom: tangent, and logarithm of the factor;
    brightness: share; stain: share of the pictures whose colours are those of another stain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rotation: Annotated[float, Field(ge=0, le=180)] = 180.0
    shift: Share = 0.05
    flip: bool = True
    shear: Share = 0.0
    zoom: Share = 0.1
    brightness: Share = 0.15
    stain: Share = 0.0


def augmenter(config: Augmentation, seed: int) -> Callable[[Pixels], Pixels]:
    """Return what alters a batch uint8 (N, H, W, 3).

    What comes into the picture is mirrored from it.
    """
    g = torch.Generator().manual_seed(seed)

    def uniform(n: int, by: float) -> torch.Tensor:
        return (torch.rand(n, generator=g) * 2 - 1) * by

    def altered(batch: Pixels) -> Pixels:
        n = len(batch)
        x = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        a = uniform(n, config.rotation) * np.pi / 180
        z = torch.exp(uniform(n, config.zoom))
        m = torch.where(torch.rand(n, generator=g) < 0.5 * config.flip, -1.0, 1.0)
        s = uniform(n, config.shear)
        c, d = torch.cos(a) * z, torch.sin(a) * z
        matrix = torch.stack(
            [
                torch.stack([c * m, -d + s * c, uniform(n, 2 * config.shift)], 1),
                torch.stack([d * m, c + s * d, uniform(n, 2 * config.shift)], 1),
            ],
            1,
        )
        x = F.grid_sample(
            x, F.affine_grid(matrix, list(x.shape), align_corners=False), padding_mode="reflection", align_corners=False
        )
        chosen = torch.rand(n, generator=g) < config.stain
        if chosen.any():
            x[chosen] = stain(x[chosen], g)
        x = (x * (1 + uniform(n, config.brightness))[:, None, None, None]).clamp(0, 1)
        return np.asarray((x * 255).round().byte().permute(0, 2, 3, 1).contiguous())

    return altered
