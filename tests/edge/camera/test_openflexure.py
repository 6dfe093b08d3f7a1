"""The OpenFlexure camera against a server that does as the real ones do, and as networks and broken ones do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera import jpeg_stream
from edge.camera.jpeg_stream import JpegStream
from edge.camera.openflexure import OpenFlexureCamera
from edge.camera.registry import open_camera
from edge.config.model import CameraConfig
from edge.errors import CameraError
from tests.edge.camera.openflexure_parts import PART, Microscope, endless, jpeg

Start = Callable[..., Microscope]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a microscope; it is stopped when the test ends."""
    running: list[Microscope] = []

    def started(*arguments: Any, **more: Any) -> Microscope:
        running.append(Microscope(*arguments, **more).__enter__())
        return running[-1]

    yield started
    for microscope in running:
        microscope.__exit__()


def camera_of(microscope: Microscope, **more: Any) -> OpenFlexureCamera:
    return OpenFlexureCamera(CameraConfig(kind="openflexure", device=microscope.url, **more))


def reds(camera: OpenFlexureCamera, count: int) -> list[int]:
    """Return the numbers of the next pictures, as their red tells them."""
    return [round(float(camera.read().pixels[..., 0].mean()) / 20) for _ in range(count)]


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_both_servers_pictures_are_read_in_order_and_in_rgb(start: Start, version: str, chunked: bool) -> None:
    microscope = start(version, chunked=chunked)
    with camera_of(microscope) as camera:
        assert camera.name == f"OpenFlexure microscope {microscope.url} {version} 128x96"
        assert reds(camera, 5) == [1, 2, 3, 4, 5]  # the first was taken to verify the size


def test_pictures_are_found_however_the_bytes_are_cut_and_whatever_lies_between(start: Start) -> None:
    def stream() -> Iterator[bytes]:
        for piece in endless():
            whole = b"garbage \xff\xd8 \xff\xd9" + piece + b"\r\nX-Odd: \xff\xff\r\n"
            yield from (whole[at : at + 700] for at in range(0, len(whole), 700))

    with camera_of(start(stream=stream)) as camera:
        assert reds(camera, 4) == [1, 2, 3, 4]


def test_a_picture_cut_short_or_that_is_none_is_passed_over(start: Start) -> None:
    def stream() -> Iterator[bytes]:
        yield PART % jpeg(0)
        yield PART % jpeg(1)[:-500]  # its end is missing: the next begins within
        yield PART % b"<html>busy</html>"
        yield PART % (jpeg(2)[:-2000] + b"\xff\xd9")
        yield PART % (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10) + b"\xff\xd9")
        yield from (PART % jpeg(index) for index in range(3, 9))

    with camera_of(start(stream=stream)) as camera:
        assert 5 in reds(camera, 4)


@pytest.mark.parametrize("kept", [0, 30, 2000])
def test_a_connection_that_closes_is_an_error(start: Start, kept: int) -> None:
    def stream() -> Iterator[bytes]:
        yield PART % jpeg(0)
        yield PART % jpeg(1)
        yield (PART % jpeg(2))[:kept] if kept else b"\r\n"

    with camera_of(start(stream=stream)) as camera:
        assert reds(camera, 1) == [1]
        with pytest.raises(CameraError, match=r"ended its stream|stopped giving frames"):
            camera.read()


def test_a_stream_that_stalls_is_an_error_by_the_deadline_and_is_opened_anew(start: Start) -> None:
    stalled: list[bool] = []

    def stream() -> Iterator[bytes]:
        for index in range(1000):
            if index == 4 and not stalled:
                stalled.append(True)
                microscope.over.wait(20)
            yield PART % jpeg(index)

    microscope = start(stream=stream)
    config = CameraConfig(kind="openflexure", device=microscope.url, read_timeout_s=0.7)
    with open_camera(config) as camera:
        for _ in range(3):
            camera.read()
        began = time.monotonic()
        with pytest.raises(CameraError, match=r"did not give a frame within 0\.7 s|timed out"):
            camera.read()
        assert time.monotonic() - began < 5
        frame = camera.read()
    assert frame is not None
    assert frame.index == 3


def test_bytes_that_drip_do_not_stretch_the_deadline(start: Start) -> None:
    def stream() -> Iterator[bytes]:
        yield PART % jpeg(0)
        yield PART % jpeg(1)
        while not microscope.over.wait(0.05):
            yield b"x"

    microscope = start(stream=stream)
    config = CameraConfig(kind="openflexure", device=microscope.url, read_timeout_s=0.7)
    with open_camera(config) as camera:
        camera.read()
        with pytest.raises(CameraError, match=r"did not give a frame within 0\.7 s"):
            camera.read()


def test_a_picture_without_end_does_not_fill_the_memory(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def stream() -> Iterator[bytes]:
        yield PART % jpeg(0)
        yield jpeg(1)[:-2]
        while True:
            yield bytes(100_000)

    monkeypatch.setattr(jpeg_stream, "PICTURE_MAX_BYTES", 1_000_000)
    with camera_of(start(stream=stream)) as camera, pytest.raises(CameraError, match="a picture of more than 1 MB"):
        camera.read()


def test_pictures_that_cannot_be_decoded_are_an_error_when_none_other_come(start: Start) -> None:
    broken = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10) + b"\xff\xd9"
    microscope = start(stream=lambda: (PART % broken for _ in range(10_000)))
    with (
        pytest.raises(CameraError, match="10 pictures in a row of its stream cannot be decoded"),
        camera_of(microscope),
    ):
        pass


def test_a_stream_that_changes_its_size_is_an_error(start: Start) -> None:
    microscope = start(stream=lambda: (PART % jpeg(i, (96, 128) if i < 3 else (48, 64)) for i in range(10)))
    with camera_of(microscope) as camera:
        reds(camera, 2)
        with pytest.raises(CameraError, match="its pictures are now 64x48"):
            camera.read()


def test_a_size_other_than_asked_is_an_error(start: Start) -> None:
    with pytest.raises(CameraError, match="asked 640x480, its stream is 128x96"):
        camera_of(start(), width=640, height=480).__enter__()


def test_a_redirect_is_followed_and_a_circle_is_an_error(start: Start) -> None:
    microscope = start()
    other = start()
    other.answers[other.path] = microscope.url + microscope.path
    with camera_of(other) as camera:
        assert reds(camera, 1) == [1]
    other.answers[other.path] = other.path
    with pytest.raises(CameraError, match=r"answers .* with 302"):
        camera_of(other).__enter__()


@pytest.mark.parametrize(("status", "said"), [(503, "with 503 Service Unavailable"), (500, "with 500")])
def test_a_server_that_is_not_ready_says_so(start: Start, status: int, said: str) -> None:
    microscope = start()
    microscope.answers[microscope.path] = status
    with pytest.raises(CameraError, match=said):
        camera_of(microscope).__enter__()


def test_a_server_of_something_else_is_named_as_such(start: Start) -> None:
    microscope = start()
    microscope.answers[microscope.path] = 404
    with pytest.raises(CameraError, match=r"mjpeg with 404.*mjpeg_stream with 404.*Is it an OpenFlexure microscope"):
        camera_of(microscope).__enter__()


@pytest.mark.parametrize(
    "device", ["0", "/dev/video0", "microscope:5000", "ftp://a/", "http://", "http://user:secret@a:5000", "http://a/?b"]
)
def test_what_is_no_address_is_an_error_that_repeats_no_password(device: str) -> None:
    with pytest.raises(CameraError, match="no address of a microscope; expected http://") as caught:
        OpenFlexureCamera(CameraConfig(kind="openflexure", device=device)).__enter__()
    assert "secret" not in str(caught.value)


def test_a_microscope_that_is_switched_off_is_an_error(start: Start) -> None:
    microscope = start()
    microscope.__exit__()
    with pytest.raises(CameraError, match="cannot be reached"):
        camera_of(microscope).__enter__()


# The stage


@pytest.mark.parametrize(("version", "zoom"), [("v2", 1.0), ("v3", 0.5)])
def test_the_stage_tells_where_a_picture_lies_in_its_own_pixels(start: Start, version: str, zoom: float) -> None:
    """The servers' rule: to bring (row, column) to the middle the stage moves by (row, column) · matrix.

    v3's matrix is of pictures twice as large here, so the same steps are half as many pixels of the stream.
    """
    microscope = start(version)
    matrix = np.array([[0.0, 2.0], [-2.0, 0.0]])
    with camera_of(microscope) as camera:
        before = camera.read().stage_px
        row_column = np.array([30.0, -50.0])
        moved = row_column @ matrix / zoom
        microscope.stage |= {"x": microscope.stage["x"] + moved[0], "y": microscope.stage["y"] + moved[1]}
        time.sleep(0.25)
        after = next(frame.stage_px for frame in iter(camera.read, None) if frame.stage_px)
    assert before is not None
    assert np.subtract(after, before) == pytest.approx([-50.0, 30.0])


def test_the_stage_is_not_asked_for_every_picture(start: Start) -> None:
    microscope = start()
    with camera_of(microscope) as camera:
        places = [camera.read().stage_px for _ in range(10)]
    assert places[0] is not None
    assert None in places
    assert microscope.asked.count("/api/v2/instrument/state/stage/position") < 10


@pytest.mark.parametrize(
    "said",
    [
        404,
        {},
        None,
        [[1, 0], [0, 0]],
        [[1, 0]],
        {"image_to_stage_displacement": "no"},
        [["a", 1], [2, 3]],
        b"\xff{",
        b"[" * 100000,
    ],
)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_without_a_calibration_there_is_no_place_and_no_fault(start: Start, version: str, said: object) -> None:
    microscope = start(version)
    microscope.answers[microscope.mapping] = said if said is not None else b"null"
    with camera_of(microscope) as camera:
        assert [camera.read().stage_px for _ in range(2)] == [None, None]


@pytest.mark.parametrize(
    "said", [503, {}, b"", [1, 2], {"x": "far", "y": 0}, {"x": None, "y": 1}, b'{"x": 1e999, "y": 0}']
)
def test_a_stage_that_does_not_answer_is_no_fault(start: Start, said: object) -> None:
    microscope = start()
    microscope.answers["/api/v2/instrument/state/stage/position"] = said
    with camera_of(microscope) as camera:
        assert camera.read().stage_px is None


# The stream of bytes


def fed(data: bytes, cuts: list[int]) -> tuple[list[bytes], int]:
    stream, found, at = JpegStream(), [], 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        found += stream.feed(data[at:cut])
        at = cut
    return found, stream.damaged


PICTURES = [jpeg(index, (16 * (index + 1), 24), quality) for index, quality in enumerate((1, 5, 50, 95))]
HARMLESS = st.binary(max_size=40).filter(lambda data: b"\xff" not in data)


@given(
    st.lists(st.tuples(HARMLESS, st.sampled_from(PICTURES)), max_size=5), st.lists(st.integers(0, 10**6), max_size=8)
)
def test_every_picture_is_found_whole_wherever_the_stream_is_cut(
    parts: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    data = b"".join(between + picture for between, picture in parts)
    assert fed(data, cuts) == ([picture for _, picture in parts], 0)


ODD = st.sampled_from([b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda\x00\x02", b"\xff", b"--frame\r\n"])
WHOLE_OR_CUT = st.sampled_from([*PICTURES, *(picture[:-9] for picture in PICTURES)])


@given(
    st.lists(st.one_of(st.binary(max_size=60), WHOLE_OR_CUT, ODD), max_size=12),
    st.lists(st.integers(0, 10**6), max_size=6),
)
def test_any_bytes_give_pictures_or_none_and_the_cuts_do_not_matter(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    found, damaged = fed(data, cuts)
    assert (found, damaged) == fed(data, [])
    for picture in found:
        assert picture.startswith(b"\xff\xd8\xff")
        assert picture.endswith(b"\xff\xd9")
        assert picture in data
    assert sum(map(len, found)) <= len(data)


def test_the_end_of_a_picture_is_not_taken_from_its_tables() -> None:
    table = b"\xff\xdb\x00\x43\x00" + bytes([255, 217] * 32)
    picture = jpeg(1)
    with_table = picture[:2] + table + picture[2:]
    assert fed(with_table + with_table, [40, 90]) == ([with_table] * 2, 0)


def test_after_a_picture_that_is_cut_short_the_next_is_found() -> None:
    cut = [PICTURES[3][:at] for at in (3, 10, 100, 300, len(PICTURES[3]) - 5)]
    for one in cut:
        found, damaged = fed(one + 100 * (b"\r\n--frame\r\n\r\n" + PICTURES[2]), [])
        assert set(found) == {PICTURES[2]}
        assert len(found) > 90  # some are lost where the length of a table reaches into them
        assert damaged == 1


def test_hardly_anything_is_kept_of_what_is_no_picture() -> None:
    stream = JpegStream()
    for _ in range(100):
        assert stream.feed(bytes(range(255)) * 100) == []
    assert len(stream._bytes) < 10
