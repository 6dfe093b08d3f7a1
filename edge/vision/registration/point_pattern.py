"""The cells of one field as a pattern of places: light, stain and dirt do not count.

Places are complex numbers, x + iy in µm, about the middle of a field. A `Similarity` carries places to another field's:
w = turn · z + shift, where the argument of turn is the rotation and its modulus the zoom.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np

from edge.types import CANONICAL_UM_PER_PX, Cells, Field, Floats, Mask
from edge.vision.registration.distortion import Places

GRID_UM = 2.0
"""Side of a pixel of the coarse map on which fields are first laid over each other."""


NEARLY_WHOLE = 0.9
"""A round eyepiece shows less of its picture, dirt hides less."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """The similarity w = turn · z + shift, or, where it is mirrored, w = turn · z* + shift."""

    turn: complex
    shift: complex
    mirrored: bool = False

    def __call__(self, z: Any) -> Any:
        """Carry places over."""
        return self.turn * self.facing(z) + self.shift

    def facing(self, z: Any) -> Any:
        """Return places as they are, or their mirror image, before they are turned."""
        return np.conj(z) if self.mirrored else z

    def inverse(self) -> Similarity:
        """Return the way back."""
        turn, shift = 1 / self.turn, -self.shift / self.turn
        return Similarity(complex(self.facing(turn)), complex(self.facing(shift)), self.mirrored)

    def after(self, first: Similarity) -> Similarity:
        """Return `first`, then this."""
        turn = self.turn * complex(self.facing(first.turn))
        return Similarity(turn, complex(self(first.shift)), self.mirrored != first.mirrored)


@dataclass(frozen=True, eq=False)
class PointPattern:
    """The cells of one field.

    low, high: corners of their boxes, µm; half: the field's far corner; seen: coarse mask of
    what an eyepiece leaves to be seen; whole: that is all.
    Equality is identity: two views of one place are two views.
    """

    low: Places
    high: Places
    half: complex
    seen: Mask
    whole: bool = True

    @classmethod
    def of(cls, field: Field, cells: Cells) -> PointPattern:
        """Take the boxes of a field's cells."""
        h, w = field.pixels.shape[:2]
        half = complex(w, h) / 2 * CANONICAL_UM_PER_PX
        corners = cells.boxes * CANONICAL_UM_PER_PX - np.array([half.real, half.imag] * 2, np.float32)
        low, high = np.ascontiguousarray(corners).view(np.complex64).T  # half the memory of complex128, for thousands
        shape = max(1, round(2 * half.imag / GRID_UM)), max(1, round(2 * half.real / GRID_UM))
        if field.visible is None:
            seen = _all_seen(shape)
        else:
            thin = cv2.resize(field.visible.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
            seen = thin.view(np.bool_)
        return cls(low.copy(), high.copy(), half, seen, field.visible is None)

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def nearly_whole(self) -> bool:
        """Whether no more than dirt is hidden of the field."""
        return self.whole or float(self.seen.mean()) >= NEARLY_WHOLE

    @cached_property
    def middle(self) -> Places:
        """Centres of the cells."""
        return (self.low + self.high) / 2

    @cached_property
    def reach(self) -> Floats:
        """Half of each box's sides, (N, 2)."""
        return np.asarray(xy(self.high - self.low) / 2, np.float32)

    def reach_turned(self, turn: complex) -> Floats:
        """Return half of each box's sides after a turn, (N, 2) in µm.

        As of an ellipse that fills the box.
        """
        turned: Floats = np.hypot(self.reach * np.float32(turn.real), self.reach[:, ::-1] * np.float32(turn.imag))
        return turned

    def turned(self, factor: complex) -> PointPattern:
        """Return the same cells with their places turned and zoomed, as if within the same field."""
        middle, reach = self.middle * factor, (self.high - self.low) / 2 * abs(factor)
        return PointPattern(middle - reach, middle + reach, self.half, self.seen, self.whole)

    def with_more(self, middle: Places, reach: Floats) -> PointPattern:
        """Return the field with further cells, of these centres (N,) and half sides (N, 2)."""
        half_box = np.ascontiguousarray(reach).view(np.complex64)[:, 0]
        low, high = np.concatenate([self.low, middle - half_box]), np.concatenate([self.high, middle + half_box])
        return PointPattern(low, high, self.half, self.seen, self.whole)

    def shows(self, z: Places) -> Mask:
        """Return bool (N,): whether places lie in the field and are seen."""
        inside = (np.abs(z.real) < self.half.real) & (np.abs(z.imag) < self.half.imag)
        if not self.whole:
            h, w = self.seen.shape
            at = np.nonzero(inside)[0]
            row, column = (
                (part / GRID_UM).astype(int) for part in ((z[at] + self.half).imag, (z[at] + self.half).real)
            )
            inside[at] = self.seen[np.minimum(row, h - 1), np.minimum(column, w - 1)]
        return np.asarray(inside, np.bool_)

    def points(self) -> Places:
        """Return places spread evenly over what is seen, one for about each 10 µm square."""
        return _spread_whole(self.seen.shape, self.half) if self.whole else _spread(self.seen, self.half)

    def occupancy(self) -> Floats:
        """Return the coarse map, float32.

        What lies under cells, with its mean taken away and one as its deviation.
        """
        painted = np.zeros(self.seen.shape, np.uint8)
        scale = 16 / GRID_UM  # cv2 draws to a sixteenth of a pixel
        centre = np.rint(xy(self.middle + self.half) * scale - 8).astype(int).tolist()
        for at, reach in zip(centre, np.rint(self.reach * scale).astype(int).tolist(), strict=True):
            cv2.ellipse(painted, at, reach, 0, 0, 360, 255, -1, cv2.LINE_8, 4)
        drawn = cv2.GaussianBlur(painted, (0, 0), 0.7).astype(np.float32)
        inside = drawn[self.seen]
        if not inside.size or inside.std() == 0:
            return np.zeros_like(drawn)
        return np.asarray((drawn - inside.mean()) / inside.std() * self.seen, np.float32)


@lru_cache(8)
def _all_seen(shape: tuple[int, int]) -> Mask:
    """Return the mask of a field of which all is seen, the same one each time, so that it takes memory once."""
    seen = np.ones(shape, np.bool_)
    seen.setflags(write=False)
    return seen


def _spread(seen: Mask, half: complex) -> Places:
    step = max(1, round(10 / GRID_UM))
    row, column = np.nonzero(seen[step // 2 :: step, step // 2 :: step])
    at = ((column + 1j * row) * step + (step // 2 + 0.5) * (1 + 1j)) * GRID_UM
    return np.asarray(at - half, np.complex128)


@lru_cache(8)
def _spread_whole(shape: tuple[int, int], half: complex) -> Places:
    places = _spread(_all_seen(shape), half)
    places.setflags(write=False)
    return places


def xy(z: Places) -> Floats:
    """Return the coordinates (N, 2) of places."""
    return np.ascontiguousarray(z).view(z.real.dtype).reshape(-1, 2)
