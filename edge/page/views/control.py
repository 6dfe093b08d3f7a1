"""Control slides: the chart of each, its readings, and what results say of them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from edge.api.device import Device
from edge.api.http import needs
from edge.errors import EdgeError
from edge.page.render import html, language_of
from edge.runtime.registry import digests
from edge.sample.controls import ControlReading, ControlSlide
from edge.screening.levey_jennings import Point, levey_jennings
from edge.screening.verdict import FLAGS
from edge.screening.westgard import RULES


@dataclass(frozen=True, slots=True)
class ShownSlide:
    """A control slide with its readings, the newest first.

    chart: None before the first reading.
    """

    slide: ControlSlide
    readings: list[ControlReading]
    chart: Markup | None


class ControlPages:
    """The page of control slides."""

    def __init__(self, device: Device) -> None:
        self._device = device
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/control")(self.show)

    def show(self, request: Request) -> Response:
        """Show every control slide in use."""
        config, controls = self._device.config, self._device.lifecycle.controls
        spoken = language_of(request)
        shown = []
        for slide in controls.slides():
            readings = controls.readings(slide)
            points = [
                Point(
                    spoken.time(one.read_ms),
                    f"{one.sickle} / {one.red_cells} = {spoken.percent(one.sickle / one.red_cells)}",
                    one.s,
                    one.rules,
                )
                for one in readings
            ]
            title, expected = f"{slide.name}", spoken.percent(slide.expected.fraction)
            # The chart escapes what it is given.
            chart = Markup(levey_jennings(title, expected, points)) if points else None  # noqa: S704
            shown.append(ShownSlide(slide, readings[::-1], chart))
        try:
            standing = controls.standing(config.control, digests(config.models, config.device.state_dir))
        except EdgeError as error:
            standing = {"": str(error)}
        return html(
            request,
            "control.html",
            slides=shown,
            standing=standing,
            enforce=config.control.enforce,
            rules=RULES,
            flags=FLAGS,
        )
