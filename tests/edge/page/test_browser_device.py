"""An integrator's way through the device's pages in a real browser, with a camera whose pictures are drawn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from edge.api.device import Device
from edge.config.model import Config, DeviceConfig, MqttConfig, WebConfig
from edge.page import render
from edge.page.serve import served
from edge.system.clock import LATEST_MS
from edge.vision.optics_calibration import read_calibration
from tests.calibration.optics_parts import BARE, fields, micrometer
from tests.edge.page.browser_parts import Watched, chromium, with_users
from tests.edge.page.page_parts import IDLE, DrawnCamera, device_in
from tests.mosquitto import free_port

pytestmark = pytest.mark.timeout(400)  # on a machine that does much else


@dataclass
class Bench:
    """A browser, and a device in this process beside it."""

    browser: Browser
    device: Device
    camera: DrawnCamera
    port: int
    shots: Path

    def watched(self, **options: object) -> Watched:
        return Watched(self.browser, self.port, self.shots, **options)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder, port, camera = tmp_path_factory.mktemp("device"), free_port(), DrawnCamera()
    with_users(folder, ("Ida", "integrator"))
    nowhere = MqttConfig(host="127.0.0.1", port=free_port())
    config = Config(device=DeviceConfig(state_dir=folder), mqtt=nowhere, web=WebConfig(port=port))
    with device_in(config, camera) as device, served(device), chromium() as browser:
        yield Bench(browser, device, camera, port, folder)


def test_the_optics_are_measured_and_written(bench: Bench) -> None:
    bench.camera.pictures = tuple(micrometer(0.25, 30, seed=seed, width=640, height=480) for seed in range(3))
    seen = bench.watched()
    page = seen.page
    seen.sign_in("Ida")
    seen.go("/device")
    page.get_by_role("link", name="Measure the optics").click()
    page.get_by_role("link", name="Measure the size").click()
    seen.check("optics-size")
    page.fill("#objective", "100x")
    page.get_by_role("button", name="Measure").click()
    expect(page.locator(".big")).to_contain_text("0.2")
    seen.check("optics-size-measured")
    page.get_by_role("button", name="Use this size").click()
    expect(page.locator("[role=status]")).to_contain_text("Restart the service")
    seen.check("optics-written")
    assert read_calibration(bench.device.config.device.state_dir / "optics.json").pixel_size is not None


def test_the_light_is_measured_without_script(bench: Bench) -> None:
    bench.camera.pictures = tuple(fields(6, light=0.3, width=320, height=240, **BARE))
    (bench.device.config.device.state_dir / "optics.json").unlink(missing_ok=True)
    seen = bench.watched(java_script_enabled=False)
    seen.sign_in("Ida")
    seen.go("/device/optics/flat-field")
    for number in range(1, 7):
        seen.page.fill("#objective", "40x")
        seen.page.get_by_role("button", name="Take a picture").click()
        expect(seen.page.locator(".big")).to_contain_text(str(number))
    seen.page.get_by_role("button", name="Measure").click()
    expect(seen.page.get_by_role("button", name="Use this correction")).to_be_visible()
    assert seen.faults == []
    looking = bench.watched()
    looking.sign_in("Ida")
    looking.go("/device/optics/flat-field")
    looking.check("optics-light-measured")


def test_what_the_doctor_and_the_broker_say_is_on_the_page(bench: Bench) -> None:
    seen = bench.watched()
    seen.sign_in("Ida")
    seen.go("/device")
    seen.page.get_by_role("button", name="Try the broker").click()
    expect(seen.page.locator(".error")).to_contain_text("cannot be reached")
    seen.page.get_by_role("button", name="Check everything").click()
    expect(seen.page.locator(".findings")).to_contain_text("in use by this service", timeout=60_000)
    seen.check("device-doctor")


def test_the_browsers_time_is_taken_and_a_stale_page_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr("edge.page.browser_clock.EARLIEST_MS", LATEST_MS)
    monkeypatch.setattr("edge.page.browser_clock.clock_synchronised", lambda: False)
    monkeypatch.setattr(time, "clock_settime_ns", lambda _, ns: given.append(ns))
    seen = bench.watched()
    seen.sign_in("Ida")
    expect(seen.page.locator("form[data-clock] output")).not_to_have_text("–")
    seen.check("live-without-a-clock")
    before_ms = time.time_ns() // 1_000_000
    seen.page.get_by_role("button", name="Take the time of this browser").click()
    seen.page.wait_for_url("**/device")
    expect(seen.page.locator(".facts")).to_contain_text("taken from the browser of Ida")
    assert abs(given[0] // 1_000_000 - before_ms) < 30_000

    seen.go("/")
    expect(seen.page.locator("#upgraded")).to_be_hidden()
    monkeypatch.setattr(render, "program", lambda: "another")
    render.environment.cache_clear()
    monkeypatch.setitem(IDLE, "results_waiting", 1)  # something new to tell
    try:
        expect(seen.page.locator("#upgraded")).to_contain_text("was upgraded", timeout=20_000)
    finally:
        monkeypatch.undo()
        render.environment.cache_clear()
    assert seen.faults == []
