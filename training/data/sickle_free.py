"""Readers of the sets without sickle cells and without labels of single cells: negatives and background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from training.data.datasets import DataError, LabelledField, digest, labelled_field, table

WHITE_CELLS = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
"""What the middle of a picture of `krd_wbc` shows."""

DISEASES = ("elliptocytosis", "iron_deficiency", "spherocytosis")
"""Of whom the pictures of `chula_rbc12/diseases` are."""


def read_krd(root: Path) -> list[LabelledField]:
    """Read `krd_wbc`; groups are colours."""
    folder = root / "krd_wbc"
    fields = _fields("krd_wbc", folder, folder / "fields.csv", "colour_group", ("wbc", WHITE_CELLS))
    return [replace(field, label="negative") for field in fields]


def read_chula_diseases(root: Path) -> list[LabelledField]:
    """Read `chula_rbc12/diseases`, each picture labelled with the disease."""
    folder = root / "chula_rbc12"
    return _fields("chula_diseases", folder, folder / "diseases.csv", "series_group", ("disease", DISEASES))


def read_chula_unlabelled(root: Path) -> list[LabelledField]:
    """Read `chula_rbc12/unlabelled`: series and fold of each picture's neighbours."""
    folder = root / "chula_rbc12"
    return _fields("chula_unlabelled", folder, folder / "unlabelled.csv", "series_group")


def _fields(
    dataset: str, folder: Path, file: Path, group: str, named: tuple[str, tuple[str, ...]] | None = None
) -> list[LabelledField]:
    """Read the fields that a table names.

    Args:
        dataset: name of the set.
        folder: that the paths of the table begin in.
        file: the table.
        group: its column of what must never be split.
        named: the column that labels a field, with its known names; None labels each `negative`.

    Raises:
        DataError: a name is unknown, a group is missing, or a picture.
    """
    fields = []
    for row in table(file, ("path", group, *((named[0],) if named else ())), ("fold",)):
        label = row[named[0]] if named else "negative"
        if named and label not in named[1]:
            raise DataError(f"{file} calls {row['path']} {label!r}; expected one of {', '.join(named[1])}")
        fields.append(labelled_field(dataset, folder / row["path"], row[group], int(row["fold"]), label))
    if not fields:
        raise DataError(f"{file} names no picture")
    return fields


def each_picture_once(fields: Iterable[LabelledField]) -> list[LabelledField]:
    """Leave out pictures that are the same file as an earlier one of their group.

    Raises:
        DataError: a picture is listed twice or labelled in two ways, or the same picture lies in two groups, or a group
            in two folds, so that a fold would be judged by networks that were taught with it.
    """
    kept: dict[str, LabelledField] = {}
    fold_of: dict[tuple[str, str], LabelledField] = {}
    for field in fields:
        first = kept.setdefault(digest(field.path), field)
        if _slide(first) != _slide(field):
            raise DataError(
                f"{field.path} of group {field.group} is the same picture as {first.path} of group {first.group}. "
                "Give both one group and fold, or leave one out"
            )
        if first is not field and first.path == field.path:
            raise DataError(f"{field.path} is listed twice. Take one of the lines out")
        if first.dataset == field.dataset and first.label != field.label:
            raise DataError(
                f"{field.path} is called {field.label}, and {first.path}, the same picture, {first.label}. Decide"
            )
        of_group = fold_of.setdefault(_slide(field), field)
        if of_group.fold != field.fold:
            raise DataError(
                f"{field.path} and {of_group.path} are of group {field.group} and of folds {field.fold} and "
                f"{of_group.fold}. Give a group one fold"
            )
    return list(kept.values())


def _slide(field: LabelledField) -> tuple[str, str]:
    """Return what names a group over all sets: those of Chula share their series."""
    return ("chula" if field.dataset.startswith("chula") else field.dataset), field.group
