"""Measures what usual cells look like to a trained classifier, so that it can tell what it has never seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edge.types import Pixels
from training.networks import Classifier, colours, normalised

SHRINKAGE = 0.02
"""Part of the mean variance that is added to each direction: the directions in which cells hardly vary are few cells'
noise, and rounding to INT8 would fill them."""

EDGE = 0.99
"""Part of usual cells whose novelty is at most 1, by features and by colours alike."""

BATCH = 256


def acquaint(net: Classifier, pictures: Pixels) -> None:
    """Measure the features and colours of usual cells, uint8 (N, 64, 64, 3), as `Classifier.novelty` needs them."""
    net.eval()
    with torch.inference_mode():
        planes = [normalised(torch.from_numpy(pictures[i : i + BATCH])) for i in range(0, len(pictures), BATCH)]
        features = torch.cat([net.features(x) for x in planes])
        named = net.head(features).argmax(1)
        middles = torch.stack([_middle(features, named == i) for i in range(net.head.out_features)])
        whiten = _whitening(features - middles[named])
        seen = torch.cat([colours(x) for x in planes])
        whiten_colour = _whitening(seen - seen.mean(0))
    net.whiten.copy_(whiten)
    net.usual.copy_(middles @ whiten)
    net.whiten_colour.copy_(whiten_colour)
    net.usual_colour.copy_(seen.mean(0, keepdim=True) @ whiten_colour)


def _middle(features: Tensor, chosen: Tensor) -> Tensor:
    return features[chosen].mean(0) if chosen.any() else features.mean(0)


def _whitening(apart: Tensor) -> Tensor:
    """Return the matrix (d, d) that gives each direction of `apart` (N, d) the same variance, small ones less.

    The distances come out at most 1 but for few: each kind of them counts by its own spread, for colours of three sets
    so differently stained are far from any middle.
    """
    covariance = (apart.double().T @ apart.double()) / len(apart)
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    values, vectors = np.linalg.eigh(covariance.numpy())
    whiten = torch.from_numpy(vectors / np.sqrt(values)).float()
    return whiten / torch.quantile((apart @ whiten).square().mean(1).sqrt(), EDGE)
