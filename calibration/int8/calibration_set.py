"""Which pictures a network is calibrated on: spread over slides, stain and focus, and never one it is judged by."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.int8.prepared_fields import PictureStatistics, picture_statistics
from edge.camera.image_files import IMAGE_SUFFIXES
from edge.camera.input_files import find_inputs
from edge.errors import InputError
from edge.system.digest import sha256_file
from edge.system.progress_bars import ReportProgress


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pictures to choose from, in the order in which they should be taken.

    left_out: how many were not, by reason.
    """

    looks: tuple[PictureStatistics, ...]
    left_out: dict[str, int]


def evaluation_list(path: Path) -> frozenset[str]:
    """Read a list of digests, one sha256 a line, anything behind it ignored; raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"evaluation list {path} cannot be read: {error}") from error
    found = [line.split()[0].lower() for line in lines if line.strip() and not line.startswith("#")]
    if wrong := [word for word in found if not re.fullmatch(r"[0-9a-f]{64}", word)]:
        raise InputError(f"evaluation list {path} has {wrong[0]!r}; expected a sha256 at the start of each line")
    return frozenset(found)


def candidates(
    folders: Sequence[Path], by_folder: bool, evaluated: frozenset[str], progress: ReportProgress
) -> Candidates:
    """PictureStatistics at all pictures below some folders and put them in order.

    Raises InputError where there is none of use.

    by_folder: pictures of a folder are one slide, as a device keeps them; else those whose names differ only in their
    last number are.
    """
    paths = [path for path in find_inputs(folders) if path.suffix.lower() in IMAGE_SUFFIXES]
    left_out: Counter[str] = Counter()
    looks: dict[str, PictureStatistics] = {}
    for i, path in enumerate(paths):
        progress("pictures looked at", i + 1, len(paths))
        if (sha256 := sha256_file(path)) in evaluated:
            left_out["on_the_evaluation_list"] += 1
        elif sha256 in looks:
            left_out["the_same_picture_again"] += 1
        elif isinstance(found := picture_statistics(path, _slide(path, by_folder)), str):
            left_out[found] += 1
        else:
            looks[sha256] = found
    if not looks:
        why = ", ".join(f"{n} {reason}" for reason, n in left_out.items()) or "no image file"
        given = ", ".join(map(str, folders))
        raise InputError(f"{given} has no picture to calibrate on ({why}). Give a folder of fields of blood smears")
    return Candidates(tuple(spread(list(looks.values()))), dict(left_out))


def _slide(path: Path, by_folder: bool) -> str:
    below = path.parent.as_posix()
    stem = re.sub(r"[\W_]*\d+$", "", path.stem)
    return below if by_folder else f"{below}/{stem or path.stem}"


def spread(looks: Sequence[PictureStatistics]) -> list[PictureStatistics]:
    """Order looks so that any first part of them is spread out.

    In rounds, each slide gives the picture whose colour and focus lie farthest from all taken so far (Gonzalez 1985).
    """
    if not looks:
        return []
    features = np.array([[*look.colour, look.focus] for look in looks], float)
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    away = np.linalg.norm(features, axis=1)  # the first is the least usual of its slide
    waiting: dict[str, list[int]] = {}
    for i, look in enumerate(looks):
        waiting.setdefault(look.slide, []).append(i)
    order: list[PictureStatistics] = []
    while waiting:
        for slide in list(waiting):
            taken = max(waiting[slide], key=lambda i: away[i])
            first = not order
            distance = np.linalg.norm(features - features[taken], axis=1)
            away = distance if first else np.minimum(away, distance)
            order.append(looks[taken])
            waiting[slide].remove(taken)
            if not waiting[slide]:
                del waiting[slide]
    return order


def manifest(chosen: Sequence[PictureStatistics], use: dict[str, str], cells: dict[str, int], found: Candidates) -> str:
    """Return JSON of what was chosen.

    use: by digest, `ranges` or `agreement`; cells: taken from each, by digest.
    """
    rows = [
        {
            "picture": str(look.path),
            "sha256": look.sha256,
            "slide": look.slide,
            "colour": [round(c, 1) for c in look.colour],
            "focus": round(look.focus, 3),
            "use": use[look.sha256],
            "cells": cells.get(look.sha256, 0),
        }
        for look in chosen
    ]
    return json.dumps({"candidates": len(found.looks), "left_out": found.left_out, "pictures": rows}, indent=1) + "\n"
