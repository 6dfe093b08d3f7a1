"""What a person is refused at the page is said in their language, in each that there is."""

from __future__ import annotations

import asyncio
import re
import time
from html import unescape
from pathlib import Path

import httpx
import numpy as np
import pytest

from edge.config.model import ControlConfig
from edge.errors import SampleError
from edge.language.languages import codes, language
from edge.report.sentences import SENTENCES
from edge.system.clock import EARLIEST_MS, LATEST_MS
from edge.types import Pixels
from tests.calibration.optics_parts import BARE, fields
from tests.edge.page.page_parts import IDLE, DrawnCamera, Site, csrf_in, sign_in, site
from tests.edge.sample.review_parts import counted, ended

SIZE, LIGHT = "/device/optics/pixel-size", "/device/optics/flat-field"

OTHERS = [code for code in codes() if code != "en"]


def flat(light: int) -> Pixels:
    return np.full((240, 320, 3), light, np.uint8)


class Refused:
    """Asks for what is refused; every sentence must be in the language of the reader."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self.said = client, set[str]()

    async def by(self, path: str, asked: str = "POST", **fields: str) -> str:
        given = {"csrf": csrf_in((await self.client.get("/device")).text), **fields}
        answer = await (self.client.post(path, data=given) if asked == "POST" else self.client.get(path))
        assert answer.status_code >= 400, (path, fields)
        found = re.search(r'<p class="error" role="alert"( lang="en")?>(.*?)</p>', answer.text, re.DOTALL)
        assert found, answer.text
        assert found[1] is None, f"in English only: {found[2]}"
        self.said.add(found[2])
        return unescape(found[2])


@pytest.mark.parametrize("code", OTHERS)
def test_the_wizards_and_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr("edge.page.browser_clock.clock_synchronised", lambda: False)

    async def test(here: Site, camera: DrawnCamera, refused: Refused) -> None:
        await refused.by(f"{SIZE}/use")
        await refused.by(f"{SIZE}/cells")
        await refused.by(f"{SIZE}/measure", division_um="0", objective="100x")
        await refused.by(f"{SIZE}/measure", division_um="10", objective="")
        camera.pictures = (flat(180),)
        await refused.by(f"{SIZE}/measure", division_um="10", objective="100x")
        camera.pictures = tuple(fields(2, light=0.3, width=320, height=240, **BARE))
        await refused.by(f"{SIZE}/measure", division_um="10", objective="100x")
        for light in (20, 255):
            camera.pictures = (flat(light),)
            await refused.by(f"{LIGHT}/take", objective="100x")
        await refused.by(f"{LIGHT}/measure")
        async with here.client(**{"Accept-Language": code}) as another:
            await sign_in(another, "Ian")
            await Refused(another).by(f"{LIGHT}/measure")
        with monkeypatch.context() as patched:
            patched.setitem(IDLE, "state", "scanning")
            await refused.by(f"{LIGHT}/take", objective="100x")
            await refused.by("/device/clock", browser_ms=str(EARLIEST_MS + 1))
        with monkeypatch.context() as patched:
            patched.setitem(IDLE, "camera_problem", "it is gone")
            await refused.by(f"{LIGHT}/take", objective="100x")
        camera.hangs = True
        with monkeypatch.context() as patched:
            patched.setattr("edge.page.wizard.PATIENCE_S", 0.01)
            await refused.by(f"{LIGHT}/take", objective="100x")
        await refused.by("/device/clock", browser_ms="")
        await refused.by("/device/clock", browser_ms=str(LATEST_MS + 1))

        def forbidden(*_: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        with monkeypatch.context() as patched:
            patched.setattr(time, "clock_settime_ns", forbidden)
            await refused.by("/device/clock", browser_ms=str(EARLIEST_MS + 1))
        with monkeypatch.context() as patched:
            patched.setattr("edge.page.browser_clock.clock_synchronised", lambda: True)
            await refused.by("/device/clock", browser_ms=str(EARLIEST_MS + 1))
        await refused.by("/device/rollback", role="detector")
        await refused.by("/device/rollback", role="bundle", seen="of another page")
        assert len(refused.said) >= 15

    _run(tmp_path, test, code, DrawnCamera(flat(180)))


@pytest.mark.parametrize("code", OTHERS)
def test_what_somebody_else_was_quicker_with(tmp_path: Path, code: str) -> None:
    async def test(here: Site, _: DrawnCamera, refused: Refused) -> None:
        await refused.by("/scan/stop")
        sample = ended(here.device.lifecycle, "K-1")
        await refused.by(f"/scan/discard/{sample.id}", reason="")
        assert "K-1" in await refused.by(f"/scan/discard/{sample.id}", reason="dropped", seen="0.0.0")
        await refused.by("/scan/stop", seen=sample.id)
        here.device.lifecycle.start(counted("K-2", 620, 20, 5), "{}", "Ada")
        assert "K-2" in await refused.by("/scan/start", sample="K-3")
        await refused.by("/scan/stop", seen=sample.id)
        await refused.by("/scan/stop", seen="of another device")
        await refused.by("/scan/stop", csrf="of another login")
        await refused.by("/nowhere")
        for cell in ("cells/9999.jpg", "fields/9999"):
            await refused.by(f"/samples/{sample.id}/{cell}", asked="GET")
        await refused.by(f"/samples/{sample.id}/review", cell="1", **{"class": "normal"})

    _run(tmp_path, test, code, DrawnCamera())


@pytest.mark.parametrize("code", OTHERS)
def test_a_code_of_a_control_slide_that_is_not_there(tmp_path: Path, code: str) -> None:
    with site(tmp_path) as here:
        controls = here.device.lifecycle.controls
        with pytest.raises(SampleError) as refused:
            controls.flags("control-A-1", ControlConfig(), ("", ""))
    said = language(code).recognised(str(refused.value), SENTENCES)
    assert "control-A-1" in said
    assert said != str(refused.value)


@pytest.mark.parametrize("code", OTHERS)
def test_who_may_not_is_told_the_role_and_where_roles_are_explained(tmp_path: Path, code: str) -> None:
    async def test(_: Site, __: DrawnCamera, refused: Refused) -> None:
        said = await refused.by("/samples/K-1/sign", password="")
        assert "docs/" not in said
        assert language(code).told("reviewer") in said
        explained = (await refused.client.get("/help")).text
        assert language(code).told("reviewer") in explained

    _run(tmp_path, test, code, DrawnCamera())


def _run(folder: Path, test: object, code: str, camera: DrawnCamera) -> None:
    users = ("Ida", "integrator"), ("Ian", "integrator")
    with site(folder, *users, live=camera) as here:

        async def signed_in() -> None:
            async with here.client(**{"Accept-Language": code}) as client:
                await sign_in(client, "Ida")
                await test(here, camera, Refused(client))  # type: ignore[operator]

        asyncio.run(signed_in())
