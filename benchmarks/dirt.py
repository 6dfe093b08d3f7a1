"""Dirt that does not move, against the virtual slide's truth: `python -m benchmarks.dirt`.

Each seed is a slide that is read twice, with dirt and without: specks and needles of several contrasts and blurs, there
from the beginning or from some field on; steps of a field and of less than a cell; sparse and dense fields; views that
stand still. A fifth of the red cells are sickle, so that some pass under the dirt. A detector that knows the truth
finds the cells with a good detector's errors, and dirt the more often the darker it is; with `--networks` the shipped
networks read the rendered pixels, which takes ten times as long.
Goes on where it was broken off, from the lines in `--out`; prints what was masked, counted and lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.slidepaths import Eye, jittered, looked
from edge.camera.frames import stamped
from edge.camera.virtual.dirt import Dirt
from edge.camera.virtual.layout import SlideSpec, View, VirtualCell
from edge.camera.virtual.slide import Slide
from edge.camera.virtual.specimen import Specimen
from edge.config.model import Config, QualityConfig
from edge.pipeline import Pipeline
from edge.runtime.contract import NOVELTY, Contract
from edge.screening.tally import Tally
from edge.types import ABSTAINED, CLASSES, KINDS, RED_CELLS, FieldReading, Floats, Mask, Pixels

STEPS = ("fields", "overlap", "small", "fields", "overlap", "still")
DENSITIES = (5200.0, 2500.0, 9000.0)
SPECKS_UM = ((7.0, 6.0), (9.0, 3.0), (12.0, 8.0), (60.0, 3.0), (6.0, 2.5))
"""Length and width of the dirt."""

FIELDS, STILL_FIELDS, SMALL_FIELDS, SMALL_UM = 14, 8, 36, 3.0

SAME_UM = 2.5
"""A box is a cell of the truth where their middles are as near."""

ON_DIRT_UM = 1.5
"""A box that is no cell lies on dirt where its middle is as near to it."""


class KnowingDetector:
    """A detector that is told what the next picture shows: its cells, with errors, and boxes on its dirt."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.sha256, self.runtime = contract, "0" * 64, "known truth"
        self.boxes: Floats = np.zeros((0, 4), np.float32)

    def close(self) -> None:
        """Do nothing."""

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        """Return the maps of uint8 (1, H, W, 3), all cells red."""
        h, w = batch.shape[1] // 4, batch.shape[2] // 4
        peaks, sides = np.zeros((1, len(KINDS), h, w), np.float32), np.zeros((1, 4, h, w), np.float32)
        for x0, y0, x1, y1 in self.boxes.tolist():
            row, column = min(h - 1, int((y0 + y1) / 8)), min(w - 1, int((x0 + x1) / 8))
            x, y = (column + 0.5) * 4, (row + 0.5) * 4
            peaks[0, 0, row, column] = 0.9
            sides[0, :, row, column] = (x - x0, y - y0, x1 - x, y1 - y)
        return {"peaks": peaks, "sides": sides}

    def look(self, slide: Slide, index: int) -> None:
        """Be told what a field shows."""
        rng = np.random.default_rng((slide.spec.seed, 78, index))
        _, cells = looked(_truth(slide, index), slide.spec, Eye(), rng)
        size = np.array([slide.spec.width, slide.spec.height])
        on_dirt = [
            box for one in slide.spec.dirt if index >= one.first_field for box in _boxes_on(one, slide.spec, rng)
        ]
        boxes = np.concatenate([cells.boxes, np.reshape(on_dirt, (-1, 4))])
        self.boxes = np.asarray(boxes[(boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < size).all(1)], np.float32)


class KnowingClassifier:
    """A classifier that calls every cell normal."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.sha256, self.runtime = contract, "0" * 64, "known truth"

    def close(self) -> None:
        """Do nothing."""

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        """Return the probabilities of uint8 (N, side, side, 3)."""
        prob = np.full((len(batch), len(CLASSES)), 0.01, np.float32)
        prob[:, 0] = 0.95
        return {"prob": prob, NOVELTY: np.zeros(len(batch), np.float32)}


def _boxes_on(dirt: Dirt, spec: SlideSpec, rng: np.random.Generator) -> Iterator[list[float]]:
    """Give the boxes that a detector finds on a piece of dirt: one on a speck, some along a needle."""
    along, um = np.array([np.cos(np.radians(dirt.turned_deg)), np.sin(np.radians(dirt.turned_deg))]), spec.um_per_px
    middle = np.array([dirt.x * spec.width, dirt.y * spec.height])
    part_um = min(dirt.length_um, 10.0)
    reach = np.abs(along) * part_um / 2 + np.abs(along[::-1]) * dirt.width_um / 2 + dirt.blur_um
    places = [0.0] if dirt.length_um <= part_um * 1.5 else rng.uniform(-0.45, 0.45, 4) * dirt.length_um
    for place in places:
        if rng.random() < min(0.95, 2 * dirt.density):
            centre = middle + along * place / um
            box = np.concatenate([centre - reach / um, centre + reach / um]) + rng.normal(0, Eye().error_px, 4)
            yield box.tolist()


@dataclass
class Run:
    """What came of one reading: cells that count at the end by number, and the places where each was seen."""

    counted: dict[int, int]
    places: dict[int, list[tuple[int, float, float]]]
    mask: Mask | None
    share: float
    red_cells: int
    first_masked: int | None


def slide_of(seed: int, dirty: bool) -> SlideSpec:
    """Return the slide of a seed, with or without its dirt."""
    rng = np.random.default_rng((seed, 77))
    steps, density = list(product(STEPS, DENSITIES))[seed % (len(STEPS) * len(DENSITIES))]
    spec = SlideSpec(seed=seed, cells_per_mm2=density, sickle_fraction=0.2, defocus_um=float(rng.uniform(0.05, 0.35)))
    views = tuple(_views(spec, steps, rng))
    late = steps != "still" and rng.random() < 0.3
    dirt = tuple(_dirt(rng, len(views) // 3 if late else 0) for _ in range(int(rng.integers(1, 4))))
    return replace(spec, n_fields=len(views), views=views, dirt=dirt if dirty else ())


@lru_cache(1)
def _true_cells(spec: SlideSpec) -> list[list[VirtualCell]]:
    specimen = Specimen(spec)
    return [specimen.truth(view) for view in spec.views]


def _truth(slide: Slide, index: int) -> list[VirtualCell]:
    """Return the cells of a field, found once for a slide with and without its dirt."""
    return _true_cells(replace(slide.spec, dirt=()))[index]


def _views(spec: SlideSpec, steps: str, rng: np.random.Generator) -> Iterator[View]:
    if steps == "still":
        yield from (View(*rng.normal(0, 0.3, 2).tolist()) for _ in range(STILL_FIELDS))
    elif steps == "small":
        yield from (View(SMALL_UM * index, float(rng.normal(0, 0.3))) for index in range(SMALL_FIELDS))
    else:
        yield from jittered(replace(spec, n_fields=FIELDS), 0.0 if steps == "fields" else 0.4, rng)


def _dirt(rng: np.random.Generator, first_field: int) -> Dirt:
    length, width = SPECKS_UM[int(rng.integers(len(SPECKS_UM)))]
    x, y = rng.uniform(0.15, 0.85, 2).tolist()
    return Dirt(
        x,
        y,
        length,
        width,
        turned_deg=float(rng.uniform(0, 180)),
        density=float(rng.uniform(0.15, 0.9)),
        blur_um=float(rng.uniform(0.2, 1.5)),
        first_field=first_field,
    )


def read(pipeline: Pipeline, slide: Slide) -> Run:
    """Read all fields of a slide as one sample."""
    pipeline.new_sample(each_cell_once=True)
    tally, first = Tally(), None
    counted: dict[int, int] = {}
    places: dict[int, list[tuple[int, float, float]]] = {}
    for index in range(len(slide.spec.views)):
        if isinstance(pipeline.detector, KnowingDetector):
            pipeline.detector.look(slide, index)
        reading = pipeline.read(stamped(slide.render(index), index, "", slide.spec.um_per_px))
        tally.add(reading)
        _follow(reading, counted, places)
        first = index if first is None and reading.masked else first
    mask, share = masked_pixels(pipeline, slide.spec)
    return Run(counted, places, mask, share, tally.counts().red_cells, first)


def masked_pixels(pipeline: Pipeline, spec: SlideSpec) -> tuple[Mask | None, float]:
    """Return what is masked of the frame at the end, bool (H, W), and its share."""
    blank = stamped(np.zeros((spec.height, spec.width, 3), np.uint8), 0, "", spec.um_per_px)
    hidden = pipeline.hidden_part(blank)
    return hidden, 0.0 if hidden is None else float(hidden.mean())


def _follow(reading: FieldReading, counted: dict[int, int], places: dict[int, list[tuple[int, float, float]]]) -> None:
    """Take in what a reading changes, as the database does."""
    if reading.change is None or reading.placement is None or reading.ids is None:
        return
    for number, label in zip(reading.change.numbers.tolist(), reading.change.label.tolist(), strict=True):
        counted[number] = label
    for number in [*reading.change.gone.tolist(), *(dropped for _, dropped in reading.placement.joined)]:
        counted.pop(number, None)
    middles = (reading.boxes[:, :2] + reading.boxes[:, 2:]) / 2
    for number, (x, y) in zip(reading.ids.tolist(), middles.tolist(), strict=True):
        places.setdefault(number, []).append((reading.frame_index, x, y))
    for kept, dropped in reading.placement.joined:  # one that was cut so far has no place of its own
        places.setdefault(kept, []).extend(places.pop(dropped, []))


def identities(run: Run, slide: Slide) -> dict[int, tuple[int, ...] | None]:
    """Return for each cell that counts the cell of the truth that it is, or None."""
    near = SAME_UM / slide.spec.um_per_px
    truths = [_truth(slide, index) for index in range(len(slide.spec.views))]
    middles = [np.array([cell.box for cell in truth]).reshape(-1, 2, 2).mean(1) for truth in truths]
    found: dict[int, tuple[int, ...] | None] = {}
    for number in run.counted:
        found[number] = None
        for index, x, y in run.places.get(number, []):
            apart = np.hypot(*(middles[index] - (x, y)).T)
            if len(apart) and apart.min() < near:
                found[number] = truths[index][int(apart.argmin())].identity
    return found


def on_dirt(slide: Slide) -> Mask:
    """Return bool (H, W): where dirt is at the end, and as near to it as a box on it may lie."""
    density = slide.dirt(len(slide.spec.views) - 1)
    side = 2 * round(ON_DIRT_UM / slide.spec.um_per_px) + 1
    return np.asarray(cv2.dilate((density > 0.03).astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def measured(pipeline: Pipeline, seed: int) -> dict[str, Any]:
    """Read the slide of a seed with and without its dirt, and compare with the truth."""
    clean_slide = Slide(slide_of(seed, False))
    slide = copy(clean_slide)  # with the cells that are drawn
    slide.spec = slide_of(seed, True)
    clean, dirty = read(pipeline, clean_slide), read(pipeline, slide)
    true_clean, true_dirty = identities(clean, clean_slide), identities(dirty, slide)
    dirt = on_dirt(slide)
    red = {CLASSES.index(name) for name in RED_CELLS}
    of_dirt = [number for number, cell in true_dirty.items() if cell is None and _lies(dirty.places[number], dirt)]
    hidden = dirt if dirty.mask is None else dirt | dirty.mask
    shown = _shown_clear(slide, hidden)
    lost = {cell for cell in true_clean.values() if cell in shown} - set(true_dirty.values())
    noise = {cell for cell in true_dirty.values() if cell in shown} - set(true_clean.values())
    steps, density = list(product(STEPS, DENSITIES))[seed % (len(STEPS) * len(DENSITIES))]
    return {
        "seed": seed,
        "steps": steps,
        "density": density,
        "late": any(one.first_field for one in slide.spec.dirt),
        "clean_masked": clean.share,
        "masked": dirty.share,
        "masked_beside": 0.0 if dirty.mask is None else float((dirty.mask & ~dirt).mean()),
        "first_masked": dirty.first_masked,
        "dirt_counted": len(of_dirt),
        "dirt_counted_red": sum(dirty.counted[number] in red for number in of_dirt),
        "dirt_counted_sickle": sum(dirty.counted[number] == CLASSES.index("sickle") for number in of_dirt),
        "dirt_abstained": sum(dirty.counted[number] == ABSTAINED for number in of_dirt),
        "cells": len(true_clean),
        "clear": sum(cell in shown for cell in true_clean.values()),
        "lost_clear": len(lost),
        "won_clear": len(noise),
        "red_clean": clean.red_cells,
        "red_dirty": dirty.red_cells,
    }


def _lies(places: list[tuple[int, float, float]], where: Mask) -> bool:
    h, w = where.shape
    return all(where[min(h - 1, int(y)), min(w - 1, int(x))] for _, x, y in places)


def _shown_clear(slide: Slide, hidden: Mask) -> set[tuple[int, ...]]:
    """Return the cells that some field shows whole and clear of what is hidden."""
    total = cv2.integral(hidden.astype(np.uint8))
    found = set()
    for index in range(len(slide.spec.views)):
        for cell in _truth(slide, index):
            x0, y0, x1, y1 = (round(side) for side in cell.box)
            if cell.fully_visible and not _within(total, x0, y0, x1, y1):
                found.add(cell.identity)
    return found


def _within(total: Any, x0: int, y0: int, x1: int, y1: int) -> int:
    h, w = total.shape[0] - 1, total.shape[1] - 1
    x0, x1, y0, y1 = max(0, x0), min(w, x1), max(0, y0), min(h, y1)
    return int(total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0])


def main(
    slides: Annotated[int, typer.Option(min=1, help="Seeds to read.")] = 200,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    out: Annotated[Path, typer.Option(help="Lines of what was measured.")] = Path("dirt.jsonl"),
    networks: Annotated[bool, typer.Option(help="Read with the shipped networks.")] = False,
) -> None:
    """Measure the slides and print the sums."""
    cv2.setNumThreads(1)
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {row["seed"] for row in rows}
    with opened(networks) as pipeline, out.open("a") as lines:
        for seed in range(first, first + slides):
            if seed not in done:
                rows.append(measured(pipeline, seed))
                lines.write(json.dumps(rows[-1]) + "\n")
                lines.flush()
    for steps in dict.fromkeys([*STEPS, "all"]):
        mine = [row for row in rows if steps in (row["steps"], "all")]
        if mine:
            typer.echo(f"{steps}: {json.dumps(summed(mine))}")


def opened(networks: bool) -> Pipeline:
    """Return a pipeline with the shipped networks, or with those that know the truth."""
    shipped = Pipeline(Config())
    if networks:
        return shipped
    with shipped:
        detector, classifier = shipped.detector.contract, shipped.classifier.contract
    # Which fields are in focus and familiar is not asked here: every one of them is read.
    return Pipeline(
        Config(quality=QualityConfig(gate=False)), (KnowingDetector(detector), KnowingClassifier(classifier))
    )


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums over slides."""
    total = {key: sum(row[key] for row in rows) for key in ("cells", "clear", "lost_clear", "won_clear")}
    return {
        "slides": len(rows),
        "clean_slides_masked": sum(row["clean_masked"] > 0 for row in rows),
        "dirty_slides_masked": sum(row["masked"] > 0 for row in rows),
        "slides_with_dirt_counted": sum(row["dirt_counted"] > 0 for row in rows),
        "slides_with_dirt_counted_red": sum(row["dirt_counted_red"] > 0 for row in rows),
        "dirt_counted_sickle": sum(row["dirt_counted_sickle"] for row in rows),
        **total,
        "most_masked_beside": round(max(row["masked_beside"] for row in rows), 5),
        "lost_share": round((total["lost_clear"] - total["won_clear"]) / max(1, total["clear"]), 5),
        "median_first_masked": float(np.median([row["first_masked"] for row in rows if row["masked"] > 0] or [np.nan])),
    }


if __name__ == "__main__":
    typer.run(main)
