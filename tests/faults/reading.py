"""A service in a process of its own, as the tests that end it in mid-sample see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from edge.api.client import NotRunningError, ask
from edge.sample.commands import Command
from tests.mosquitto import wait_for

PROGRAM = Path(__file__).with_name("onward.py")


class Reading:
    """The program onward.py while this is entered.

    kept: frames that it was told are on the disk.
    """

    def __init__(self, folder: Path, state: Path, port: int, frame: int, boot: str) -> None:
        self.state, self.kept = state, 0
        with (folder / "onward.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(state), str(port), str(frame), boot],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def ask(self, order: Command) -> dict[str, Any]:
        """Have it do something, as soon as it listens."""

        def answer() -> dict[str, Any] | None:
            assert self._process.poll() is None, "it ended, see onward.log"
            try:
                return ask(self.state, order)
            except NotRunningError:
                return None

        answered: dict[str, Any] = wait_for(answer, 300)
        return answered

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def kill(self) -> None:
        """End it at this very moment."""
        self._process.kill()
        self._process.wait(30)

    def keeps(self, times: int) -> None:
        """Wait until it was told so often that its sample is on the disk."""
        assert self._process.stdout is not None
        for _ in range(times):
            line = self._process.stdout.readline()
            assert line, "it ended, see onward.log"
            self.kept = int(line.split()[1])

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *raised: object) -> None:
        """End it at this very moment, and hear what it had said before."""
        self._process.kill()
        said, _ = self._process.communicate()
        self.kept = int(said.split()[-1]) if said else self.kept
