"""The Node-RED flow, started with a real broker and seen in Chromium: `make test-npm` installs what it needs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from benchmarks.fleet_devices import PublishingDevice
from tests.fleet.fleet_parts import mqtt
from tests.mosquitto import Mosquitto, free_port, wait_for

FOLDER = Path(__file__).parents[2] / "integrations" / "node-red"
MODULES = Path(os.environ.get("NPM_FOLDER", "none")) / "node_modules"
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(
        not (MODULES / "node-red").is_dir() or CHROMIUM is None,
        reason="needs npm's packages and Chromium: make test-npm",
    ),
    pytest.mark.timeout(400),
]


@pytest.fixture
def page_address(broker: Mosquitto, tmp_path: Path) -> Iterator[str]:
    """Start Node-RED with the flow in an empty folder; give the address of its page."""
    port = free_port()
    shutil.copy(FOLDER / "flows.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES.resolve())
    packages = {"@flowfuse/node-red-dashboard": "*"}
    (tmp_path / "package.json").write_text(json.dumps({"name": "trial", "dependencies": packages}))
    (tmp_path / "settings.js").write_text(
        f'module.exports = {{uiHost: "127.0.0.1", uiPort: {port}, flowFile: "flows.json", '
        "telemetry: {enabled: false}};"
    )
    command: list[str | Path] = [MODULES / "node/bin/node", MODULES / "node-red/red.js", "--userDir", tmp_path]
    variables = {**os.environ, "MQTT_HOST": broker.host, "MQTT_PORT": str(broker.port)}
    with (tmp_path / "node-red.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
    try:
        wait_for(lambda: _listens(port), 180)
        yield f"http://127.0.0.1:{port}/dashboard/sicklescope"
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_the_page_shows_devices_and_the_newest_revision_of_each_sample(
    broker: Mosquitto, page_address: str, tmp_path: Path
) -> None:
    with sync_playwright() as player, PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_address)
        expect(page.get_by_role("cell", name="online")).to_be_visible(timeout=30_000)
        first = device.finish(device.result(sickle=31, code="K-1"))
        gone = device.finish(device.result(sickle=77, code="K-2"))
        device.finish(device.result(sickle=55, code="control-known", flags=("control",)))
        expect(page.get_by_text("Sickle-like cells 77 of 1000")).to_be_visible(timeout=30_000)
        device.finish(device.result(sample_id=gone.sample_id, revision=2, stage="discarded", sickle=77))
        device.finish(device.result(sample_id=first.sample_id, revision=2, stage="final", sickle=31, code="K-1"))
        device.say()
        expect(page.get_by_text("Sickle-like cells 77 of 1000")).to_have_count(0, timeout=30_000)
        expect(page.get_by_role("cell", name="final")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("Sickle-like cells 31 of 1000")).to_have_count(1)
        expect(page.get_by_text("Sickle-like cells 55 of 1000")).to_have_count(0)
        if picture := os.environ.get("SCREENSHOT"):
            page.screenshot(path=picture)
        browser.close()
