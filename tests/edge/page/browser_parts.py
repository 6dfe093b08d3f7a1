"""What the tests of the page with a real browser share: Chromium, the real service, and what is wrong with a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edge.storage.database import Database
from edge.storage.users import User, Users
from tests.edge.page.page_parts import HASH, PASSWORD
from tests.edge.service.service_parts import listens
from tests.mosquitto import wait_for
from tests.program import Program

WIDTHS = (360, 800, 1280)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const pressed = [...document.querySelectorAll("main button, main input")];
  const right = Math.max(0, ...pressed.map((one) => one.getBoundingClientRect().right));
  return Math.max(document.documentElement.scrollWidth - width, Math.ceil(right) - (width - 4));
}"""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium; skips the test where it is not installed."""
    if CHROMIUM is None:
        pytest.skip("chromium not installed (apt-get install chromium)")
    expect.set_options(timeout=60_000)  # a machine that does much else
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def virtual_device(folder: Path, port: int, **settings: str) -> Program:
    """Run the service on a virtual slide, as a person would, with its page on a port."""
    given = {
        "DEVICE__STATE_DIR": str(folder / "state"), "CAMERA__KIND": "virtual", "CAMERA__WIDTH": "640",
        "CAMERA__HEIGHT": "480", "CAMERA__FPS": "3", "CAMERA__FRAMES": "100000", "CAMERA__OVERLAP": "0.3",
        "OPTICS__UM_PER_PX": "0.25", "MQTT__ENABLED": "false", "WEB__PORT": str(port),
        # The person at the page ends a sample, however long the checks of a page take.
        "SCREENING__STORE_INTERVAL_S": "0.2", "SCREENING__TARGET_RED_CELLS": "100000", **settings,
    }  # fmt: skip
    program = Program(folder, "run", "--keep-trying", **{f"SICKLESCOPE_{name}": value for name, value in given.items()})
    wait_for(lambda: listens(folder / "state") or program.process.poll() is not None, 60)
    return program


def with_users(state: Path, *users: tuple[str, str]) -> None:
    """Add users, as (name, role), who all have PASSWORD."""
    state.mkdir(parents=True, exist_ok=True)
    with Database(state / "sicklescope.sqlite3") as database:
        for name, role in users:
            Users(database).put(User(name, (role,), HASH))


class Watched:
    """A page of a browser, with all that it must not do: ask elsewhere, break the content policy, fail in script."""

    def __init__(self, browser: Browser, port: int, shots: Path, **options: object) -> None:
        self.address, self.shots = f"http://127.0.0.1:{port}", shots
        self.faults: list[str] = []
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 800}, **options).new_page()  # type: ignore[arg-type]
        self.page.on(
            "console", lambda told: self.faults.append(told.text) if self._is_fault(told.type, told.text) else None
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda asked: self._asked(asked.url))

    def _is_fault(self, kind: str, text: str) -> bool:
        # A refused form and a device that is away are told there too; both are looked at by the tests themselves.
        return kind in ("error", "warning") and "Failed to load resource" not in text

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "about:")):
            self.faults.append(f"asked elsewhere: {url}")

    def go(self, path: str) -> None:
        self.page.goto(self.address + path, wait_until="domcontentloaded")

    def sign_in(self, name: str) -> None:
        self.go("/login")
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button.primary")
        self.page.wait_for_url(f"{self.address}/")

    def too_wide(self) -> int:
        """Return by how many pixels the page is wider than its window, or a button beyond the page's margin."""
        return int(self.page.evaluate(TOO_WIDE))

    def check(self, name: str) -> None:
        """Assert that the page fits each width and breaks no rule of accessibility; keep a picture of it at each."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 800})
            assert self.too_wide() <= 0, f"{name} is wider than a window of {width} px"
            self.page.screenshot(path=self.shots / f"{name}-{width}.png", full_page=True)
            if width != WIDTHS[1]:
                found = Axe().run(self.page, options={"runOnly": RULES, "resultTypes": ["violations"]})
                told = [
                    (one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found.response["violations"]
                ]
                assert told == [], f"{name} at {width} px"
        assert self.faults == [], name
