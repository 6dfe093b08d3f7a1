"""The GPU through pycuda: the primary context shared between threads, streams, and buffers the GPU can reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError, RuntimeUnavailableError

Bytes = NDArray[np.uint8]


@cache
def cuda_driver() -> Any:
    """Import and start pycuda's driver.

    Raises RuntimeUnavailableError without pycuda, driver or GPU.
    """
    try:
        driver = import_module("pycuda.driver")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"pycuda cannot be imported ({error}). Install it: pip install 'sicklescope[gpu]', which on a Jetson "
            "builds it against JetPack's CUDA: docs/jetson.md"
        ) from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise RuntimeUnavailableError(
            f"the NVIDIA driver cannot be used: {error}. Is it installed, and may this user open /dev/nvidia*? "
            "`sicklescope doctor` shows what is there"
        ) from error
    if not count:
        raise RuntimeUnavailableError('no NVIDIA GPU found. Set models.runtime = "onnxruntime"')
    return driver


@contextmanager
def cuda_errors(driver: Any, doing: str) -> Iterator[None]:
    """Turn an error of CUDA into an EngineError.

    It says what was being done, what CUDA said, and what to do.
    """
    try:
        yield
    except driver.MemoryError as error:
        raise EngineError(
            f"{doing}: not enough GPU memory ({error}). Close other programs that use the GPU, or set "
            'models.runtime = "onnxruntime"'
        ) from error
    except driver.LaunchError as error:
        raise EngineError(
            f"{doing}: the GPU stopped in the middle ({error}). Start sicklescope again; if it comes back, "
            "check temperature and power supply of the device"
        ) from error
    except driver.LogicError as error:
        raise EngineError(
            f"{doing}: CUDA refused ({error}). Do driver and CUDA fit each other? `sicklescope doctor` shows both"
        ) from error
    except driver.Error as error:
        raise EngineError(f"{doing}: {error}. Start sicklescope again; `sicklescope doctor` checks the GPU") from error


class Gpu:
    """The first GPU and its primary context, which every library of the process shares.

    integrated: CPU and GPU share one memory, so buffers are mapped instead of copied.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        with cuda_errors(driver, "opening the GPU"):
            device = driver.Device(0)
            self.name: str = device.name()
            self.compute_capability = "{}.{}".format(*device.compute_capability())
            attributes = driver.device_attribute
            self.integrated = bool(
                device.get_attribute(attributes.INTEGRATED) and device.get_attribute(attributes.CAN_MAP_HOST_MEMORY)
            )
            self._context = device.retain_primary_context()

    @contextmanager
    def current(self, doing: str) -> Iterator[None]:
        """Make the context current in the calling thread.

        On leaving, what was current before is so again.
        """
        with cuda_errors(self.driver, doing):
            self._context.push()
            try:
                yield
            finally:
                # After a launch has failed every call fails; the first error is the one to tell.
                with suppress(self.driver.Error):
                    self.driver.Context.pop()

    def free_mb(self) -> float:
        """Return the free memory of the GPU in MB; the context must be current."""
        return float(self.driver.mem_get_info()[0]) / 1e6

    def detach(self) -> None:
        """Release the primary context."""
        with suppress(self.driver.Error):
            self._context.detach()


class Buffer:
    """Bytes that CPU and GPU both reach.

    Mapped memory on an integrated GPU, else a pinned half and one on the GPU.

    Belongs to its maker, who frees it; `host` must not be used afterwards. The context must be current for every
    call.
    """

    def __init__(self, gpu: Gpu, size: int) -> None:
        driver = gpu.driver
        self._driver = driver
        self._device: Any = None
        flags = driver.host_alloc_flags.DEVICEMAP if gpu.integrated else 0
        self.host: Bytes = driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        self._allocation: Any = self.host.base
        if gpu.integrated:
            self.address = int(self._allocation.get_device_pointer())
            return
        try:
            self._device = driver.mem_alloc(size)
        except driver.Error:
            self._allocation.free()
            raise
        self.address = int(self._device)

    def to_gpu(self, size: int, stream: Any) -> None:
        """Begin to copy the first bytes to the GPU; nothing to do where the memory is the same."""
        if self._device is not None:
            self._driver.memcpy_htod_async(self.address, self.host[:size], stream)

    def from_gpu(self, size: int, stream: Any) -> None:
        """Begin to copy the first bytes from the GPU.

        They are there when the stream has been waited for.
        """
        if self._device is not None:
            self._driver.memcpy_dtoh_async(self.host[:size], self.address, stream)

    def free(self) -> None:
        """Give both halves back."""
        with suppress(self._driver.Error):
            self._allocation.free()
            if self._device is not None:
                self._device.free()
