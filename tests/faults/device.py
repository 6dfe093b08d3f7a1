"""A device that is made to be killed: reads sample after sample, and tells each result as soon as it is stored.

`python device.py STATE PORT` imports all once and then forks a life for each line it is given, so that a life begins in
milliseconds; its files, threads and connection are its own. Networks and camera are drawn (drawn.py); all else is
the service as it ships.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

PHASES = ("starting", "scanning", "storing", "publishing")


@dataclass(frozen=True)
class Stored:
    """A result that the service's caller was told is kept."""

    id: str
    sample: str
    digest: str


def digest(result: dict[str, Any]) -> str:
    """Return what must not change of a result on its way: everything but `historical`."""
    return sha256(json.dumps({**result, "historical": False}, sort_keys=True).encode()).hexdigest()


class Device:
    """The program below, seen from the test. stored: by sample, of all lives."""

    def __init__(self, state: Path, port: int, folder: Path) -> None:
        command = [sys.executable, __file__, str(state), str(port)]
        self._log = (folder / "device.log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, bufsize=1
        )
        self.stored: dict[str, Stored] = {}
        self.phases = dict.fromkeys(PHASES, 0)
        self._phase = ""
        self._pid = 0
        self._storing = threading.Event()
        self.span_s = self.store_s = self._store_began = 0.0
        self._born, self._died = threading.Event(), threading.Event()
        self._count = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *rest = line.split()
            if word == "stored":
                with self._count:
                    told = Stored(*rest)
                    assert self.stored.setdefault(told.sample, told) == told, f"{told.sample} has two results"
                    self._count.notify()
                    self.store_s = time.monotonic() - self._store_began
            elif word == "storing":
                self._store_began = time.monotonic()
                self._storing.set()
            elif word == "born":
                self._pid = int(rest[0])
                self._born.set()
            elif word == "died":
                self._died.set()
            else:
                self._phase = rest[0]

    def live(self) -> None:
        """Begin a life."""
        self._born.clear()
        self._died.clear()
        assert self._process.stdin is not None
        self._process.stdin.write("live\n")
        assert self._born.wait(300), self.log()

    def stores(self, number: int, timeout_s: float = 300) -> None:
        """Wait until so many results more are stored."""
        with self._count:
            goal = len(self.stored) + number
            assert self._count.wait_for(lambda: len(self.stored) >= goal, timeout_s), self.log()

    def measure(self) -> None:
        """Let two samples be read, to know how long a life takes to its second result, and how long storing takes."""
        began = time.monotonic()
        self.live()
        self.stores(2)
        self.span_s = time.monotonic() - began
        self.kill()

    def reach(self, number: int, chance: random.Random) -> None:
        """Let a life come to some moment: of each three one is anywhere, one at the storing, one at the sending."""
        if number % 3 == 0:
            time.sleep(chance.uniform(0, self.span_s))
        elif number % 3 == 1:  # a matter of milliseconds, which the others would hardly ever hit
            self._storing.clear()
            assert self._storing.wait(300), self.log()
            time.sleep(chance.uniform(0, 2 * self.store_s))
        else:
            self.stores(1)
            time.sleep(chance.uniform(0, self.span_s / 4))

    @property
    def pid(self) -> int:
        """Number of the process of the life."""
        return self._pid

    def kill(self) -> None:
        """End the life at this very moment."""
        os.kill(self._pid, signal.SIGKILL)
        assert self._died.wait(300)
        self.phases[self._phase] += 1

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid and not self._died.is_set():
            os.kill(self._pid, signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(30)
        self._process.stdout.close()
        self._log.close()


def main() -> None:
    """Fork a life for each line of the input, until it ends."""
    import gc
    import mmap

    sys.path.insert(0, str(Path(__file__).parents[2]))
    import edge.service.service
    from edge.config.model import QualityConfig
    from edge.pipeline import Pipeline
    from edge.service.service import Service
    from edge.storage.database import Database
    from edge.storage.outbox import Outbox
    from tests.edge.service.service_parts import configured
    from tests.faults.drawn import Slide, pipeline_class

    config = configured(Path(sys.argv[1]), int(sys.argv[2]))
    config = config.model_copy(update={"quality": QualityConfig(gate=False)})
    phase = mmap.mmap(-1, 1)

    class Watched(pipeline_class(Pipeline(config))):  # type: ignore[misc]
        def read(self, frame: Any) -> Any:
            phase[0] = 1
            return super().read(frame)

    def tell(line: str) -> None:
        os.write(1, f"{line}\n".encode())

    unsaid: list[str] = []
    put, transaction = Outbox.put, Database.transaction

    def noted_put(outbox: Outbox, result_id: Any, topic: str, payload: str) -> None:
        phase[0] = 2
        tell("storing")
        result = json.loads(payload)
        unsaid.append(f"stored {result_id} {result['sample']} {digest(result)}")
        put(outbox, result_id, topic, payload)

    @contextmanager
    def told_transaction(database: Database) -> Iterator[Any]:
        before = len(unsaid)
        try:
            with transaction(database) as connection:
                yield connection
        except BaseException:
            del unsaid[before:]  # the disk refused it: the next transaction that succeeds says nothing of it
            raise
        while not database._depth and unsaid:
            tell(unsaid.pop())
            phase[0] = 3

    def life(number: int) -> None:
        for sample in range(1000):
            Service(config, f"S{number}-{sample}").run()

    vars(edge.service.service)["Pipeline"] = Watched
    vars(edge.service.service)["open_camera"] = lambda *_: Slide(frames=4)
    Outbox.put, Database.transaction = noted_put, told_transaction  # type: ignore[method-assign,assignment]
    # A life that let go of ONNX Runtime's session would wait for its threads, which no fork has.
    gc.collect()
    gc.freeze()
    for number, _ in enumerate(sys.stdin):
        phase[0] = 0
        pid = os.fork()
        if not pid:
            try:
                life(number)
            finally:
                os._exit(1)
        tell(f"born {pid}")
        os.waitpid(pid, 0)
        tell(f"while {PHASES[phase[0]]}")
        tell("died")


if __name__ == "__main__":
    main()
