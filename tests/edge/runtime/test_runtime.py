"""The runtime: the one that was named, or a clear word; its answers belong to whoever asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
import pytest

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import ModelsConfig
from edge.errors import RuntimeUnavailableError
from edge.runtime.base import Network
from edge.runtime.registry import RUNTIMES, open_network


@pytest.fixture(scope="module", params=sorted(RUNTIMES))
def detector(request: pytest.FixtureRequest) -> Iterator[Network]:
    if request.param == "tensorrt" and not RUNTIMES[request.param].is_available:
        pytest.skip("no GPU with TensorRT and pycuda")
    network = open_network("detector", ModelsConfig(runtime=request.param, threads=1))
    yield network
    network.close()


def test_a_named_runtime_that_is_absent_is_never_replaced() -> None:
    if RUNTIMES["tensorrt"].is_available:
        pytest.skip("TensorRT and a GPU are here")
    with pytest.raises(
        RuntimeUnavailableError, match=r"(TensorRT|pycuda|GPU|driver).*(jetson\.md|onnxruntime)"
    ) as caught:
        open_network("detector", ModelsConfig(runtime="tensorrt"))
    assert caught.value.exit_code != 0


def test_auto_chooses_one_that_is_there_and_says_which() -> None:
    network = open_network("detector", ModelsConfig(runtime="auto", threads=1))
    assert network.runtime == f"onnxruntime {ort.__version__} int8 on the CPU"
    network.close()


def test_answers_have_the_promised_names_shapes_and_ranges(detector: Network) -> None:
    pixels = Slide(SlideSpec(seed=1, width=96, height=64)).render(0)
    found = detector(np.stack([pixels, pixels[::-1]]))
    assert found["peaks"].shape == (2, 3, 16, 24)
    assert found["sides"].shape == (2, 4, 16, 24)
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert (found["peaks"] >= 0).all()
    assert (found["peaks"] <= 1).all()
    assert (found["sides"] > 0).all()


def test_an_answer_is_not_written_over_by_the_next(detector: Network) -> None:
    pixels = Slide(SlideSpec(seed=1, width=64, height=64)).render(0)[None]
    first = detector(pixels)["peaks"]
    kept = first.copy()
    detector(255 - pixels)
    assert np.array_equal(first, kept)
    first[:] = 0  # the caller may write into what it got
    assert np.array_equal(detector(pixels)["peaks"], kept)


def test_pixels_that_nobody_may_write_are_read(detector: Network) -> None:
    pixels = Slide(SlideSpec(seed=1, width=64, height=64)).render(0)[None]
    pixels.setflags(write=False)
    assert detector(pixels)["peaks"].shape == (1, 3, 16, 16)


def test_the_number_of_threads_does_not_change_the_answer(detector: Network) -> None:
    pixels = Slide(SlideSpec(seed=2, width=160, height=128)).render(0)[None]
    network = open_network("detector", ModelsConfig(threads=2))
    assert np.allclose(network(pixels)["peaks"], detector(pixels)["peaks"], atol=1e-5)
    network.close()
