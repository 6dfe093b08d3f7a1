"""Which cells of a set a fold learns from, which stop and calibrate it, and which judge it: by group, always."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold

from edge.errors import InputError
from training.bench.datasets.cell_images import COPIES, Cells

FOLDS = 5
"""Folds of a set that gives none."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one fold; no group lies in two of them."""

    fold: int
    train: np.ndarray
    check: np.ndarray
    test: np.ndarray


def divided(cells: Cells, validation: float, seed: int, only: tuple[int, ...] | None = None) -> list[Part]:
    """Return the folds that a set gives, else up to FOLDS stratified ones; `only` of them.

    validation: share of the groups of the rest that stop and calibrate. Raises InputError where `only` names a fold
    that is not there, or where a fold leaves fewer than two classes to learn.
    """
    number = _given_or_made(cells, seed)
    every = sorted(set(number.tolist()))
    if only is not None and not set(only) <= set(every):
        raise InputError(f"{cells.source.name} has the folds {', '.join(map(str, every))}, not all of "
                         f"{', '.join(map(str, only))}")  # fmt: skip
    parts = []
    for fold in every if only is None else only:
        rest, test = np.nonzero(number != fold)[0], np.nonzero(number == fold)[0]
        if len(set(cells.y[rest].tolist())) < 2:
            raise InputError(f"without fold {fold}, {cells.source.name} holds one class: nothing can be learnt")
        check = rest[_first_of(cells.y[rest], cells.groups[rest], round(1 / validation), seed)]
        parts.append(Part(fold, np.setdiff1d(rest, check), check, test))
    return parts


def _given_or_made(cells: Cells, seed: int) -> np.ndarray:
    given = np.array([s.fold for s in cells.source.samples])
    if (given >= 0).all() and len(set(given.tolist())) > 1:
        return given
    splits = min(FOLDS, len(set(cells.groups.tolist())))
    number = np.full(len(cells.y), -1)
    division = StratifiedGroupKFold(splits, shuffle=True, random_state=seed)
    for i, (_, test) in enumerate(division.split(cells.y, cells.y, cells.groups)):
        number[test] = i
    return number


def _first_of(y: np.ndarray, groups: np.ndarray, splits: int, seed: int) -> np.ndarray:
    splits = min(splits, len(set(groups.tolist())))
    if splits < 2:
        raise InputError(f"what a fold learns from is of one group ({groups[0]}): nothing is left to stop it with. "
                         "Name the slide or donor of each cell")  # fmt: skip
    return np.asarray(next(StratifiedGroupKFold(splits, shuffle=True, random_state=seed).split(y, y, groups))[1])


def leaky(cells: Cells, validation: float, seed: int, only: tuple[int, ...] | None = None) -> list[Part]:
    """Return random folds over COPIES turned copies of each cell, rows cell × COPIES + copy.

    This is the published way of `sickle_rbc_xu2017`: nearly every cell that judges was learnt from, turned. It is here
    to show what that is worth, and for nothing else.
    """
    parts, rows = [], np.arange(len(cells.y) * COPIES)
    for fold, (rest, test) in enumerate(KFold(FOLDS, shuffle=True, random_state=seed).split(rows)):
        if only is None or fold in only:
            check = np.sort(np.random.default_rng(seed).choice(rest, round(len(rest) * validation), replace=False))
            parts.append(Part(fold, np.setdiff1d(rest, check), check, test))
    return parts
