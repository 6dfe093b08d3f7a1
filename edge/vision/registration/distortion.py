"""How a picture is distorted against another, by its lens or because a telephone was held aslant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Places: TypeAlias = NDArray[np.complexfloating[Any, Any]]

REACH_UM = 60.0
"""Half the side of a field: here the terms of a distortion weigh alike."""

PRIOR = 0.5
"""Weight of "not distorted" in a fit, in cells at REACH_UM."""


@dataclass(frozen=True, slots=True)
class Distortion:
    """The places w become w + q(w), q a quadratic in w and its conjugate.

    terms: complex (6,), of 1, u, u*, u², uu*, u*² with u = w / REACH_UM: perspective and a lens's distortion, as far as
    cells near the edge need it to be found.
    """

    terms: Places

    def __call__(self, w: Places) -> Places:
        """Carry places over."""
        return w + _powers(w) @ self.terms

    @classmethod
    def fitted(cls, w: Places, to: Places) -> Distortion:
        """Least squares of the distortion that carries places over, drawn a little to none."""
        powers = _powers(w)
        normal = powers.conj().T @ powers + PRIOR * np.eye(powers.shape[1])
        return cls(np.linalg.solve(normal, powers.conj().T @ (to - w)))


def _powers(w: Places) -> Places:
    u = w / REACH_UM
    return np.stack([np.ones_like(u), u, u.conj(), u * u, u * u.conj(), u.conj() ** 2], 1)
