"""What the person at the microscope should do now, in a word and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from edge.language.languages import N_
from edge.sample.sample_row import State
from edge.types import FieldReading, Reason

NEW_SHARE_MIN = 0.15
"""Where less of a field is new the slide has to be moved on."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """What to do.

    tone: `calm` while all is well, `act` where the person has to do something, `fault`.
    """

    tone: Literal["calm", "act", "fault"]
    title: str
    hint: str
    detail: str = ""


READY = Guidance("calm", N_("Ready"), N_("Put the slide under the microscope, then type or scan the sample's code."))
COUNTING = Guidance("calm", N_("Counting"), N_("Move the slide slowly to a part that was not read yet."))
MOVE = Guidance("act", N_("Move the slide"), N_("This part was counted already. Each cell counts once."))
DIRTY = Guidance(
    "calm",
    N_("Counting; dirty optics"),
    N_("Dirt that stays in the picture is left out of the count. Clean the optics after this sample."),
)
REACHED = Guidance(
    "calm", N_("Target reached"), N_("Enough red cells are counted. Review the sample, or put in the next slide.")
)
STOPPED_EARLY = Guidance(
    "act",
    N_("Stopped early"),
    N_("Fewer red cells were counted than is the aim. On its page the sample can be scanned further."),
)
WAITING = Guidance("calm", N_("Starting"), N_("The first picture is on its way."))

Picture = Literal["", "waiting", "sample", "lost", "none", "fault"]
"""What is wrong with the live picture: nothing, or why it is not one of now."""

PICTURE_WORDS: Mapping[Picture, str] = {
    "waiting": N_("No picture yet: the device waits for the camera's first one."),
    "sample": N_("No picture yet: this camera shows one when a sample is begun."),
    "lost": N_("Not live: the last picture before the camera was lost."),
    "none": N_("No picture: the camera is lost."),
    "fault": N_("No picture: the device is out of order."),
}
"""What stands over a picture that is not one of now."""

_REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.UNREADABLE: (
        N_("Picture lost"),
        N_("The camera gave a picture that cannot be read. If it goes on, check the cable."),
    ),
    Reason.TOO_SMALL: (
        N_("Picture too small"),
        N_("The picture has too few pixels. Check the size that is set for the camera."),
    ),
    Reason.TOO_LARGE: (
        N_("Picture too large"),
        N_("The picture has too many pixels. Check the size that is set for the camera."),
    ),
    Reason.UNDER_EXPOSED: (N_("More light"), N_("The picture is too dark. Turn the lamp up or open the condenser.")),
    Reason.OVER_EXPOSED: (N_("Less light"), N_("The picture is too bright. Turn the lamp down.")),
    Reason.OUT_OF_FOCUS: (N_("Focus"), N_("Turn the fine focus until the edges of the cells are sharp.")),
    Reason.MOTION: (N_("Hold still"), N_("The slide moved while the picture was taken. Stop for a moment.")),
    Reason.SCALE_UNKNOWN: (
        N_("Find red cells"),
        N_("The size of the cells cannot be measured here. Move to single red cells."),
    ),
    Reason.EMPTY: (N_("No cells here"), N_("Move the slide to where the smear is.")),
    Reason.CROWDED: (N_("Too thick here"), N_("Cells lie too close. Move towards the feathered edge of the smear.")),
    Reason.STACKED: (
        N_("Too thick here"),
        N_("Cells lie on each other. Move towards the feathered edge of the smear."),
    ),
    Reason.MAGNIFICATION: (
        N_("Wrong magnification"),
        N_("The cells have not the size that was set. Check the objective."),
    ),
    Reason.UNFAMILIAR: (
        N_("Not recognised"),
        N_("The field looks unlike a stained blood smear. Check stain, objective and dirt on the optics."),
    ),
    Reason.NOT_PLACED: (
        N_("Move more slowly"),
        N_("The place on the slide was lost. Go on slowly, so that pictures overlap."),
    ),
}

SHARPER = N_("It is getting sharper: go on in this direction.")
BLURRIER = N_("It is getting less sharp: turn the other way.")


def guidance(
    state: Mapping[str, Any],
    fault: str,
    reading: FieldReading | None,
    focus_trend: float,
    ended: State | None = None,
    picture: Picture = "",
) -> Guidance:
    """Return what to do.

    Args:
        state: of the device.
        fault: why it cannot read samples at all; empty when it can.
        reading: of the newest field.
        focus_trend: change of the sharpness over the last pictures that were out of focus; 0 where it is not known.
        ended: state of the sample that was scanned until just now.
        picture: what is wrong with the picture.
    """
    if fault:
        return Guidance(
            "fault", N_("Out of order"), N_("The device cannot read samples. It tries again by itself."), fault
        )
    if state["camera_problem"]:
        return Guidance(
            "fault", N_("Camera lost"), N_("Check the camera's cable. It is looked for again and again."),
            state["camera_problem"],
        )  # fmt: skip
    if state["storage_problem"]:
        return Guidance(
            "fault", N_("Cannot be stored"), N_("Counts are held in memory until the disk takes them."),
            state["storage_problem"],
        )  # fmt: skip
    if state["state"] != "scanning":
        if picture == "waiting":
            return WAITING
        return REACHED if ended == "review" else STOPPED_EARLY if ended == "incomplete" else READY
    if reading is None:
        return WAITING
    if reading.rejected is not None:
        return _of_rejection(reading.rejected.reason, focus_trend)
    placed = reading.placement
    if placed is not None and placed.new_share < NEW_SHARE_MIN:
        return MOVE
    return COUNTING if reading.masked is None else replace(DIRTY, detail=reading.masked.in_words)


def _of_rejection(reason: Reason, focus_trend: float) -> Guidance:
    title, hint = _REASONS[reason]
    if reason is Reason.OUT_OF_FOCUS and focus_trend:
        hint = SHARPER if focus_trend > 0 else BLURRIER
    return Guidance("act", title, hint)
