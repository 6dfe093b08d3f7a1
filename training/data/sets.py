"""The sets whose fields teach beside `txl_pbc`, and which of them a run leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from training.data.answers import with_answers
from training.data.datasets import UNBOXED, DataError, LabelledField, digest, read_chula, read_uganda, unboxed_answers
from training.data.sickle_free import each_picture_once, read_chula_diseases, read_chula_unlabelled, read_krd

SETS: dict[str, tuple[Callable[[Path], list[LabelledField]], ...]] = {
    "uganda_scd": (read_uganda,),
    "chula_rbc12": (read_chula, read_chula_diseases, read_chula_unlabelled),
    "krd_wbc": (read_krd,),
}
"""What each set is read by: what is of one clinic is left out together."""

CAN_BE_LEFT_OUT = ("chula_rbc12", "krd_wbc")
"""Without `uganda_scd` there is no sickle cell to learn from; `txl_pbc` teaches the base detector."""


def read_set(root: Path, name: str) -> list[LabelledField]:
    """Read all of a set, each picture once; raises DataError."""
    return each_picture_once(field for part in SETS[name] for field in part(root))


def taught_sets(root: Path, left_out: Sequence[str] = ()) -> list[LabelledField]:
    """Read the fields that teach, with the answers by eye.

    Args:
        root: folder of the sets.
        left_out: sets of which nothing is read, neither pictures nor answers.

    Raises:
        DataError: a name is unknown, a set or picture is missing, a picture lies in two groups, or answers are of a
            picture that is gone.
    """
    unknown = sorted(set(left_out) - set(CAN_BE_LEFT_OUT))
    if unknown:
        raise DataError(f"{', '.join(unknown)} cannot be left out; sets that can: {', '.join(CAN_BE_LEFT_OUT)}")
    fields = [f for name, parts in SETS.items() if name not in left_out for part in parts for f in part(root)]
    once = each_picture_once(fields)
    missing = sorted(set(unboxed_answers()) - {digest(field.path)[:16] for field in once})
    if missing:
        raise DataError(
            f"{UNBOXED.name} has answers for {len(missing)} pictures that uganda_scd does not hold, the first "
            f"{missing[0]}. Bring them back, or take their lines out"
        )
    return with_answers(once)
