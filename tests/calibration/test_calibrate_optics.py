"""`sicklescope-calibrate pixel-size`, `flat-field` and `white-balance`: errors measured against a known truth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from calibration.cli import app
from edge.camera.image_files import read_image
from edge.errors import InputError
from edge.optics.illumination import find_flat_field, find_white_balance
from edge.optics.micrometer import find_lines
from edge.types import Pixels
from edge.vision.flat_field import apply_gain, flat_gain
from edge.vision.optics_calibration import Calibration, FlatField, read_calibration
from tests.calibration.optics_parts import BARE, fields, micrometer, unevenness, write

SMALL: dict[str, Any] = {"width": 320, "height": 240}


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder with a configuration that names camera and objective."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sicklescope.toml").write_text(
        '[device]\nstate_dir = "state"\n[camera]\ndevice = "/dev/video7"\n'
        '[optics]\nobjective = "100x"\ncalibration = "optics.json"\n'
    )


def calibrate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def made(result: Result, path: str = "optics.json") -> Calibration:
    assert result.exit_code == 0, result.output
    return read_calibration(Path(path))


def refused(result: Result, words: str, code: int = 3) -> None:
    assert isinstance(result.exception, SystemExit), result.exception
    assert words in result.stderr
    assert result.stderr.startswith("sicklescope-calibrate: ")
    assert result.exit_code == code
    assert not list(Path().glob("*.png"))


# Micrometer: a twentieth of a percent where 1 % is asked; any turn, dark and bright lines, few lines and a hundred.


@pytest.mark.parametrize(
    ("um_per_px", "angle_deg", "bright"),
    [
        (0.07, 17, False),
        (0.11, 133.3, True),
        (0.25, 44.6, False),
        (0.25, 90, True),
        (0.6, 0.7, False),
        (1.3, 179, True),
    ],
)
def test_a_rulers_lines_give_the_size_of_a_pixel_whichever_way_they_run(
    um_per_px: float, angle_deg: float, bright: bool
) -> None:
    lines = find_lines(micrometer(um_per_px, angle_deg, bright_lines=bright, seed=int(angle_deg)))
    error = 10 / lines.spacing_px / um_per_px - 1
    assert abs(error) < 0.001
    assert abs(error) < 5 * lines.uncertainty_px / lines.spacing_px + 1e-4
    off = abs(lines.angle_deg - angle_deg % 180)
    assert min(off, 180 - off) < 0.5


@pytest.mark.parametrize("name", ["plain", "noise", "slope", "smear", "cells in rows"])
def test_what_is_no_ruler_gives_no_size(name: str) -> None:
    rng = np.random.default_rng(4)
    if name == "smear":
        picture = fields(1)[0]
    elif name == "noise":
        picture = rng.normal(200, 6, (240, 320, 3)).astype(np.uint8)
    elif name == "slope":
        picture = np.broadcast_to(np.linspace(120, 230, 320)[None, :, None], (240, 320, 3)).astype(np.uint8)
    elif name == "cells in rows":
        picture = np.full((240, 320, 3), 220, np.uint8)
        for x, y in rng.uniform(0, 320, (60, 2)):
            cv2.circle(picture, (int(x), int(y)), 14, (180, 120, 150), -1)
    else:
        picture = np.full((240, 320, 3), 200, np.uint8)
    with pytest.raises(InputError, match=r"no structure|nothing repeats|not evenly spaced|lines were found"):
        find_lines(picture)


@pytest.mark.parametrize("dataset", ["uganda_scd", "chula_rbc12", "txl_pbc"])
def test_no_real_smear_is_taken_for_a_ruler(real_fields: Callable[[str, int], list[Path]], dataset: str) -> None:
    for path in real_fields(dataset, 5):
        with pytest.raises(InputError):
            find_lines(read_image(path, 64))


def test_real_fields_of_one_microscope_give_its_light(real_fields: Callable[[str, int], list[Path]]) -> None:
    given = [read_image(path, 64) for path in real_fields("chula_rbc12", 14)]
    gain = np.array(find_flat_field(given).gain)
    assert 0.8 < gain.min() < 1 < gain.max() < 1.25


def test_pixel_size_writes_the_calibration_and_shows_the_lines(tmp_path: Path) -> None:
    write(tmp_path / "ruler", [micrometer(0.2, 30.0), micrometer(0.2, 31.0, seed=1)])
    result = calibrate("pixel-size", "ruler", "--division-um", 10)
    size = made(result).pixel_size
    assert size is not None
    assert size.um_per_px == pytest.approx(0.2, rel=0.01)
    assert 0 < size.uncertainty_um < 0.002
    assert (size.method, size.frames) == ("micrometer", 2)
    assert made(result).camera.device == "/dev/video7"
    shown = read_image(Path("optics-pixel-size.png"), 10)
    assert shown.shape[1] == 1280
    orange = (shown[..., 0].astype(int) - shown[..., 2]) > 100  # lines drawn, on the right only
    assert orange[:, 640:].mean() > 0.01
    assert orange[:, :640].sum() == 0
    assert "optics-pixel-size.png before you trust it" in result.stdout


def test_red_cells_give_the_size_with_the_uncertainty_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "cells", fields(3, um_per_px=0.2, width=480, height=360))
    size = made(calibrate("pixel-size", "cells", "--red-cells", "--show", "shown.png")).pixel_size
    assert size is not None
    assert size.um_per_px == pytest.approx(0.2, rel=0.15)
    assert size.uncertainty_um / size.um_per_px >= 0.1
    assert abs(size.um_per_px - 0.2) < 2 * size.uncertainty_um
    assert size.method == "red_cells"
    assert Path("shown.png").is_file()


def test_too_few_cells_give_no_size(tmp_path: Path) -> None:
    write(tmp_path / "bare", fields(3, **SMALL, **BARE))
    refused(calibrate("pixel-size", "bare", "--red-cells"), "0 of 3 pictures show at least 15 whole red cells")


# Flat field: the light's unevenness falls from some percent to about a tenth of a percent.


@pytest.mark.parametrize("cells", [False, True], ids=["empty fields", "moved fields"])
@pytest.mark.parametrize("light", [0.0, 0.3])
def test_the_light_is_even_after_the_flat_field(cells: bool, light: float) -> None:
    given = fields(14, light=light, **SMALL) if cells else fields(6, light=light, **SMALL, **BARE)
    empty = fields(1, first=50, light=light, **SMALL, **BARE)[0]
    flat = find_flat_field(given)
    after = apply_gain(empty, flat_gain(flat, 320, 240))
    assert unevenness(empty) > 0.02
    assert unevenness(after) < 0.003
    colour = after.reshape(-1, 3).mean(axis=0) / after.mean()
    assert colour == pytest.approx(empty.reshape(-1, 3).mean(axis=0) / empty.mean(), rel=0.01)
    assert len(flat.model_dump_json()) < 30_000


def test_the_eyepieces_disc_is_even_and_its_outside_stays_dark() -> None:
    given = fields(14, eyepiece=True, light=0.3, **SMALL)
    empty = fields(1, first=50, eyepiece=True, light=0.3, **SMALL, **BARE)[0]
    after = apply_gain(empty, flat_gain(find_flat_field(given), 320, 240))
    y, x = np.mgrid[:240, :320]
    inner = np.hypot(x - 159.5, y - 119.5) < 95
    spread = [cv2.GaussianBlur(one, (0, 0), 4)[inner].mean(axis=1) for one in (empty, after)]
    assert spread[0].std() / spread[0].mean() > 0.02
    assert spread[1].std() / spread[1].mean() < 0.012
    assert after[:10, :10].mean() < 40


def saturated() -> list[Pixels]:
    return fields(6, exposure=1.2, **SMALL, **BARE)


def dark() -> list[Pixels]:
    return fields(6, exposure=0.25, **SMALL, **BARE)


def vignetted() -> list[Pixels]:
    x = np.linspace(1, 0.05, 320)[None, :, None]
    return [(picture * x).astype(np.uint8) for picture in fields(6, **SMALL, **BARE)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: fields(4, **SMALL, **BARE), "4 pictures were given; a flat field needs at least 5"),
        (lambda: fields(8, **SMALL), "8 pictures were given, and something lies on"),
        (lambda: fields(1, **SMALL) * 14, "something stays in place"),
        (lambda: fields(14, cells_per_mm2=14000, pair_share=0.9, **SMALL), "something stays in place"),
        (saturated, "is saturated"),
        (dark, "is too dark"),
        (vignetted, "the light falls to"),
    ],
    ids=["few", "few with cells", "not moved", "crowded", "saturated", "dark", "vignetted"],
)
def test_a_flat_field_refuses_what_it_cannot_be_found_from(given: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_flat_field(given())  # type: ignore[operator]


# White balance: the glass is grey to one grey level.


def coloured(picture: Pixels) -> Pixels:
    shaded: Pixels = np.round(picture * np.array([0.95, 0.8, 0.6])).astype(np.uint8)
    return shaded


@pytest.mark.parametrize("cells", [False, True], ids=["empty field", "glass between the cells"])
def test_the_glass_is_grey_after_the_white_balance(cells: bool) -> None:
    given = [coloured(one) for one in fields(3, **SMALL, **({} if cells else BARE))]
    empty = coloured(fields(1, first=50, **SMALL, **BARE)[0])
    white = find_white_balance(given, None)
    after = apply_gain(empty, np.broadcast_to(np.array(white.gain, np.float32), empty.shape).copy())
    red, green, blue = after.reshape(-1, 3).mean(axis=0)
    assert max(red, green, blue) - min(red, green, blue) < 2.5
    assert min(white.gain) == 1.0


def test_white_balance_refuses_what_has_no_colour_of_glass() -> None:
    one = fields(1, **SMALL, **BARE)[0]
    crowded = np.full((240, 320, 3), 130, np.uint8)
    crowded[100:120, 100:180] = 220  # 2 % glass
    with pytest.raises(InputError, match="Switch the camera's automatic white balance off"):
        find_white_balance([one, coloured(one)], None)
    with pytest.raises(InputError, match="the light is so coloured"):
        find_white_balance([np.round(one * np.array([1, 0.9, 0.3])).astype(np.uint8)], None)
    with pytest.raises(InputError, match="shows no even glass"):
        find_white_balance([crowded], None)
    with pytest.raises(InputError, match="is too dark"):
        find_white_balance(dark(), None)


# The file and the command.


def test_the_commands_fill_one_file_and_none_undoes_another(tmp_path: Path) -> None:
    write(tmp_path / "empty", fields(5, light=0.3, **SMALL, **BARE))
    write(tmp_path / "ruler", [micrometer(0.25, 10, width=320, height=240)])
    lit = calibrate("flat-field", "empty")
    made(lit)
    assert re.search(r"The light differs by [\d.]+% over the field; corrected, by 0\.\d%", lit.stdout)
    made(calibrate("white-balance", "empty"))
    whole = made(calibrate("pixel-size", "ruler", "--division-um", 10))
    assert set(whole.parts) == {"pixel size", "flat field", "white balance"}
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"optics-{name}.png" for name in ("flat-field", "white-balance", "pixel-size")
    }
    assert Path("optics.json").stat().st_size < 60_000
    again = made(calibrate("white-balance", "empty"))
    assert again.pixel_size == whole.pixel_size
    # Each picture's right half is its left corrected: the light of the exaggerated row is what shows it.
    shown = read_image(Path("optics-flat-field.png"), 10)
    before, after = np.split(shown[shown.shape[0] // 2 + 28 :], 2, axis=1)
    assert after.astype(float).std() < 0.5 * before.astype(float).std()


def test_another_objective_or_size_needs_another_file(tmp_path: Path) -> None:
    write(tmp_path / "empty", fields(5, **SMALL, **BARE))
    write(tmp_path / "large", fields(5, width=400, height=240, **BARE))
    made(calibrate("flat-field", "empty"))
    before = Path("optics.json").read_bytes()
    for arguments in (["empty", "--objective", "40x"], ["large"]):
        result = calibrate("white-balance", *arguments)
        assert result.exit_code == 3
        assert "Give another --output" in result.stderr
    assert Path("optics.json").read_bytes() == before
    assert (
        made(calibrate("white-balance", "empty", "--objective", "40x", "-o", "40.json"), "40.json").objective == "40x"
    )


def test_frames_come_from_the_camera_when_no_picture_is_given(tmp_path: Path) -> None:
    text = '[camera]\nkind = "virtual"\nwidth = 320\nheight = 240\nseed = 5\n[optics]\nobjective = "100x"\n'
    (tmp_path / "sicklescope.toml").write_text(text)
    flat = made(calibrate("flat-field", "--frames", 14, "-o", "o.json"), "o.json")
    assert flat.flat_field is not None
    assert flat.flat_field.frames == 14
    assert (flat.camera.kind, flat.camera.device) == ("virtual", "slide 5")


def test_bad_input_is_refused_with_the_reason_and_nothing_is_written(tmp_path: Path) -> None:
    write(tmp_path / "mixed", [*fields(3, **SMALL, **BARE), *fields(3, width=300, height=240, **BARE)])
    write(tmp_path / "empty", fields(5, **SMALL, **BARE))
    (tmp_path / "words.tif").write_text("no picture")
    (tmp_path / "nothing").mkdir()
    refused(calibrate("flat-field", "mixed"), "field3.png is 300x240; ")
    refused(calibrate("flat-field", "words.tif"), "words.tif cannot be read")
    refused(calibrate("flat-field", "nothing"), "nothing has no image or video")
    refused(calibrate("flat-field", "absent"), "absent not found")
    refused(calibrate("flat-field"), "/dev/video7 not found", 4)
    refused(calibrate("pixel-size", "empty"), "give either --division-um")
    refused(calibrate("pixel-size", "empty", "--division-um", 10, "--red-cells"), "give either --division-um")
    refused(calibrate("pixel-size", "empty", "--division-um", 10), "there is no structure")
    refused(calibrate("flat-field", "empty", "--show", "shown.jpg"), "ends in .png")
    assert not (tmp_path / "optics.json").exists()
    refused(calibrate("flat-field", "empty", "-o", "/proc/nowhere/o.json"), "cannot be written", 7)
    (tmp_path / "optics.json").write_text("{}")
    refused(calibrate("flat-field", "empty"), "optics.json cannot be used", 2)
    assert (tmp_path / "optics.json").read_text() == "{}"
    (tmp_path / "sicklescope.toml").write_text("")
    refused(calibrate("flat-field", "empty"), "where does the calibration go", 2)
    refused(calibrate("flat-field", "empty", "-o", "o.json"), "which objective is it", 2)


def test_a_grid_is_checked_when_it_is_read(tmp_path: Path) -> None:
    flat = find_flat_field(fields(5, **SMALL, **BARE))
    ragged = json.loads(flat.model_dump_json())
    ragged["gain"][0].pop()
    with pytest.raises(ValueError, match="rows of different lengths"):
        FlatField.model_validate(ragged)
