"""The command, started by tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar


class Program:
    """The command running, its output in files.

    started: all of them, so that none goes on after its test.
    """

    started: ClassVar[list[Program]] = []

    def __init__(self, folder: Path, *arguments: object, **variables: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SICKLESCOPE_")}
        environ |= {"HOME": str(folder), "COLUMNS": "400", "OMP_NUM_THREADS": "1", **variables}
        line = [str(Path(sys.executable).with_name("sicklescope")), *map(str, arguments)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(line, stdout=out, stderr=err, cwd=folder, env=environ)
        self.started.append(self)

    @property
    def out(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8")

    def end(self, timeout_s: float = 30) -> int:
        try:
            code = self.process.wait(timeout_s)
        finally:
            self.process.kill()
        assert "Traceback" not in self.err, self.err
        return code
