"""The pipeline under test: the shipped networks where they are, else one that finds drawn cells by their colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from edge.config.model import Config
from edge.runtime.contract import SHIPPED_SHA256, Contract
from edge.types import CLASSES, FieldReading, Frame, Reason, Rejection, Scale, unread


@dataclass
class Net:
    """What a scan tells of a network."""

    contract: Contract
    sha256: str = "0" * 64
    runtime: str = "by colour"


def net(role: str) -> Net:
    return Net(
        Contract.model_validate(
            {"role": role, "name": f"{role}-by-colour", "version": "0", "classes": CLASSES, "um_per_px": 0.25,
             "size": 32, "thresholds": {"score": 0.5}, "limit_of_blank": 0.003, "graph_sha256": "0" * 64}
        )
    )  # fmt: skip


class ByColour:
    """Meets Pipeline's interface."""

    def __init__(self, config: Config) -> None:
        self.config, self.detector, self.classifier = config, net("detector"), net("classifier")
        self._locked: Scale | None = None

    def __enter__(self) -> ByColour:
        return self

    def __exit__(self, *_: object) -> None: ...

    def new_sample(self) -> None:
        self._locked = None

    def read(self, frame: Frame) -> FieldReading:
        h, w = frame.pixels.shape[:2]
        dark = float((frame.pixels.max(axis=2) < 40).mean())
        base = replace(unread(frame.name, frame.index, Rejection(Reason.UNDER_EXPOSED, dark, 0.5)), width=w, height=h)
        if dark > 0.5 and self.config.quality.gate:
            return base
        mask = (frame.pixels[..., 1].astype(int) < 190).astype(np.uint8)
        stats = cv2.connectedComponentsWithStats(cv2.dilate(mask, np.ones((3, 3))))[2][1:]
        boxes = np.hstack([stats[:, :2], stats[:, :2] + stats[:, 2:4]]).astype(np.float32)
        cut = (boxes[:, :2] <= 1).any(axis=1) | (boxes[:, 2] >= w - 1) | (boxes[:, 3] >= h - 1)
        if self.config.screening.keep_border:
            cut[:] = False
        return self._named(replace(base, rejected=None, border=int(cut.sum())), boxes[~cut])

    def read_crop(self, frame: Frame) -> FieldReading:
        h, w = frame.pixels.shape[:2]
        base = replace(unread(frame.name, frame.index, Rejection(Reason.EMPTY, 0, 0)), rejected=None, width=w, height=h)
        return self._named(base, np.array([[0, 0, w, h]], np.float32))

    def _named(self, base: FieldReading, boxes: np.ndarray) -> FieldReading:
        n = len(boxes)
        prob = np.full((n, len(CLASSES)), 0.02, np.float32)
        label = (np.arange(n) % 7 - 1).astype(np.int8)
        prob[np.arange(n), np.maximum(label, 0)] = 0.9
        given = self.config.optics.um_per_px
        if given == "auto":
            scale = self._locked or Scale(7.5 / float(np.median(boxes[:, 2] - boxes[:, 0])), "estimated", 0.05)
            self._locked = Scale(scale.um_per_px, "locked", scale.spread)
        else:
            scale = Scale(given, "configured")
        return replace(
            base, boxes=boxes, score=np.full(n, 0.9, np.float32), prob=prob, label=label, scale=scale, area_mm2=0.02
        )


def use_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `scan` use the real pipeline if its networks are shipped."""
    if not SHIPPED_SHA256:
        monkeypatch.setattr("edge.batch.scan.Pipeline", ByColour)
