"""Fits one network to one fold: frozen, half frozen, free; stopped early, and resumed at the epoch that was cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from edge.errors import ModelError
from edge.types import Floats, Pixels
from training.bench.models.augmentation import augmenter
from training.bench.models.networks import Net, restore, state
from training.bench.models.settings import FitSettings
from training.run_folder import write_torch

CHECKPOINT = "checkpoint.pt"

FOCUS = 2.0
"""Exponent of the focal loss (Lin et al. 2017, arXiv 1708.02002)."""

READ_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from, and what stops it: pixels uint8 (N, side, side, 3), y int (N,).

    taught: a teacher's probabilities of `pixels`, float32 (N, classes), or None.
    """

    pixels: Pixels
    y: np.ndarray
    check_pixels: Pixels
    check_y: np.ndarray
    taught: Floats | None = None


Report = Callable[[int, int, float], None]
"""Called with the epochs done, all of them, and the validation loss."""


def learn(net: Net, lesson: Lesson, settings: FitSettings, folder: Path, report: Report) -> list[dict[str, float]]:
    """Fit the network in place and return its curve, one row an epoch.

    The best epoch's weights stay.

    Each epoch draws from the seed and its own number alone, and ends with a checkpoint in `folder`: after a kill the
    same call goes on from there, on the same machine to the same curve. Raises ModelError for a checkpoint of another
    network, StorageError when it cannot be written.
    """
    course = _Course(net, lesson, settings)
    course.resume(folder / CHECKPOINT)
    total = sum(settings.schedule)
    while course.epoch < total:
        course.advance()
        write_torch(course.as_saved(), folder / CHECKPOINT)
        report(course.epoch, total, course.curve[-1]["validation_loss"])
    restore(net, course.best)
    net.eval()
    return course.curve


class _Course:
    """The state of a fit between two epochs."""

    def __init__(self, net: Net, lesson: Lesson, settings: FitSettings) -> None:
        self.net, self.lesson, self.settings = net, lesson, settings
        self.epoch, self.stage, self.stale = 0, -1, 0
        self.curve: list[dict[str, float]] = []
        self.best, self.best_loss = state(net), float("inf")
        counts = np.bincount(lesson.y, minlength=net.classes)
        weights = len(lesson.y) / (np.maximum(counts, 1) * max(1, (counts > 0).sum()))
        self.class_weights = torch.tensor(weights if settings.class_weights else np.ones(net.classes)).float()
        self.class_weights = self.class_weights.to(net.device)

    def as_saved(self) -> dict[str, Any]:
        return {"net": self.net.name, "epoch": self.epoch, "stage": self.stage, "stale": self.stale,
                "curve": self.curve, "best": self.best, "best_loss": self.best_loss, "state": state(self.net),
                "optimiser": self.optimiser.state_dict()}  # fmt: skip

    def resume(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            content = torch.load(path, weights_only=True, map_location=self.net.device)
            if content["net"] != self.net.name:
                raise ModelError(f"it is of {content['net']}, not of {self.net.name}")
            restore(self.net, content["state"])
            self.epoch, self.stale, self.curve = content["epoch"], content["stale"], content["curve"]
            self.best, self.best_loss = content["best"], content["best_loss"]
            self._enter(content["stage"])
            self.optimiser.load_state_dict(content["optimiser"])
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, ModelError) as error:
            raise ModelError(f"{path} cannot be gone on from: {error}. Choose another --out, or delete it") from error

    def _enter(self, stage: int) -> None:
        self.stage = stage
        self.net.thaw(stage)
        learning = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(learning, lr=1.0, weight_decay=self.settings.weight_decay)

    def advance(self) -> None:
        """Do one epoch, or leave a stage that has stopped getting better."""
        ends = np.cumsum(self.settings.schedule)
        stage = int(np.searchsorted(ends, self.epoch, side="right"))
        if stage != self.stage:
            restore(self.net, self.best)
            self._enter(stage)
            self.stale = 0
        begun, length = int(ends[stage]) - self.settings.schedule[stage], self.settings.schedule[stage]
        part = (self.epoch - begun) / length
        rate = self.settings.rates[stage] * 0.5 * (1 + np.cos(np.pi * part)) + 1e-6
        loss = self._epoch(float(rate))
        check_loss, right = self._check()
        self.curve.append({"epoch": self.epoch, "stage": stage, "rate": float(rate), "loss": loss,
                           "validation_loss": check_loss, "validation_accuracy": right})  # fmt: skip
        self.epoch += 1
        self.stale += 1
        if check_loss < self.best_loss:
            self.best, self.best_loss, self.stale = state(self.net), check_loss, 0
        if self.stale >= self.settings.patience:
            self.epoch = int(ends[stage])

    def _epoch(self, rate: float) -> float:
        seed = self.settings.seed * 1_000_003 + self.epoch
        torch.manual_seed(seed)
        altered = augmenter(self.settings.augmentation, seed)
        order = np.random.default_rng(seed).permutation(len(self.lesson.y))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.net.train()
        losses = []
        batches = max(1, len(order) // self.settings.batch)
        for rows in np.array_split(order, batches):
            value = self._loss(torch.from_numpy(altered(self.lesson.pixels[rows])), rows)
            self.optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
            self.optimiser.step()
            losses.append(float(value.detach()))
        return float(np.mean(losses))

    def _loss(self, pixels: Tensor, rows: np.ndarray) -> Tensor:
        device = self.net.device
        y = torch.from_numpy(self.lesson.y[rows]).to(device)
        # Half precision on a GPU only: on a processor it is slower.
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.net(pixels).float()
        value = classification_loss(logits, y, self.class_weights, self.settings.loss)
        if self.lesson.taught is None:
            return value
        soft, share = self.settings.softness, self.settings.teaching
        wanted = torch.from_numpy(self.lesson.taught[rows]).to(device).clamp_min(1e-6).log() / soft
        # Hinton, Vinyals, Dean 2015, arXiv 1503.02531: the square keeps both gradients of one size.
        told = F.kl_div(F.log_softmax(logits / soft, 1), torch.softmax(wanted, 1), reduction="batchmean") * soft**2
        return (1 - share) * value + share * told

    def _check(self) -> tuple[float, float]:
        prob = probabilities(self.net, self.lesson.check_pixels)
        at = np.clip(prob[np.arange(len(prob)), self.lesson.check_y], 1e-9, 1)
        return float(-np.log(at).mean()), float((prob.argmax(1) == self.lesson.check_y).mean())


def classification_loss(logits: Tensor, y: Tensor, class_weights: Tensor, kind: str) -> Tensor:
    """Return the mean weighted cross entropy, or the focal loss.

    Logits (N, classes), y int (N,).
    """
    each = F.cross_entropy(logits, y, reduction="none")
    if kind == "focal":
        each = each * (1 - torch.exp(-each)) ** FOCUS
    weights = class_weights[y]
    return (each * weights).sum() / weights.sum()


def views_of(pixels: Tensor, views: int) -> list[Tensor]:
    """Return one view of each picture, or eight.

    One is the picture as it is; eight are its right-angle turns and mirror images. Shape (N, S, S, 3).
    """
    if views == 1:
        return [pixels]
    turned = [torch.rot90(pixels, k, (1, 2)) for k in range(4)]
    return [*turned, *(t.flip(2) for t in turned)]


def probabilities(net: Net, pixels: Pixels, views: int = 1) -> Floats:
    """Return class probabilities float32 (N, classes), averaged over views.

    Pictures are uint8 (N, side, side, 3).
    """
    net.eval()
    parts = [np.zeros((0, net.classes), np.float32)]
    with torch.inference_mode():
        for i in range(0, len(pixels), READ_AT_ONCE):
            looks = views_of(torch.from_numpy(pixels[i : i + READ_AT_ONCE]), views)
            parts.append(torch.stack([torch.softmax(net(x.contiguous()), 1) for x in looks]).mean(0).cpu().numpy())
    return np.concatenate(parts)


def features(net: Net, pixels: Pixels, views: int = 1) -> Floats:
    """Return what the trunk makes of each cell, float32 (N, features), averaged over views."""
    net.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, len(pixels), READ_AT_ONCE):
            looks = views_of(torch.from_numpy(pixels[i : i + READ_AT_ONCE]), views)
            parts.append(torch.stack([net.features(x.contiguous()) for x in looks]).mean(0).cpu().numpy())
    return np.concatenate(parts)
