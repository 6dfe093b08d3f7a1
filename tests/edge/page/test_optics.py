"""A person measures the optics at the page: led, told what is wrong, and nothing is used before somebody says so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import cache
from html import unescape
from pathlib import Path

import httpx
import pytest

from edge.config.model import Config, MqttConfig, OpticsConfig
from edge.types import Pixels
from edge.vision.optics_calibration import read_calibration
from tests.calibration.optics_parts import BARE, fields, micrometer
from tests.edge.page.page_parts import IDLE, DrawnCamera, Site, press, sign_in, site

SMALL = {"width": 320, "height": 240}
SIZE, LIGHT = "/device/optics/pixel-size", "/device/optics/flat-field"


@cache
def ruler() -> tuple[Pixels, ...]:
    return tuple(micrometer(0.25, 30, seed=seed, width=320, height=240) for seed in range(3))


@cache
def empty() -> tuple[Pixels, ...]:
    return tuple(fields(7, light=0.3, **SMALL, **BARE))


@cache
def smear() -> tuple[Pixels, ...]:
    return tuple(fields(3, um_per_px=0.25, width=480, height=360))


def figures(page: str) -> list[float]:
    """Return what the page tells in big letters."""
    big = page.split('<p class="big">')[1].split("</p>")[0]
    return [float(found) for found in re.findall(r"<b>([\d.]+)\s?%?</b>", big)]


Test = Callable[[Site, DrawnCamera, httpx.AsyncClient], Awaitable[None]]


def run(folder: Path, test: Test, *pictures: Pixels, config: Config | None = None) -> None:
    camera = DrawnCamera(*pictures)
    with site(folder, ("Ida", "integrator"), ("Ian", "integrator"), live=camera, config=config) as here:

        async def signed_in() -> None:
            async with here.client() as client:
                await sign_in(client, "Ida")
                await test(here, camera, client)

        asyncio.run(signed_in())


async def told(client: httpx.AsyncClient, path: str, **given: str) -> tuple[int, str]:
    answer = await press(client, path, **given)
    return answer.status_code, unescape(answer.text)


def test_a_pixels_size_is_measured_compared_with_cells_and_written(tmp_path: Path) -> None:
    async def test(here: Site, camera: DrawnCamera, client: httpx.AsyncClient) -> None:
        assert "nothing was measured" in (await told(client, f"{SIZE}/use"))[1]
        assert (await told(client, f"{SIZE}/measure", division_um="10", objective="100x"))[0] == 303
        page = (await client.get(SIZE)).text
        assert figures(page) == pytest.approx([0.25], rel=0.002)
        assert "Not compared with red cells yet" in page
        assert (await client.get(f"{SIZE}/measured.jpg")).content[:2] == b"\xff\xd8"
        camera.pictures = smear()
        assert (await told(client, f"{SIZE}/cells"))[0] == 303
        assert "Red cells agree" in (await client.get(SIZE)).text
        assert not (tmp_path / "optics.json").exists(), "nobody said that it is to be used"
        code, page = await told(client, f"{SIZE}/use")
        assert code == 200
        assert f'calibration = "{tmp_path / "optics.json"}"' in page
        assert "sudo systemctl restart sicklescope" in page
        size = read_calibration(tmp_path / "optics.json").pixel_size
        assert size is not None
        assert size.um_per_px == pytest.approx(0.25, rel=0.002)
        entry = here.logins.users.audit(1)[0]
        assert (entry.who, entry.action) == ("Ida", "wrote the pixel-size of the optics")

    run(tmp_path, test, *ruler())


def test_a_size_that_cells_contradict_is_not_written(tmp_path: Path) -> None:
    """The lines are 10 µm apart; the person typed 20."""

    async def test(_: Site, camera: DrawnCamera, client: httpx.AsyncClient) -> None:
        await told(client, f"{SIZE}/measure", division_um="20,0", objective="100x")
        camera.pictures = smear()
        await told(client, f"{SIZE}/cells")
        assert "Red cells disagree" in (await client.get(SIZE)).text
        code, page = await told(client, f"{SIZE}/use")
        assert code == 409
        assert "every field would be refused" in page
        assert not (tmp_path / "optics.json").exists()

    run(tmp_path, test, *ruler())


def test_even_light_is_measured_picture_by_picture_and_written(tmp_path: Path) -> None:
    async def test(_: Site, camera: DrawnCamera, client: httpx.AsyncClient) -> None:
        assert "6 pictures are needed" in (await told(client, f"{LIGHT}/measure"))[1]
        for number in range(1, 8):
            assert (await told(client, f"{LIGHT}/take", objective="100x"))[0] == 303
            assert f"<b>{number}</b>" in (await client.get(LIGHT)).text
        await told(client, f"{LIGHT}/undo")
        assert (await told(client, f"{LIGHT}/measure"))[0] == 303
        page = (await client.get(LIGHT)).text
        before, after = figures(page)
        assert before > 8
        assert after < 1
        assert (await told(client, f"{LIGHT}/use"))[0] == 200
        assert read_calibration(tmp_path / "optics.json").flat_field is not None

    run(tmp_path, test, *empty())


def test_what_is_wrong_is_a_sentence_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.page.wizard.PATIENCE_S", 0.05)

    async def test(_: Site, camera: DrawnCamera, client: httpx.AsyncClient) -> None:
        async def refused(words: str, path: str, **given: str) -> None:
            code, page = await told(client, path, **{"division_um": "10", "objective": "100x", **given})
            assert code == 409, page
            assert words in page

        await refused("Bring 4 or more lines", f"{SIZE}/measure")
        for wrong in ("0", "nan", "1e9", "inf", "ten", "9" * 5000):
            await refused("the distance of the lines is not one", f"{SIZE}/measure", division_um=wrong)
        for wrong in ("", "x" * 65, "a\x00b"):
            await refused("the objective needs a name", f"{LIGHT}/take", objective=wrong)
        camera.pictures = tuple(fields(1, exposure=1.2, **SMALL, **BARE))
        await refused("is saturated", f"{LIGHT}/take")
        camera.pictures = tuple(fields(8, **SMALL))
        for _number in range(6):
            await told(client, f"{LIGHT}/take", objective="100x")
        await refused("something lies on", f"{LIGHT}/measure")
        camera.pictures = tuple(fields(1, width=400, height=240, **BARE))
        await refused("have another size than before", f"{LIGHT}/take")
        camera.hangs = True
        await refused("the camera gave no new picture", f"{LIGHT}/take")
        monkeypatch.setitem(IDLE, "camera_problem", "/dev/video0 is gone")
        await refused("the camera is lost: /dev/video0 is gone. Check its cable", f"{LIGHT}/take")
        monkeypatch.setitem(IDLE, "state", "scanning")
        monkeypatch.setitem(IDLE, "sample", "K-7")
        await refused("sample K-7 is being scanned. Stop it first", f"{LIGHT}/take")
        monkeypatch.undo()
        camera.hangs = False
        (tmp_path / "optics.json").write_text("{}")
        camera.pictures = empty()
        await refused("cannot be used", f"{LIGHT}/take")

    run(tmp_path, test, fields(1, **SMALL)[0])


def test_a_second_person_is_told_who_measures(tmp_path: Path) -> None:
    async def test(here: Site, _: DrawnCamera, client: httpx.AsyncClient) -> None:
        await told(client, f"{LIGHT}/take", objective="100x")
        async with here.client() as other:
            await sign_in(other, "Ian")
            code, page = await told(other, f"{LIGHT}/take", objective="100x")
            assert code == 409
            assert "Ida is measuring the optics" in page
            await told(other, f"{LIGHT}/drop")
            assert (await told(other, f"{LIGHT}/take", objective="100x"))[0] == 303

    run(tmp_path, test, *empty())


def test_the_configured_file_is_written_or_it_is_said_why_not(tmp_path: Path) -> None:
    optics = OpticsConfig(calibration=tmp_path / "a" / "100x.json", objective="100x", um_per_px=0.3)
    config = Config(mqtt=MqttConfig(enabled=False), optics=optics)

    async def test(_: Site, __: DrawnCamera, client: httpx.AsyncClient) -> None:
        page = unescape((await client.get("/device/optics")).text)
        assert "optics.um_per_px is 0.3 in the configuration and stands above a measured size" in page
        assert "100x.json cannot be read" in page
        assert 'name="objective"' not in (await client.get(SIZE)).text, "the configuration names it"
        await told(client, f"{SIZE}/measure", division_um="10")
        (tmp_path / "a").write_text("no folder")
        code, page = await told(client, f"{SIZE}/use")
        assert code == 409
        assert f"{tmp_path / 'a'} cannot be written" in page
        (tmp_path / "a").unlink()
        (tmp_path / "a").mkdir()
        code, page = await told(client, f"{SIZE}/use")
        assert code == 200, "what was measured is not lost"
        assert "The configuration does not name it yet" not in page

    run(tmp_path, test, *ruler(), config=config)
