"""A person's way through the page in a real browser, against the real service on the virtual slide."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from edge.language.languages import codes
from edge.sample.controls import ControlSlides
from edge.screening.westgard import Expected
from edge.storage.database import Database
from tests.edge.page.browser_parts import Watched, chromium, virtual_device, with_users
from tests.edge.page.page_parts import PASSWORD
from tests.mosquitto import free_port
from tests.program import Program

pytestmark = pytest.mark.timeout(400)  # on a machine that does much else


@dataclass
class Bench:
    """A browser and a device beside it."""

    browser: Browser
    folder: Path
    port: int
    device: Program
    shots: Path

    def watched(self, **options: object) -> Watched:
        return Watched(self.browser, self.port, self.shots, **options)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder, port = tmp_path_factory.mktemp("device"), free_port()
    shots = Path(os.environ.get("SICKLESCOPE_SHOTS", str(folder)))
    shots.mkdir(exist_ok=True, parents=True)
    with_users(folder / "state", ("Ada", "reviewer"), ("Ben", "reviewer"), ("Ida", "integrator"))
    with chromium() as browser:
        made = Bench(browser, folder, port, virtual_device(folder, port), shots)
        yield made
        made.device.process.terminate()
        made.device.end()


def red_cells(seen: Watched) -> int:
    return int("".join(filter(str.isdigit, seen.page.inner_text(".big b"))))


def test_a_sample_from_its_code_to_the_signature(bench: Bench) -> None:
    """Started, counted, stopped, reviewed with one key a cell, undone, killed in between, signed."""
    seen = bench.watched()
    page = seen.page
    seen.go("/samples")
    page.wait_for_url("**/login?to=/samples")
    seen.check("login")
    seen.sign_in("Ada")
    seen.check("live-ready")
    expect(page.locator(".not-now:visible")).to_have_text(
        ["No picture yet: this camera shows one when a sample is begun."]
    )

    page.fill("#code", "Jane Doe")
    page.keyboard.press("Enter")
    expect(page.locator(".error")).to_contain_text("looks like a name")
    page.fill("#code", "K-1042")
    page.keyboard.press("Enter")
    page.wait_for_selector(".big b")
    page.wait_for_function("() => Number(document.querySelector('.big b').textContent.replace(/\\D/g, '')) > 150")
    first = red_cells(seen)
    page.wait_for_function(f"() => Number(document.querySelector('.big b').textContent.replace(/\\D/g, '')) > {first}")
    assert page.evaluate("document.querySelector('[data-live]').naturalWidth") == 640
    assert "%" not in page.inner_text("#now"), "nobody shall stop at a fraction that they like"
    seen.check("live-counting")
    expect(page.locator(".not-now:visible")).to_have_count(0)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Stop and keep").click()
    page.wait_for_url("**/samples/*")
    expect(page.locator("h1")).to_contain_text("K-1042")
    seen.check("sample")

    page.get_by_role("link", name="Review", exact=True).click()
    page.wait_for_selector(".classes")
    seen.check("review")
    answered = _answer(seen, "nns")
    page.keyboard.press("u")
    expect(page.locator(".done-of")).to_contain_text(f"{answered - 1} of")
    os.kill(bench.device.process.pid, signal.SIGKILL)
    bench.device.process.wait()
    bench.device = virtual_device(bench.folder, bench.port)
    Program.started.remove(bench.device)  # the tests behind this one need it too, and `bench` ends it
    expect(page.locator(".done-of")).to_contain_text(f"{answered - 1} of")
    _answer(seen, "n" * (_total(seen) - answered + 1))
    expect(page.locator("main")).to_contain_text("Every cell is answered")
    page.get_by_role("link", name="Sign …").click()
    seen.check("sign")
    page.fill("#reason", "a trial")
    page.fill("#password", "not the password")
    page.get_by_role("button", name="Sign as Ada").click()
    expect(page.locator(".error")).to_contain_text("wrong")
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Sign as Ada").click()
    expect(page.locator(".done")).to_contain_text("Signed by Ada")
    seen.check("signed")
    page.get_by_role("link", name="Report to print").click()
    expect(page.locator("h1")).to_contain_text("K-1042")
    seen.check("report")
    seen.go("/samples?q=1042")
    expect(page.locator("tbody tr")).to_have_count(1)
    seen.check("samples")
    page.set_viewport_size({"width": 360, "height": 800})
    assert all(words in page.inner_text("tbody tr") for words in ("K-1042", "final", "red cells")), "without scrolling"


def _total(seen: Watched) -> int:
    return int(seen.page.inner_text(".done-of p").split(" of ")[1].split()[0].replace(",", ""))


def _answer(seen: Watched, keys: str) -> int:
    """Answer with a key for each cell; return how many are answered then."""
    done = int(seen.page.inner_text(".done-of p").split(" of ")[0])
    for number, key in enumerate(keys, start=done + 1):
        seen.page.keyboard.press(key)
        seen.page.wait_for_function(f"() => document.querySelector('.done-of p').textContent.startsWith('{number} of')")
    return done + len(keys)


def test_every_other_page_stands_at_every_width(bench: Bench) -> None:
    with Database(bench.folder / "state" / "sicklescope.sqlite3", checked=False) as database:
        ControlSlides(database).add("AS1", Expected(0.05, 0.01))
    seen = bench.watched()
    seen.sign_in("Ida")
    for path in ("/control", "/device", "/help", "/api/v1/docs"):
        seen.go(path)
        seen.check(path.strip("/").replace("/", "-"))
    seen.go("/device")
    with seen.page.expect_download() as download:
        seen.page.get_by_role("link", name="Download the backup").click()
    assert download.value.path().read_bytes()[:15] == b"SQLite format 3"
    seen.go("/samples/nobody")
    expect(seen.page.locator(".error")).to_contain_text("no such sample")
    seen.check("problem")
    sample = seen.page.evaluate(
        "fetch('/api/v1/samples').then(answer => answer.json()).then(told => told.samples[0].id)"
    )
    seen.go(f"/scan/discard/{sample}")
    seen.check("discard")
    seen.go(f"/samples/{sample}")
    seen.page.locator("details summary", has_text="kept").click()
    seen.page.locator(".links a").first.click()
    seen.page.wait_for_selector(".field img")
    seen.check("field")


def test_every_language_fits_a_narrow_screen(bench: Bench) -> None:
    seen = bench.watched()
    seen.sign_in("Ida")
    seen.page.set_viewport_size({"width": 360, "height": 800})
    for code in codes():
        seen.go(f"/language/{code}")
        for path in (
            "/",
            "/samples",
            "/control",
            "/device",
            "/device/optics/pixel-size",
            "/device/optics/flat-field",
            "/help",
        ):
            seen.go(path)
            assert seen.page.get_attribute("html", "lang") == code
            assert seen.too_wide() <= 0, (code, path)
        seen.go("/")
        seen.page.screenshot(path=seen.shots / f"live-{code}.png", full_page=True)
    assert seen.faults == []


def test_without_script_everything_can_be_read_and_a_sample_started(bench: Bench) -> None:
    seen = bench.watched(java_script_enabled=False)
    seen.sign_in("Ben")
    seen.page.fill("#code", "K-77")
    seen.page.keyboard.press("Enter")
    expect(seen.page.get_by_role("button", name="Stop and keep")).to_be_visible()
    seen.page.get_by_role("button", name="Stop and keep").click()
    seen.page.wait_for_url("**/samples/*")
    for path in ("/", "/samples", "/control", "/device", "/help"):
        seen.go(path)
        assert len(seen.page.inner_text("main")) > 20
    assert seen.faults == []
