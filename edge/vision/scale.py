"""Micrometres per pixel: estimated from the red cells, whose usual diameter is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edge.runtime.base import Network
from edge.types import CANONICAL_UM_PER_PX, Floats, Mask, Pixels, Scale
from edge.vision.detect import at_edge, decoded, edges_met, padded

RED_CELL_UM = 7.5
"""Modal diameter of a red cell on a dried smear."""

RED_CELL_PX = RED_CELL_UM / CANONICAL_UM_PER_PX

CANDIDATES = tuple(0.036 * 1.25**i for i in range(14))
"""Scales that are tried, in µm/px, 0.036 to 0.65: near enough to each other for the detector to see cells at one."""

COARSE = CANDIDATES[::2]
"""Candidates that are tried first; of the others only the neighbours of the best. Of 2,233 searches of real fields 2
ended elsewhere than with all candidates, both where the best was wrong.
"""

LOOK_PX = 320
"""Side of the middle part, in canonical pixels, that is looked at for each candidate: some 60 cells."""

WHITE_SCORE, WHITE_PX = 0.6, (30, 100)
"""A white cell is one from this score, 7.5 to 25 µm wide at the candidate that shows it."""

WHITE_PX_MAX = 130
"""A candidate at which such a white cell is 32 µm wide, and holds most of what are called red cells there, takes its
granules for red cells. True white cells were up to 30 µm wide, on 7 of 3,000 fields; those with granules 70 and more.
"""

SIZES_AGREE, SIZES_TO_AGREE = 1.15, 10
"""By how many times the modal size of the cells may differ from that of the area under them, and from how many cells
on. Where they differ by more, many of them are small specks beside true cells, and the area counts.
"""

USUAL_UM_PER_PX, USUAL_SPREAD = 0.2, 1.2
"""Where most microscope cameras lie, and how far off, as a natural logarithm, one may be at little cost."""

CONTRAST_MIN = 3.0
"""A picture with a smaller standard deviation of grey shows glass and the camera's noise, which, enlarged, looks like
cells; the faintest of 400 real fields has 4.9.
"""

SURE = 0.45
"""Score from which a red cell has a say: what the detector barely takes for a cell may be grain."""

SCORE_POWER = 3
"""Cells at their right scale have a score of some 0.85, grain that is taken for cells some 0.6: so they are set apart.
"""

DOUBTFUL, DOUBTFUL_SHARE = 0.63, 0.75
"""Red cells whose mean score by area is less may be streaks and specks: then, of the candidates that are nearly as
plausible as the best, the one with the highest score counts. Of 237 fields at their right scale none had less.
"""

MODE_WIDTH = 0.1
"""Standard deviation of the kernel, as a natural logarithm: about that of red cells' diameters."""

SPREAD_LIKELY = 0.25
"""How far, as a natural logarithm, the cells' size at a candidate scale may lie from a red cell's."""

CELLS_TO_ESTIMATE = 2
"""Fewer whole red cells than this say nothing about the scale."""

CUT_CELLS_MIN = 4
"""The same where cells that the picture's edge cuts must do."""

CELLS_TO_LOCK = 30
"""An estimate from this many red cells holds for the rest of the sample."""

CELLS_TO_CONFIRM, CONFIRM_WITHIN = 8, 1.12
"""Red cells in the middle of a picture, and by how many times they may be off, that confirm a set scale.

Of 30 pictures each of `uganda_scd` and `chula_rbc12` all confirm their own scale, of `txl_pbc`, which shows few red
cells, a fifth; none confirms one that is 1.45 to 2.5 times off.
"""

CONFIRM_AGAINST = (1.25**2, 1.25**-2, 1.25**-4)
"""How many times larger the scales are that must not be more plausible than a confirmed one."""

LOCK_SURE = 1
"""Further fields that must show cells of that size: until then a field that shows others unlocks the scale."""

OFF_MAX = 1.4
"""Times by which the scale that the cells show may differ from the one that is set. Through one lens the cells of
anaemic people gave 0.82 to 1.30 of their median (466 fields); objectives differ by 1.5 times and more.
"""

SAMPLE_OFF_MAX = 1.25
"""The same between the fields of one sample and the scale that its own cells gave: they are of one person."""


def canonical_shape(pixels: Pixels, um_per_px: float) -> tuple[int, int]:
    """Return the height and width that a picture of so many µm a pixel has at 0.25 µm/px."""
    ratio = um_per_px / CANONICAL_UM_PER_PX
    h, w = pixels.shape[:2]
    return max(1, round(h * ratio)), max(1, round(w * ratio))


def to_canonical(pixels: Pixels, um_per_px: float) -> Pixels:
    """Resize to 0.25 µm/px: uint8 (h, w, 3)."""
    h, w = canonical_shape(pixels, um_per_px)
    how = cv2.INTER_AREA if um_per_px < CANONICAL_UM_PER_PX else cv2.INTER_LINEAR
    return cv2.resize(pixels, (w, h), interpolation=how).astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the detector shows in the middle of a picture at a candidate scale.

    plausibility: the part of the picture that is red cells. score: their mean score by area. red, weight: middles
    (N, 2) of the red cells, in pixels of the picture from its middle, and how much each says; white: boxes (M, 4) of
    white cells, likewise.
    """

    plausibility: float
    score: float
    red: Floats
    weight: Floats
    white: Floats


class ScaleEstimator:
    """Tries a ladder of scales, keeps the best and refines it.

    Best is the scale at which most of the picture is red cells, and which no white cell contradicts.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._threshold = max(SURE, network.contract.thresholds["score"])

    def __call__(self, pixels: Pixels, cells_min: int, cut_too: bool = False) -> tuple[Scale | None, int]:
        """Estimate the scale of uint8 (H, W, 3); returns None where too few red cells are seen, and their number.

        cut_too: where too few are whole, CUT_CELLS_MIN will do that at most one edge cuts.
        """
        contrast = contrast_of(pixels)
        if contrast < CONTRAST_MIN:
            return None, 0
        scale, cells = self._estimated(pixels, cells_min, contrast, whole=True)
        if not cut_too or cells >= cells_min:
            return scale, cells
        # A picture no wider than a few cells may show none that is whole.
        scale, some = self._estimated(pixels, CUT_CELLS_MIN, contrast, whole=False)
        return (None, cells) if scale is None else (scale, some)

    def confirmed(self, pixels: Pixels, um_per_px: float) -> tuple[float, int] | None:
        """Return the scale of the red cells and their number, where a few looks confirm one.

        None where they do not, which says nothing: the picture may have few cells, or another scale.

        Args:
            pixels: uint8 (H, W, 3).
            um_per_px: the scale that is set.
        """
        contrast = contrast_of(pixels)
        found = self._found(pixels, um_per_px, whole=True, side=LOOK_PX)
        if contrast < CONTRAST_MIN or len(found.sizes) < CELLS_TO_CONFIRM:
            return None
        off = RED_CELL_PX / typical_size(found.sizes, found.score)
        if not 1 / CONFIRM_WITHIN <= off <= CONFIRM_WITHIN:
            return None
        # Much enlarged, specks and granules have the size of red cells: then the true cells fill more of the picture.
        here = self._look(pixels, um_per_px, contrast, whole=True).plausibility
        others = (self._look(pixels, um_per_px * times, contrast, whole=True).plausibility for times in CONFIRM_AGAINST)
        return (um_per_px * off, len(found.sizes)) if all(here >= other for other in others) else None

    def _estimated(self, pixels: Pixels, cells_min: int, contrast: float, whole: bool) -> tuple[Scale | None, int]:
        best = self._best(pixels, contrast, whole)
        for _ in range(2):
            found = self._found(pixels, best, whole)
            if len(found.sizes) < max(1, cells_min):
                return None, len(found.sizes)
            best *= RED_CELL_PX / typical_size(found.sizes, found.score)
        if not CANDIDATES[0] / 1.25 <= best <= CANDIDATES[-1] * 1.25:
            return None, len(found.sizes)
        low, high = np.percentile(found.sizes, [25, 75])
        return Scale(best, "estimated", float((high - low) / np.median(found.sizes))), len(found.sizes)

    def _best(self, pixels: Pixels, contrast: float, whole: bool) -> float:
        """Return the most plausible candidate that no white cell contradicts; the smallest where all are."""
        looks = {um: self._look(pixels, um, contrast, whole) for um in COARSE}
        first = CANDIDATES.index(max(looks, key=lambda um: looks[um].plausibility))
        for um in CANDIDATES[max(0, first - 1) : first + 2]:
            if um not in looks:
                looks[um] = self._look(pixels, um, contrast, whole)
        likely = sorted(looks, key=lambda um: -looks[um].plausibility)
        likely = [um for um in likely if not _contradicted(um, looks)]
        if likely and looks[likely[0]].score < DOUBTFUL:
            least = looks[likely[0]].plausibility * DOUBTFUL_SHARE
            return max((um for um in likely if looks[um].plausibility >= least), key=lambda um: looks[um].score)
        return likely[0] if likely else CANDIDATES[0]

    def _look(self, pixels: Pixels, um_per_px: float, contrast: float, whole: bool) -> _Look:
        """Measure how much of the picture is red cells of the right size and of the picture's own contrast.

        Much enlarged grain can look like cells, but its contrast is a fraction of what cells and glass have.
        """
        found = self._found(pixels, um_per_px, whole, LOOK_PX)
        boxes, size = found.boxes, found.sizes
        zoom = CANONICAL_UM_PER_PX / um_per_px
        h, w = found.pixels.shape[:2]
        middle = np.array([w, h, w, h], np.float32) / 2
        white = (found.white - middle) * np.float32(zoom)
        if not len(boxes):
            return _Look(0.0, 0.0, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), white)
        grey = cv2.GaussianBlur(cv2.cvtColor(found.pixels, cv2.COLOR_RGB2GRAY), (0, 0), 2)
        off = np.log(size / RED_CELL_PX) / SPREAD_LIKELY
        inner = [grey[y0 : y1 + 1, x0 : x1 + 1].std() for x0, y0, x1, y1 in boxes.astype(int)]
        weight = found.score**SCORE_POWER * np.exp(-0.5 * off**2) * np.minimum(1, np.array(inner) / contrast)
        usual = np.exp(-0.5 * (math.log(um_per_px / USUAL_UM_PER_PX) / USUAL_SPREAD) ** 2)
        area = (weight * size**2).astype(np.float32)
        red = (boxes[:, :2] + boxes[:, 2:] - middle[:2] * 2) / 2 * np.float32(zoom)
        score = float(np.average(found.score, weights=size**2))
        return _Look(float(area.sum() / (h * w) * usual), score, red, area, white)

    def _found(self, pixels: Pixels, um_per_px: float, whole: bool, side: int = 3 * LOOK_PX) -> _Found:
        """Find the cells in the middle of a picture at a scale.

        whole: red cells that are not cut; else those too that one edge cuts, by the side along that edge.
        """
        part = round(side * CANONICAL_UM_PER_PX / um_per_px)
        h, w = pixels.shape[:2]
        y, x = max(0, (h - part) // 2), max(0, (w - part) // 2)
        field = to_canonical(pixels[y : y + part, x : x + part], um_per_px)
        shape = field.shape[0], field.shape[1]
        maps = self._network(padded(field)[None])
        boxes, score, kind = decoded(maps["peaks"][0], maps["sides"][0], shape, self._threshold)
        wide = sizes_of(boxes)
        white = (kind == 1) & (score >= WHITE_SCORE) & (wide >= WHITE_PX[0]) & (wide <= WHITE_PX[1])
        white_boxes, red = boxes[white], kind == 0
        boxes, score = boxes[red], score[red]
        if whole:
            kept, sizes = ~at_edge(boxes, shape), sizes_of(boxes)
        else:
            kept, sizes = sizes_along_edge(boxes, shape)
        return _Found(boxes[kept], sizes[kept], score[kept], white_boxes, field)


@dataclass(frozen=True, slots=True)
class _Found:
    """Boxes (N, 4), sizes and scores (N,) of red cells, boxes (M, 4) of white cells, and the pixels that show them."""

    boxes: Floats
    sizes: Floats
    score: Floats
    white: Floats
    pixels: Pixels


def _contradicted(um_per_px: float, looks: dict[float, _Look]) -> bool:
    """Whether most red cells of a candidate lie in what is one white cell at another candidate."""
    look = looks[um_per_px]
    limit_px = WHITE_PX_MAX * CANONICAL_UM_PER_PX / um_per_px
    for white in np.concatenate([other.white for other in looks.values()]):
        if math.sqrt(float(np.prod(white[2:] - white[:2]))) > limit_px:
            inside = ((look.red >= white[:2]) & (look.red <= white[2:])).all(1)
            if look.weight[inside].sum() > look.weight.sum() / 2:
                return True
    return False


def sizes_of(boxes: Floats) -> Floats:
    """Return the diameters (N,) of discs as large as boxes (N, 4)."""
    return np.asarray(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)), np.float32)


def sizes_along_edge(boxes: Floats, shape: tuple[int, int]) -> tuple[Mask, Floats]:
    """Return which boxes (N, 4) no corner cuts, and their diameters (N,).

    Of a picture (h, w); by the sides that are not cut.
    """
    cut = edges_met(boxes, shape)
    sides = boxes[:, 2:] - boxes[:, :2]
    along = np.where(cut[:, 0], sides[:, 1], sides[:, 0])
    sizes = np.where(cut.any(1), along, sizes_of(boxes))
    return np.asarray(~cut.all(1), np.bool_), np.asarray(sizes, np.float32)


def contrast_of(pixels: Pixels) -> float:
    """Return the standard deviation of grey in the middle of a picture.

    At a size that keeps cells and loses grain.
    """
    h, w = pixels.shape[:2]
    middle = pixels[h // 5 : h - h // 5, w // 5 : w - w // 5]
    small = cv2.resize(middle, (160, 160), interpolation=cv2.INTER_AREA)
    return max(1.0, float(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).std()))


def mode_of(sizes: Floats, weight: Floats | None = None) -> float:
    """Return the modal size.

    Where a Gaussian kernel density of the sizes' logarithms is highest (Parzen 1962).

    Steadier than a mode by intervals where a field has only some 15 cells.

    weight: (N,) how much each size counts; None: all the same.
    """
    order = np.argsort(sizes, kind="stable")  # of two modes alike, the sizes' order would decide
    logs = np.log(sizes[order].astype(np.float64))
    where = np.linspace(logs.min(), logs.max(), 200)
    density = np.exp(-0.5 * ((where[:, None] - logs) / MODE_WIDTH) ** 2)
    return float(np.exp(where[(density.sum(axis=1) if weight is None else density @ weight[order]).argmax()]))


def typical_size(sizes: Floats, score: Floats) -> float:
    """Return the size of most cells; where specks outnumber them, of those with most area.

    Args:
        sizes: (N,) diameters.
        score: (N,) of the detector.
    """
    mode = mode_of(sizes)
    if len(sizes) < SIZES_TO_AGREE:
        return mode
    by_area = mode_of(sizes, score**SCORE_POWER * sizes**2)
    return mode if 1 / SIZES_AGREE <= by_area / mode <= SIZES_AGREE else by_area
