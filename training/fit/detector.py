"""Trains the detector: first on fully boxed fields, then on the other sets completed by that first detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from edge.types import KINDS, Floats, Pixels
from training.data.augment import another_microscope
from training.data.dirt import scattered
from training.data.fields import TrainingField, centres
from training.fit import quantisation_aware
from training.fit.networks import GREY, STRIDE, Detector
from training.fit.unfinished import KEPT_EVERY, NOTHING_KEPT, Unfinished
from training.run_folder import restore, save_weights

CROP = 256
"""Side of a training crop in canonical pixels."""

SHOWN_MIN = 0.45
"""Labellers leave out a cell at the edge of which less than this part of its width shows."""

ON_SICKLE = 0.75
"""Share of the crops of a positive field that are laid round one of its boxed cells."""

MAY_BE_CELL = 0.05
"""Score below which it matters little what rounding does."""

TOP = 0.999
"""Part of a ReLU's answers that rounding leaves as they are: platelets, which are dark, give the largest."""

DRIFT = 4.0
"""Weight of `drift` in the loss."""

DIRT_MOST = 3
"""Artefacts drawn on a crop, at most; they have no box."""

SMALL = 200
"""A picture smaller than this at the canonical scale shares its crop with three others."""


def cut(field: TrainingField, rng: np.random.Generator, crop: int) -> tuple[Pixels, Floats, np.ndarray, Floats]:
    """Cut a random, mirrored, turned and magnified crop with its boxes.

    Its edge cuts boxes as a frame's does.
    """
    h, w = field.pixels.shape[:2]
    zoom = float(np.exp(rng.uniform(math.log(0.78), math.log(1.28))))
    side = crop / zoom
    # Where the picture is smaller than the crop, what lies beyond it is grey or black, never more cells.
    x0 = rng.uniform(min(0, w - side), max(0, w - side))
    y0 = rng.uniform(min(0, h - side), max(0, h - side))
    if len(field.source.boxes) and field.source.dataset == "uganda_scd" and rng.random() < ON_SICKLE:
        # Sickle cells are the rarest and faintest of cells: most crops of their fields hold one.
        x, y = centres(field.source.boxes / field.zoom)[int(rng.integers(len(field.source.boxes)))]
        x0, y0 = (float(v) - rng.uniform(0.15, 0.85) * side for v in (x, y))
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
    matrix = np.array([[zoom, 0, -x0 * zoom], [0, zoom, -y0 * zoom]])
    fill = int(rng.choice([0, 128, 230]))
    pixels = cv2.warpAffine(field.pixels, matrix, (crop, crop), flags=cv2.INTER_LINEAR, borderValue=(fill,) * 3)
    visible = [max(0.0, -x0 * zoom), max(0.0, -y0 * zoom), min(crop, (w - x0) * zoom), min(crop, (h - y0) * zoom)]

    def moved(boxes: Floats) -> tuple[Floats, np.ndarray]:
        """Return all boxes as the crop shows them, and the part (N,) of each that is left.

        The part of its width or height.
        """
        b = (boxes - (x0, y0, x0, y0)) * zoom
        whole = np.maximum(1e-6, b[:, 2:] - b[:, :2])
        b = np.concatenate([np.maximum(b[:, :2], visible[:2]), np.minimum(b[:, 2:], visible[2:])], 1)
        left = (np.maximum(0, b[:, 2:] - b[:, :2]) / whole).min(1)
        if mirror:
            b = np.stack([crop - b[:, 2], b[:, 1], crop - b[:, 0], b[:, 3]], 1)
        for _ in range(quarter):
            b = np.stack([b[:, 1], crop - b[:, 2], b[:, 3], crop - b[:, 0]], 1)
        return b.astype(np.float32), left

    boxes, left = moved(field.boxes)
    unknown, unknown_left = moved(field.ignore)
    seen = left >= SHOWN_MIN
    ignore = np.concatenate([unknown[unknown_left > 0], boxes[(left > 0) & ~seen]])
    pixels = np.ascontiguousarray(np.rot90(pixels[:, ::-1] if mirror else pixels, quarter))
    return pixels.astype(np.uint8, copy=False), boxes[seen], field.kinds[seen], ignore


def assembled(fields: Sequence[TrainingField], rng: np.random.Generator) -> tuple[Pixels, Floats, np.ndarray, Floats]:
    """Make one training crop of one large field, or of four small ones side by side."""
    if len(fields) == 1:
        return cut(fields[0], rng, CROP)
    half = CROP // 2
    quarters = [cut(f, rng, half) for f in fields]
    pixels = np.zeros((CROP, CROP, 3), np.uint8)
    boxes, ignore = [], []
    for (tile, b, _, i), (y, x) in zip(quarters, ((0, 0), (0, half), (half, 0), (half, half)), strict=True):
        pixels[y : y + half, x : x + half] = tile
        corner = np.array([x, y, x, y], np.float32)
        boxes.append(b + corner)
        ignore.append(i + corner)
    return pixels, np.concatenate(boxes), np.concatenate([q[2] for q in quarters]), np.concatenate(ignore)


def targets(boxes: Floats, kinds: np.ndarray, ignore: Floats) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw heat (K, h, w), sides (4, h, w) and the weights of both losses (h, w)."""
    n = CROP // STRIDE
    heat, certain = np.zeros((len(KINDS), n, n), np.float32), np.ones((n, n), np.float32)
    sides, weight = np.ones((4, n, n), np.float32), np.zeros((n, n), np.float32)
    owner = np.full((n, n), -1)
    at = np.arange(n, dtype=np.float32)
    for x0, y0, x1, y1 in ignore / STRIDE:
        certain[max(0, int(y0)) : int(y1) + 1, max(0, int(x0)) : int(x1) + 1] = 0
    for number, ((x0, y0, x1, y1), kind) in enumerate(zip(boxes, kinds, strict=True)):
        cx, cy = (x0 + x1) / 2 / STRIDE - 0.5, (y0 + y1) / 2 / STRIDE - 0.5
        sx, sy = max(0.5, (x1 - x0) / STRIDE / 7), max(0.5, (y1 - y0) / STRIDE / 7)
        blob = np.exp(-0.5 * ((at[None] - cx) / sx) ** 2 - 0.5 * ((at[:, None] - cy) / sy) ** 2)
        blob = np.where(blob < 0.02, 0, blob)
        iy, ix = min(n - 1, max(0, round(cy))), min(n - 1, max(0, round(cx)))
        blob[iy, ix] = 1.0
        heat[kind] = np.maximum(heat[kind], blob)
        certain[blob > 0.3] = 1
        near = (blob > 0.4) & (blob > weight)
        ys, xs = np.nonzero(near)
        px, py = (xs + 0.5) * STRIDE, (ys + 0.5) * STRIDE
        sides[:, ys, xs] = np.stack([px - x0, py - y0, x1 - px, y1 - py])
        weight[near], owner[near] = blob[near], number
    # Each box weighs the same: else platelets, which cover few positions, would hardly count.
    owned = owner >= 0
    weight[owned] /= np.bincount(owner[owned], weight[owned])[owner[owned]]
    return heat, certain, sides, weight


def loss(heat: Tensor, sides: Tensor, wanted: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Return the focal loss of the heat map and the GIoU loss of the boxes.

    Penalty-reduced, as CornerNet's (arXiv 1808.01244).
    """
    want_heat, certain, want_sides, weight = wanted
    p = torch.sigmoid(heat).clamp(1e-4, 1 - 1e-4)
    centre = (want_heat > 0.999).float()
    positive = -torch.log(p) * (1 - p) ** 2 * centre
    negative = -torch.log(1 - p) * p**2 * (1 - want_heat) ** 4 * (1 - centre) * certain[:, None]
    focal = (positive + negative).sum() / centre.sum().clamp_min(1)
    want = want_sides.clamp_min(0.5)
    meet = (torch.minimum(sides[:, 0], want[:, 0]) + torch.minimum(sides[:, 2], want[:, 2])) * (
        torch.minimum(sides[:, 1], want[:, 1]) + torch.minimum(sides[:, 3], want[:, 3])
    )
    hull = (torch.maximum(sides[:, 0], want[:, 0]) + torch.maximum(sides[:, 2], want[:, 2])) * (
        torch.maximum(sides[:, 1], want[:, 1]) + torch.maximum(sides[:, 3], want[:, 3])
    )
    areas = [(s[:, 0] + s[:, 2]) * (s[:, 1] + s[:, 3]) for s in (sides, want)]
    union = areas[0] + areas[1] - meet
    giou = meet / union - (hull - union) / hull
    return focal + 2.0 * ((1 - giou) * weight).sum() / weight.sum().clamp_min(1)


def drift(heat: Tensor, sides: Tensor, exact: tuple[Tensor, Tensor]) -> Tensor:
    """Return how far rounding moves scores and boxes from the exact ones.

    Only where there may be a cell.
    """
    score = torch.sigmoid(exact[0])
    likely = score > MAY_BE_CELL
    moved = ((torch.sigmoid(heat) - score) ** 2)[likely].sum() / likely.sum().clamp_min(1)
    near = likely.any(1, keepdim=True)
    resized = ((torch.log(sides) - torch.log(exact[1])).abs() * near).sum() / near.sum().clamp_min(1)
    return 10 * moved + resized


def batch_of(fields: Sequence[Sequence[TrainingField]], seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Make a batch from the given fields; the same seed gives the same batch."""
    rng, g = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    crops = [(scattered(pixels, DIRT_MOST, rng), *labels) for pixels, *labels in (assembled(f, rng) for f in fields)]
    pixels = torch.from_numpy(np.stack([c[0] for c in crops])).permute(0, 3, 1, 2).float() / 255
    drawn = [targets(b, k, i) for _, b, k, i in crops]
    wanted = tuple(torch.from_numpy(np.stack([d[i] for d in drawn])) for i in range(4))
    return another_microscope(pixels, g, unchanged=0.35) * 255 - GREY, wanted


def train(
    sets: Sequence[Sequence[TrainingField]],
    shares: Sequence[int],
    steps: int,
    seed: int,
    start: Detector | None = None,
    learning_rate: float = 2e-3,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    rounded: bool = False,
    unfinished: Unfinished = NOTHING_KEPT,
) -> Detector:
    """Train on batches that take `shares[i]` crops from `sets[i]`.

    The learning rate ends at nought, so the last weights count.

    Args:
        sets: fields.
        shares: crops of each set in a batch.
        steps: of the optimiser.
        seed: the same gives the same weights on one machine.
        start: weights to go on from.
        learning_rate: the highest.
        progress: is told each step and its loss.
        rounded: to bear INT8, see `quantisation_aware`.
        unfinished: keeps the state of a training that is stopped.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Detector()
    if start is not None:
        net.load_state_dict(start.state_dict())
    net = net.to(memory_format=torch.channels_last).train()

    def drawn(fields: Sequence[TrainingField]) -> list[TrainingField]:
        first = fields[int(rng.integers(len(fields)))]
        small = max(first.pixels.shape[:2]) < SMALL
        return [first, *(fields[int(rng.integers(len(fields)))] for _ in range(3))] if small else [first]

    def chosen() -> list[list[TrainingField]]:
        return [drawn(s) for s, share in zip(sets, shares, strict=True) for _ in range(share)]

    if rounded:
        quantisation_aware.begin(net, lambda own: batch_of(chosen(), own)[0], seed, TOP)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=max(0.1, 2 / steps))
    kept = unfinished.restore(net, optimiser, schedule, rng)
    first = kept["step"] if kept is not None else 0
    drawn_from = rng.bit_generator.state
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batch_of, chosen(), seed * 1_000_003 + first)
        for step in range(first, steps):
            x, wanted = coming.result()
            if step > first and step % KEPT_EVERY == 0:
                unfinished.save(step, net, optimiser, schedule, drawn_from)
            drawn_from = rng.bit_generator.state  # what the fields of the next step are drawn from
            coming = ahead.submit(batch_of, chosen(), seed * 1_000_003 + step + 1)
            x = x.contiguous(memory_format=torch.channels_last)
            heat, sides = net(x)
            value = loss(heat, sides, wanted)
            if rounded:
                with quantisation_aware.exactly(net):
                    exact = net(x)
                value = value + DRIFT * drift(heat, sides, exact)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            progress(step + 1, float(value.detach()))
    if rounded:
        quantisation_aware.end(net)
    trained: Detector = net.eval()
    return trained


def save(net: Detector, path: Path) -> None:
    """Write the weights aside and rename."""
    save_weights(net, path)


def restored(path: Path) -> Detector:
    """Read weights written by `save`."""
    net = Detector()
    restore(net, path)
    return net
