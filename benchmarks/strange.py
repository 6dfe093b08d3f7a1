"""What is refused of pictures that are no smears, and of smears that look otherwise: `python -m benchmarks.strange`.

Drawn pictures are read at a known scale, as on a device whose pixel size is set; smears (`SICKLESCOPE_DATA`) at the
scale of the unchanged picture, so that a magnified one stands for the wrong objective. The same seed draws the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.quality_limits import blurred
from benchmarks.realdata import some_fields
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config
from edge.pipeline import Pipeline
from edge.types import ABSTAINED, CANONICAL_UM_PER_PX, FieldReading, Pixels

HEIGHT, WIDTH = 480, 640

Draw = Callable[[np.random.Generator], Pixels]
Change = Callable[[Pixels, np.random.Generator], Pixels]


def _bytes(picture: np.ndarray) -> Pixels:
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _grain(rng: np.random.Generator, size_px: float) -> np.ndarray:
    """Return noise (H, W) of this grain, mean 0, deviation 1."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)), (0, 0), size_px)
    return np.asarray((noise - noise.mean()) / noise.std())


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(60, 220, 3))


def _spots(rng: np.random.Generator, draw: Callable[[Pixels, int, int, tuple[int, ...]], object]) -> Pixels:
    picture, colour = np.full((HEIGHT, WIDTH, 3), 235, np.uint8), _colour(rng)
    for x, y in zip(rng.integers(20, 610, 110).tolist(), rng.integers(20, 450, 110).tolist(), strict=True):
        draw(picture, x, y, colour)
    return picture


def discs(rng: np.random.Generator) -> Pixels:
    """Draw flat discs of a red cell's size."""
    return _spots(rng, lambda p, x, y, c: cv2.circle(p, (x, y), 15, c, -1, cv2.LINE_AA))


def squares(rng: np.random.Generator) -> Pixels:
    """Draw flat squares of a red cell's size."""
    return _spots(rng, lambda p, x, y, c: cv2.rectangle(p, (x, y), (x + 28, y + 28), c, -1))


def rings(rng: np.random.Generator) -> Pixels:
    """Draw thin rings of a red cell's size."""
    return _spots(rng, lambda p, x, y, c: cv2.circle(p, (x, y), 13, c, 3, cv2.LINE_AA))


def noise(rng: np.random.Generator) -> Pixels:
    """Draw each pixel by itself."""
    return _bytes(rng.normal(128, 50, (HEIGHT, WIDTH, 3)))


def soft_noise(rng: np.random.Generator) -> Pixels:
    """Draw clouds of a red cell's size, in one colour."""
    clouds = _grain(rng, float(rng.uniform(5, 12)))[:, :, None]
    return _bytes(170 + clouds * rng.uniform(-45, 45, 3))


def lettering(rng: np.random.Generator) -> Pixels:
    """Print a page."""
    picture = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    for y in range(24, HEIGHT, 32):
        text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz     "), 48))
        cv2.putText(picture, text, (8, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (30, 30, 40), 2, cv2.LINE_AA)
    return picture


def bricks(rng: np.random.Generator) -> Pixels:
    """Build a wall: bricks a little larger than red cells, each in its own shade, on mortar."""
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    colour, high, wide = np.array(_colour(rng)), int(rng.integers(18, 30)), int(rng.integers(28, 60))
    for row, y in enumerate(range(0, HEIGHT, high)):
        for x in range(-(row % 2) * wide // 2, WIDTH, wide):
            shade = _bytes(colour + rng.normal(0, 14)).tolist()
            cv2.rectangle(picture, (x + 2, y + 2), (x + wide - 2, y + high - 2), shade, -1)
    return _bytes(picture + 8 * _grain(rng, 1.0)[:, :, None])


def gravel(rng: np.random.Generator) -> Pixels:
    """Lay stones side by side, shaded to one side."""
    points = rng.uniform(0, (WIDTH, HEIGHT), (420, 2))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    nearest = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    stone = np.zeros((HEIGHT, WIDTH), int)
    for i, (px, py) in enumerate(points):
        apart = np.hypot(x - px, y - py)
        closer = apart < nearest
        nearest[closer], stone[closer] = apart[closer], i
    shades = rng.uniform(90, 210, (len(points), 1)) + rng.normal(0, 10, (len(points), 3))
    light = 1 - nearest / 26 + 0.01 * (x - points[stone, 0])
    return _bytes(cv2.GaussianBlur(shades[stone] * light[:, :, None].clip(0.3, 1.2), (0, 0), 1.0))


def wood(rng: np.random.Generator) -> Pixels:
    """Draw veins along one side."""
    veins = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)), (0, 0), 60, sigmaY=2.0)
    return _bytes(np.array([170, 125, 80]) + (veins / veins.std())[:, :, None] * 26)


def tissue(rng: np.random.Generator) -> Pixels:
    """Draw a section of tissue: dark nuclei packed in a stained ground without glass."""
    ground = np.array([215, 150, 195]) + _grain(rng, 6)[:, :, None] * 14
    picture = _bytes(ground)
    for x, y in zip(rng.integers(0, WIDTH, 500).tolist(), rng.integers(0, HEIGHT, 500).tolist(), strict=True):
        axes = int(rng.integers(5, 11)), int(rng.integers(4, 8))
        cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, (95, 60, 140), -1, cv2.LINE_AA)
    return _bytes(cv2.GaussianBlur(picture, (0, 0), 1.2) + 5 * _grain(rng, 0.8)[:, :, None])


def paper(rng: np.random.Generator) -> Pixels:
    """Photograph a sheet of grained paper."""
    grain = 3 * _grain(rng, 1.5) + 5 * _grain(rng, 60)
    return _bytes(np.array([240, 236, 225]) + grain[:, :, None] + rng.normal(0, 2, (HEIGHT, WIDTH, 3)))


DRAWN: dict[str, Draw] = {
    draw.__name__.replace("_", " "): draw
    for draw in (discs, squares, rings, noise, soft_noise, lettering, bricks, gravel, wood, tissue, paper)
}


def _magnified(by: float) -> Change:
    def change(pixels: Pixels, _: np.random.Generator) -> Pixels:
        how = cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC
        return cv2.resize(pixels, None, fx=by, fy=by, interpolation=how).astype(np.uint8)

    return change


def _hue(by: int) -> Change:
    def change(pixels: Pixels, _: np.random.Generator) -> Pixels:
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + by) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8)

    return change


CHANGED: dict[str, Change] = {
    "as taken": lambda pixels, _: pixels,
    "inverted": lambda pixels, _: 255 - pixels,
    "magnified 0.5 times": _magnified(0.5),
    "magnified 2 times": _magnified(2.0),
    "noise of 10 grey levels": lambda pixels, rng: _bytes(pixels + rng.normal(0, 10, pixels.shape)),
    "blurred by 2 pixels": lambda pixels, _: blurred(pixels, 2),
    "grey": lambda pixels, _: np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2).astype(np.uint8),
    "hue turned by 30 of 180": _hue(30),
    "hue turned by 60 of 180": _hue(60),
    "hue turned by 90 of 180": _hue(90),
    "red and green exchanged": lambda pixels, _: np.ascontiguousarray(pixels[:, :, [1, 0, 2]]),
}
"""Ways in which another stain, lens or camera might show a smear."""

SETS = ("uganda_scd", "chula_rbc12", "txl_pbc")


def refusals(pipeline: Pipeline, pictures: list[tuple[Pixels, float]]) -> tuple[Counter[str], list[float]]:
    """Read pictures, each with its µm per pixel.

    Return how often each came to what, and their median novelties.
    """
    reasons: Counter[str] = Counter()
    novelty = []
    for index, (pixels, um_per_px) in enumerate(pictures):
        pipeline.new_sample()
        reading = pipeline.read(stamped(pixels, index, "", um_per_px))
        reasons[_outcome(reading)] += 1
        novelty.append(_novelty(reading))
    return reasons, novelty


def _outcome(reading: FieldReading) -> str:
    if reading.rejected is not None:
        return reading.rejected.reason.value
    return "read" if (reading.label != ABSTAINED).any() else "no cell named"


def _novelty(reading: FieldReading) -> float:
    if reading.rejected is not None and reading.rejected.reason.value == "unfamiliar":
        return reading.rejected.value
    return float(np.median(reading.novelty)) if len(reading.novelty) else float("nan")


def smears(pipeline: Pipeline, count: int) -> list[tuple[Pixels, float]]:
    """Return so many real fields of each set with their estimated scale.

    As they are read.
    """
    found = []
    for name in SETS:
        mine = []
        for path in some_fields(name, 2 * count):
            pixels = read_image(path, 64)
            pipeline.new_sample()
            scale = pipeline.read(stamped(pixels, 0, "")).scale
            if scale is not None:
                mine.append((pixels, scale.um_per_px))
        found += mine[:count]
    return found


def main(
    pictures: Annotated[int, typer.Option(min=1, help="Drawn pictures of each kind.")] = 12,
    fields: Annotated[int, typer.Option(min=0, help="Real fields of each set.")] = 12,
) -> None:
    """Read them all and print what was refused, and why."""
    table = Table("picture", "of", "refused", "as unfamiliar", "other reasons", "median novelty / limit")
    with Pipeline(Config()) as pipeline:
        limit = pipeline.classifier.contract.thresholds["novelty_field"]

        def row(name: str, given: list[tuple[Pixels, float]]) -> None:
            reasons, novelty = refusals(pipeline, given)
            n, others = len(given), {k: v for k, v in reasons.items() if k not in ("read", "unfamiliar")}
            refused = n - reasons["read"]
            said = ", ".join(f"{reason} {times}" for reason, times in sorted(others.items()))
            middle = f"{np.nanmedian(novelty) / limit:.2f}" if np.isfinite(novelty).any() else ""
            table.add_row(name, str(n), f"{refused / n:.0%}", f"{reasons['unfamiliar'] / n:.0%}", said, middle)

        for name, draw in DRAWN.items():
            row(name, [(draw(np.random.default_rng(seed)), CANONICAL_UM_PER_PX) for seed in range(pictures)])
        real = smears(pipeline, fields) if fields else []
        for name, change in CHANGED.items() if real else ():
            rng = np.random.default_rng(0)
            row(f"smears, {name}", [(change(pixels, rng), um_per_px) for pixels, um_per_px in real])
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
