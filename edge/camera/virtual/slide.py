"""A rendered slide: the pixels of each of its fields, and the known truth of each cell."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge.camera.virtual.artefacts import VirtualArtefact, lie_on
from edge.camera.virtual.layout import Kind, Layout, Placed, SlideSpec, Stain, VirtualCell, random_of
from edge.camera.virtual.smear import SHAPES, Look, density
from edge.camera.virtual.specimen import Specimen
from edge.types import Floats, Pixels

STAINS: dict[Stain, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    "leishman": ((232, 226, 232), (0.20, 0.36, 0.14), (0.80, 1.45, 0.45)),
    "field": ((226, 222, 200), (0.27, 0.42, 0.34), (0.90, 1.30, 0.50)),
    "wright": ((206, 212, 210), (0.18, 0.66, 0.46), (0.75, 1.40, 0.50)),
}
"""Colour of the empty slide (R, G, B of 255), then what a red cell and what a nucleus takes away of each as optical
density. By eye, after the commonest stains.
"""

OPTICS_BLUR_UM = 0.16
"""Standard deviation of the blur of a good objective in focus: about a third of its resolution."""

NOISE_TILE = 64
"""The noise is this much larger than a field, which takes another part of it each time."""


class Slide:
    """The pictures of a rendered smear. Any field can be had without those before it."""

    def __init__(self, spec: SlideSpec) -> None:
        self.spec = spec
        self._layout = Specimen(spec) if spec.views else Layout(spec)
        rng = np.random.default_rng((spec.seed, 0))
        stain = STAINS[spec.stain or tuple(STAINS)[int(rng.integers(len(STAINS)))]]
        empty, red, nucleus = (np.array(colour) for colour in stain)
        strength = rng.uniform(0.85, 1.15)
        self._stain = -strength * np.stack([red * rng.normal(1, 0.06, 3), nucleus], axis=1)
        self._light = _light(spec, empty * rng.normal(1, 0.015, 3), rng)
        self._look = Look(
            pallor=rng.uniform(0.3, 0.6),
            rim=rng.uniform(0.1, 0.35),
            halo=rng.uniform(0.0, 0.06),
            blur_um=float(np.hypot(OPTICS_BLUR_UM, spec.defocus_um)),
        )
        noise = rng.normal(0, 1, (spec.height + NOISE_TILE, spec.width + NOISE_TILE, 3)).astype(np.float32)
        spread = cv2.GaussianBlur(noise, (0, 0), 0.6)  # as a colour sensor's demosaicing does
        self._noise = np.asarray(spread * (spec.noise / spread.std()), np.float32)
        self._sprites: dict[tuple[str, int], Floats] = {}

    def truth(self, index: int) -> list[VirtualCell]:
        """Return every cell that shows in a field, wholly or cut by its edge."""
        if isinstance(self._layout, Specimen):
            return self._layout.truth(self.spec.views[index])
        placed = enumerate(self._layout.field(index))
        return [cell.described(self.spec.um_per_px, (index, number)) for number, cell in placed]

    def render(self, index: int) -> Pixels:
        """Return a field's pixels, uint8 (H, W, 3) RGB; the array is the caller's."""
        spec = self.spec
        red, nuclei = self._planes(index)
        # Faster than cv2.transform, which does the same to two channels at once.
        densities = [cv2.addWeighted(red, of_red, nuclei, of_nuclei, 0) for of_red, of_nuclei in self._stain]
        light = self._light * np.float32(spec.views[index].light) if spec.views else self._light
        field = cv2.multiply(cv2.exp(cv2.merge(densities)), light)  # the law of Beer and Lambert
        if spec.dirt:
            field = cv2.multiply(field, cv2.merge([np.exp(-self.dirt(index))] * 3))
        if spec.artefacts_per_field:
            field = cv2.multiply(field, np.exp(-self._littered(index)[0]))
        if spec.motion_um:
            field = cv2.blur(field, (max(1, round(spec.motion_um / spec.um_per_px)), 1))
        down, right = np.random.default_rng((spec.seed, 3, index)).integers(0, NOISE_TILE, 2)
        noise = self._noise[down : down + spec.height, right : right + spec.width]
        return np.asarray(cv2.add(field, noise, dtype=cv2.CV_8U), np.uint8)  # rounds, and saturates at 0 and 255

    def dirt(self, index: int) -> Floats:
        """Return the optical density of the dirt in a field's picture, float32 (H, W)."""
        spec = self.spec
        there = [one for one in spec.dirt if index >= one.first_field]
        planes = [one.drawn(spec.height, spec.width, spec.um_per_px) for one in there]
        return np.asarray(np.sum(planes, axis=0) if planes else np.zeros((spec.height, spec.width)), np.float32)

    def artefacts(self, index: int) -> list[VirtualArtefact]:
        """Return every artefact that shows in a field, wholly or cut by its edge."""
        return self._littered(index)[1]

    def _littered(self, index: int) -> tuple[Floats, list[VirtualArtefact]]:
        """Return the optical density of a field's artefacts, float32 (H, W, 3), and where they lie."""
        spec, rng = self.spec, np.random.default_rng((self.spec.seed, 4, index))
        plane = np.zeros((spec.height, spec.width, 3), np.float32)
        return plane, lie_on(plane, int(rng.poisson(spec.artefacts_per_field)), spec.um_per_px, rng)

    def _planes(self, index: int) -> Floats:
        """Return the optical densities of red cells and of nuclei, float32 (2, H, W)."""
        spec = self.spec
        if isinstance(self._layout, Specimen):
            grown, into_view = self._layout.grown(spec.views[index])
            planes = self._drawn(*grown.shape, grown.cells)
            size = spec.width, spec.height
            return np.stack([cv2.warpAffine(plane, into_view, size) for plane in planes]).astype(np.float32, copy=False)
        return self._drawn(spec.height, spec.width, self._layout.field(index))

    def _drawn(self, height: int, width: int, cells: list[Placed]) -> Floats:
        planes = np.zeros((2, height, width), np.float32)
        for placed in cells:
            nucleated = placed.kind.shape in ("white_cell", "platelet")
            _add(planes[int(nucleated)], self._sprite(placed.kind), placed.row, placed.column)
        return planes

    def _sprite(self, kind: Kind) -> Floats:
        """Optical density of a cell of the bank, drawn when first needed."""
        key = kind.shape, kind.number
        if key not in self._sprites:
            rng = random_of(self.spec, *key)
            upright = SHAPES[kind.shape][1](rng)
            self._sprites[key] = density(kind.shape, upright, self._look, self.spec.um_per_px, rng)
        return np.rot90(self._sprites[key], kind.quarter_turns)


def _light(spec: SlideSpec, colour: NDArray[np.float64], rng: Generator) -> Floats:
    """Return an empty field, float32 (H, W, 3): darker to the corners and to one side, black outside an eyepiece."""
    x, y = np.meshgrid(np.linspace(-1, 1, spec.width), np.linspace(-1, 1, spec.height))
    towards = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.01, 0.06) * (x * np.cos(towards) + y * np.sin(towards))
    light = (1 - rng.uniform(0.03, 0.12) * (x**2 + y**2)) * (1 + slope) * spec.exposure
    if spec.eyepiece:
        aspect = np.array([spec.width, spec.height]) / 2 * spec.um_per_px
        outside_um = np.hypot(x * aspect[0], y * aspect[1]) - spec.eyepiece_radius_um
        light = light * np.clip(0.5 - outside_um / 1.5, 0.03, 1)
    return np.asarray(light[..., None] * colour, np.float32)


def _add(plane: Floats, sprite: Floats, row: int, column: int) -> None:
    """Add a sprite to a plane with its middle at that row and column, as far as it lies inside."""
    half = len(sprite) // 2
    top, left = row - half, column - half
    rows = slice(max(top, 0), min(top + len(sprite), plane.shape[0]))
    columns = slice(max(left, 0), min(left + len(sprite), plane.shape[1]))
    plane[rows, columns] += sprite[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
