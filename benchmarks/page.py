"""What the operator's page costs: first paint, delay of the live picture, CPU and memory of viewers.

Run `python -m benchmarks.page` on a machine that does nothing else. The service is a process of its own, so the CPU of
viewers is not in its figures. Without chromium and playwright no first paint is measured.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.api.client import ask, state
from edge.errors import EdgeError
from edge.sample.commands import Start

PORT = 8931

VIEWERS = 3

TURNS = 6
"""Of measurements with viewers and without: others may use the machine too."""

MANY = 10
"""Viewers over which the memory of one is measured."""


class Viewer:
    """Reads the stream of pictures and that of states, as a browser does."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._pictures, self._states)]
        for thread in self._threads:
            thread.start()

    def _pictures(self) -> None:
        with _asked("/live/pictures") as answer:
            captured_s = 0.0
            while not self._ended.is_set() and (line := answer.readline()):
                name, _, value = line.decode("latin-1").partition(":")
                if name == "X-Captured-Monotonic-S":
                    captured_s = float(value)
                elif name == "Content-Length":
                    answer.readline()
                    answer.read(int(value))
                    self.delays_s += [time.monotonic() - captured_s] if captured_s else []

    def _states(self) -> None:
        with _asked("/live/events") as answer:
            while not self._ended.is_set() and answer.readline():
                pass

    def end(self) -> None:
        """Read no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join(20)


@contextmanager
def _asked(path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    connection.request("GET", path)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


@contextmanager
def service(folder: Path) -> Iterator[int]:
    """Run the service on a virtual slide; give the process's number."""
    given = {
        "DEVICE__STATE_DIR": str(folder), "CAMERA__KIND": "virtual", "CAMERA__WIDTH": "640", "CAMERA__HEIGHT": "480",
        "CAMERA__OVERLAP": "0.3", "CAMERA__FRAMES": "1000000", "CAMERA__FPS": "5", "OPTICS__UM_PER_PX": "0.25",
        "MQTT__ENABLED": "false", "WEB__PORT": str(PORT), "SCREENING__STOP__AT_TARGET": "false",
    }  # fmt: skip
    environ = {**os.environ, **{f"SICKLESCOPE_{name}": value for name, value in given.items()}}
    command = [str(Path(sys.executable).with_name("sicklescope")), "run", "--keep-trying"]
    process = subprocess.Popen(command, env=environ, cwd=folder, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        while True:
            try:
                state(folder)
                break
            except EdgeError:
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, seconds (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return the memory that a process occupies, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_per_field_ms(pid: int, folder: Path, seconds: float) -> float:
    """Return the CPU time that the service takes for a field, over so many seconds."""
    began_s, fields = cpu_s(pid), int(state(folder)["frames"])
    time.sleep(seconds)
    return 1000 * (cpu_s(pid) - began_s) / max(1, int(state(folder)["frames"]) - fields)


def by_turns(pid: int, folder: Path, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Return what a field takes alone and with viewers, by turns, and how far pictures were behind, seconds."""
    alone: list[float] = []
    watched: list[float] = []
    delays: list[float] = []
    for turn in range(TURNS):
        for looked_at in (turn % 2 == 0, turn % 2 == 1):  # the sample grows meanwhile
            viewers = [Viewer() for _ in range(VIEWERS)] if looked_at else []
            time.sleep(1)
            (watched if looked_at else alone).append(cpu_per_field_ms(pid, folder, seconds / TURNS))
            for viewer in viewers:
                viewer.end()
                delays += viewer.delays_s
    return alone, watched, sorted(delays)


def first_paint_s() -> float | None:
    """Return the time to the first contentful paint of the live page, or None without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # The page's content policy forbids the polling below, which is no part of the page.
        page = browser.new_page(bypass_csp=True, viewport={"width": 360, "height": 800})
        found = []
        for _ in range(5):
            page.goto(f"http://127.0.0.1:{PORT}/", wait_until="load")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            told: Any = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            found.append(float(told) / 1000)
        browser.close()
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each kind of measurement")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name, service(Path(name)) as pid:
        folder = Path(name)
        print(f"first paint, idle: {_shown(first_paint_s())}")
        ask(folder, Start(command="start", sample="B-1", by="benchmark"))
        while not (state(folder).get("frames") or 0) > 10:
            time.sleep(0.1)
        print(f"first paint, counting: {_shown(first_paint_s())}")
        alone, watched, delays = by_turns(pid, folder, seconds)
        more = [seen / without - 1 for without, seen in zip(alone, watched, strict=True)]
        print(f"CPU of a field: {statistics.median(alone):.1f} ms alone, {statistics.median(watched):.1f} ms with "
              f"{VIEWERS} viewers ({statistics.median(more):+.1%}; {min(more):+.1%} to {max(more):+.1%})")  # fmt: skip
        print(f"live picture behind the camera: median {1000 * statistics.median(delays):.0f} ms, "
              f"95 % within {1000 * delays[int(0.95 * len(delays))]:.0f} ms, {len(delays)} pictures")  # fmt: skip
        before = resident_mb(pid)
        many = [Viewer() for _ in range(MANY)]
        time.sleep(seconds / 3)
        print(f"memory of a viewer: {(resident_mb(pid) - before) / MANY:.1f} MB")
        for viewer in many:
            viewer.end()


def _shown(seconds: float | None) -> str:
    return "no chromium here" if seconds is None else f"{seconds:.2f} s"


if __name__ == "__main__":
    main()
