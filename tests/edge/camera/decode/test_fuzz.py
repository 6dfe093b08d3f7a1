"""Kind: memory that no decoder wrote is read as a picture. Into buffers of 0 and of 255 the outputs agree."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.camera.base import RejectedInputError
from edge.camera.decode.reader import read_pictures

FIXTURES = Path(__file__).parents[3] / "fixtures"
F = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 2)


def tiff(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, F, photometric="rgb", **options)
    return file.getvalue()


CORPUS = [
    *(cv2.imencode(suffix, F)[1].tobytes() for suffix in (".jpg", ".png", ".bmp", ".webp", ".jp2")),
    cv2.imencode(".jpg", F, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    cv2.imencode(".jpg", F[..., 0])[1].tobytes(),
    cv2.imencode(".jpg", F, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
    cv2.imencode(".png", F.astype(np.uint16) * 257)[1].tobytes(),
    cv2.imencode(".png", np.dstack([F, F[..., :1]]))[1].tobytes(),
    cv2.imencode(".webp", F, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
    *([cv2.imencode(".avif", F)[1].tobytes()] if cv2.haveImageWriter("a.avif") else []),
    *(tiff(compression=kind) for kind in (None, "lzw", "deflate", "zstd", "packbits", "jpeg", "jpeg2000")),
    tiff(tile=(32, 32)),
    tiff(tile=(32, 32), compression="jpeg"),
    tiff(bigtiff=True),
    tiff(planarconfig="separate", predictor=True, compression="lzw"),
    (FIXTURES / "heic" / "drawn.heic").read_bytes(),
]

real_decode: Any = cv2.imdecode
real_empty: Any = np.empty


def outcome(path: Path, fill: int) -> list[bytes] | None:
    """Return what the file is read as when every buffer begins filled, None when it is refused."""

    def decode(data: Any, flags: int) -> Any:
        first = real_decode(data, flags)
        return first if first is None else real_decode(data, flags, np.full_like(first, fill))

    def empty(*given: Any, **options: Any) -> Any:
        made = real_empty(*given, **options)
        if made.dtype.kind in "ub":
            made.fill(fill)
        return made

    with patch.object(cv2, "imdecode", decode), patch.object(np, "empty", empty):
        try:
            return [found.pixels.tobytes() for found in read_pictures(path, 1)]
        except RejectedInputError:
            return None


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(CORPUS), edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=3),
       left=st.one_of(st.just(1.0), st.floats(0, 1)))  # fmt: skip
def test_a_damaged_file_is_refused_or_read_the_same_into_any_memory(
    tmp_path_factory: Any, which: bytes, edits: list[tuple[float, bytes]], left: float
) -> None:
    data = bytearray(which)
    for at, new in edits:
        start = round(at * (len(data) - 1))
        data[start : start + len(new)] = new
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data[: round(len(data) * left)])
    assert outcome(path, 0) == outcome(path, 255)
