"""A small data folder of rendered smears, laid out as the real sets are, labels and all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.virtual.layout import SlideSpec, VirtualCell
from edge.camera.virtual.slide import Slide
from edge.types import Pixels

FOLDS = range(4)
TXL_CLASS = {"wbc": 0, "normal": 1, "sickle": 1, "other": 1, "platelet": 2}
RED = ("normal", "sickle", "other")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let torch add up in one order in all of a module, its shared runs with it, so that equal runs are equal."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rendered(seed: int, side: int = 200, **spec: object) -> tuple[Pixels, list[VirtualCell]]:
    """Render one field: its pixels and true cells."""
    slide = Slide(SlideSpec(seed=seed, width=side, height=side, um_per_px=0.25, platelets_per_mm2=600, **spec))  # type: ignore[arg-type]
    return slide.render(0), slide.truth(0)


def write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def lay_out(root: Path) -> Path:
    """Write every set that teaches or judges with few and small pictures; returns the root."""
    _txl(root / "txl_pbc")
    _uganda(root / "uganda_scd")
    _chula(root / "chula_rbc12")
    _sickle_free(root)
    _idb1(root / "erythrocytes_idb1")
    return root


def _txl(folder: Path) -> None:
    for split, seeds in (("train", range(4)), ("val", range(4, 6))):
        for seed in seeds:
            pixels, cells = rendered(seed)
            write(folder / "images" / split / f"{seed}.png", pixels)
            h, w = pixels.shape[:2]
            lines = []
            for cell in cells:
                x0, y0, x1, y1 = np.clip(cell.box, 0, (w, h, w, h))
                if x1 - x0 > 8 and y1 - y0 > 8:
                    values = (x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h
                    lines.append(" ".join([str(TXL_CLASS[cell.class_name]), *(f"{v:.6f}" for v in values)]))
            labels = folder / "labels" / split / f"{seed}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("\n".join(lines) + "\n")


def _uganda(folder: Path) -> None:
    fields, boxes = ["path,label,field_group,fold,width,height"], ["path,x0,y0,x1,y1,partial,field_group"]
    for fold in FOLDS:
        for label, seed in (("positive", 10 + fold), ("negative", 20 + fold)):
            pixels, cells = rendered(seed, sickle_fraction=0.4 if label == "positive" else 0.0)
            name, group = f"{label}/{seed}.png", f"g{seed}"
            write(folder / name, pixels)
            fields.append(f"{name},{label},{group},{fold},{pixels.shape[1]},{pixels.shape[0]}")
            sickle = [c.box for c in cells if c.class_name == "sickle" and c.fully_visible]
            boxes += [f"{name},{','.join(f'{v:.1f}' for v in box)},0,{group}" for box in sickle]
    (folder / "fields.csv").write_text("\n".join(fields) + "\n")
    (folder / "sickle_boxes.csv").write_text("\n".join(boxes) + "\n")


def _chula(folder: Path) -> None:
    fields = ["path,series_group,fold,n_labels,fraction_unlabelled"]
    for fold in FOLDS:
        pixels, cells = rendered(30 + fold, sickle_fraction=0.0)
        write(folder / f"images/{fold}.png", pixels)
        points = [f"{c.x:.0f} {c.y:.0f} {0 if c.class_name == 'normal' else 6}" for c in cells if c.class_name in RED]
        labels = folder / f"labels/{fold}.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text("\n".join(points) + "\n")
        fields.append(f"images/{fold}.png,s{fold},{fold},{len(points)},0.01")
    (folder / "fields.csv").write_text("\n".join(fields) + "\n")


def _sickle_free(root: Path) -> None:
    tables = {
        "krd_wbc/fields.csv": ["path,colour_group,fold,wbc"],
        "chula_rbc12/diseases.csv": ["path,disease,series_group,fold"],
        "chula_rbc12/unlabelled.csv": ["path,series_group,fold"],
    }
    for fold in FOLDS:
        rows = (f"images/{fold}.png,k{fold},{fold},Monocyte", f"diseases/{fold}.png,iron_deficiency,d{fold},{fold}",
                f"unlabelled/{fold}.png,u{fold},{fold}")  # fmt: skip
        for seed, (table, row) in enumerate(zip(tables, rows, strict=True)):
            pixels, _ = rendered(50 + 4 * seed + fold, 160, sickle_fraction=0.0)
            write((root / table).parent / row.split(",")[0], pixels)
            tables[table].append(row)
    for table, lines in tables.items():
        (root / table).write_text("\n".join(lines) + "\n")


def _idb1(folder: Path) -> None:
    rows = ["path,label,fold"]
    for i, label in enumerate(("circular", "elongated", "other")):
        write(folder / f"color/{label}/{i}.png", rendered(40 + i)[0][:80, :80])
        rows.append(f"color/{label}/{i}.png,{label},0")
    (folder / "cells.csv").write_text("\n".join(rows) + "\n")
