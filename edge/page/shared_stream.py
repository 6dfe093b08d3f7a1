"""A series that is made once for all who read it, however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

Part = TypeVar("Part")


class SharedStream(Generic[Part]):
    """One task makes the parts while anybody reads; who reads slowly is given the newest.

    For one event loop.
    """

    def __init__(self, made: Callable[[], AsyncIterator[Part]]) -> None:
        """Make nothing yet.

        Args:
            made: begins the series anew.
        """
        self._made = made
        self._readers = 0
        self._task: asyncio.Task[None] | None = None
        self._newest: tuple[int, Part] | None = None
        self._changed = asyncio.Event()

    async def read(self) -> AsyncIterator[Part]:
        """Give the newest part, and each newer one, until the series ends.

        What it raises is raised here too.
        """
        self._readers += 1
        if self._task is None:
            self._newest = None
            self._task = asyncio.create_task(self._make())
        task, seen = self._task, 0
        try:
            while True:
                changed = self._changed
                if self._newest is not None and self._newest[0] != seen:
                    seen, part = self._newest
                    yield part
                elif task.done():
                    task.result()
                    return
                else:
                    await changed.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                task.cancel()
                self._task = None

    async def _make(self) -> None:
        number = 0
        try:
            async for part in self._made():
                number += 1
                self._newest = number, part
                self._wake()
        finally:
            # The readers see that the task is done only after it is.
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
