"""The optics: what is in force, and the steps that lead a person to a pixel's size and even light."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from edge.api.device import Device
from edge.api.http import identity_of, needs, require
from edge.api.logins import Logins
from edge.errors import CommandError, EdgeError
from edge.page.render import form_of, html
from edge.page.wizard import LIGHT_PICTURES, MOVED_PICTURES, SIZE_PICTURES, Kind, OpticsWizard, Written
from edge.vision.optics_calibration import misfits, read_calibration, utc_now
from edge.vision.scale import RED_CELL_UM

KINDS: tuple[Kind, ...] = get_args(Kind)

DIVISION_UM = 10.0
"""Of the usual stage micrometer: 1 mm in 100 parts."""

DIVISION_MAX_UM = 1000.0

Action = Literal["measure", "cells", "take", "undo", "use", "drop"]


class OpticsPages:
    """The pages on which an integrator measures the optics."""

    def __init__(self, device: Device, logins: Logins) -> None:
        self._config, self._logins = device.config, logins
        self._wizard = OpticsWizard(device)
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("manage")])
        router.get("/device/optics")(self.show)
        router.get("/device/optics/{kind}")(self.step)
        router.get("/device/optics/{kind}/measured.jpg")(self.picture)
        router.post("/device/optics/{kind}/{action}")(self.act)

    def show(self, request: Request) -> Response:
        """Show what is in force, and what can be measured."""
        return self._shown(request)

    def _shown(self, request: Request, written: Written | None = None) -> Response:
        calibration, problems = None, []
        if self._config.optics.calibration is not None:
            try:
                calibration = read_calibration(self._config.optics.calibration)
                problems = [one.text for one in misfits(calibration, self._config, utc_now())]
            except EdgeError as error:
                problems = [str(error)]
        return html(
            request, "optics.html", optics=self._config.optics, file=self._wizard.path,
            writable=self._wizard.writable, calibration=calibration, problems=problems, written=written,
        )  # fmt: skip

    def step(self, request: Request, kind: Kind) -> Response:
        """Show how far a measurement is."""
        return self._step(request, kind)

    def _step(self, request: Request, kind: Kind, error: str = "", code: int = 200, **typed: Any) -> Response:
        attempt = self._wizard.attempt(kind)
        return html(
            request, f"optics_{kind.replace('-', '_')}.html", code, kind=kind, attempt=attempt, error=error,
            optics=self._config.optics, file=self._wizard.path, writable=self._wizard.writable,
            typed={"division_um": f"{DIVISION_UM:g}", "objective": attempt.objective if attempt else "", **typed},
            needed={"size": SIZE_PICTURES, "light": LIGHT_PICTURES, "moved": MOVED_PICTURES}, usual_um=RED_CELL_UM,
        )  # fmt: skip

    def picture(self, kind: Kind) -> Response:
        """Return before and after of what was measured."""
        attempt = self._wizard.attempt(kind)
        if attempt is None or attempt.measured is None:
            raise HTTPException(404, "nothing was measured yet")
        return Response(attempt.shown, media_type="image/jpeg")

    async def act(self, request: Request, kind: Kind, action: Action) -> Response:
        """Take a step of a measurement."""
        fields = await form_of(request)
        who = require(identity_of(request), "manage").name
        objective = self._config.optics.objective or fields.get("objective", "").strip()
        typed = {"division_um": fields.get("division_um", "")[:16], "objective": objective[:64]}
        if action == "use":
            return await self._used(request, kind, who)
        steps: dict[tuple[Kind, Action], Callable[[], None]] = {
            ("pixel-size", "measure"): lambda: self._measure_size(who, fields, objective),
            ("pixel-size", "cells"): lambda: self._wizard.check_by_cells(who),
            ("pixel-size", "drop"): self._wizard.drop,
            ("flat-field", "take"): lambda: self._wizard.take_light(who, _objective(objective)),
            ("flat-field", "undo"): lambda: self._wizard.undo_light(who),
            ("flat-field", "measure"): lambda: self._wizard.measure_light(who),
            ("flat-field", "drop"): self._wizard.drop,
        }
        step = steps.get((kind, action))
        if step is None:
            raise HTTPException(404, "there is no such step")
        try:
            await run_in_threadpool(step)
        except EdgeError as error:
            return await run_in_threadpool(self._step, request, kind, str(error), 409, **typed)
        return RedirectResponse(f"/device/optics/{kind}", 303)

    def _measure_size(self, who: str, fields: dict[str, str], objective: str) -> None:
        self._wizard.measure_size(who, _division_um(fields.get("division_um", "")), _objective(objective))

    async def _used(self, request: Request, kind: Kind, who: str) -> Response:
        try:
            written = await run_in_threadpool(self._wizard.use, kind, who)
        except EdgeError as error:
            return await run_in_threadpool(self._step, request, kind, str(error), 409)
        await run_in_threadpool(self._logins.users.note, who, f"wrote the {kind} of the optics", str(written.path))
        return await run_in_threadpool(self._shown, request, written)


def _division_um(text: str) -> float:
    """Return the distance of the ruler's lines that a person typed.

    Raises:
        CommandError: It is none.
    """
    try:
        found = float(text.strip().replace(",", "."))
    except ValueError:
        found = math.nan
    if not 0.1 <= found <= DIVISION_MAX_UM:  # false for what is no number
        raise CommandError(f"the distance of the lines is not one of 0.1 to {DIVISION_MAX_UM:.0f} µm. Type it as 10")
    return found


def _objective(text: str) -> str:
    """Return the objective's name that a person typed.

    Raises:
        CommandError: It is none, or cannot be in a file.
    """
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise CommandError("the objective needs a name of 1 to 64 characters, such as 100x")
    return text
