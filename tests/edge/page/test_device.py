"""The page of the device: the doctor's table, the broker's access list, and a clock taken from the browser."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path

import httpx
import pytest

from edge.config.model import Config, MqttConfig
from edge.runtime.bundle_store import BundleStore
from edge.system.clock import EARLIEST_MS, LATEST_MS
from tests.bundles import Workshop, without_trial
from tests.edge.page.page_parts import IDLE, DrawnCamera, Site, press, sign_in, site
from tests.mosquitto import Mosquitto, with_users

StartMosquitto = Callable[..., Mosquitto]
Test = Callable[[Site, httpx.AsyncClient], Awaitable[None]]


def run(folder: Path, test: Test, role: str = "integrator", config: Config | None = None) -> None:
    with site(folder, ("Ida", role), live=DrawnCamera(), config=config) as here:

        async def signed_in() -> None:
            async with here.client() as client:
                await sign_in(client, "Ida")
                await test(here, client)

        asyncio.run(signed_in())


def test_the_doctors_table_is_on_the_page_and_leaves_the_camera_to_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_: Config) -> str:
        raise AssertionError("the service holds the camera")

    monkeypatch.setattr("edge.diagnosis.doctor._opened", opened)

    async def test(here: Site, client: httpx.AsyncClient) -> None:
        page = unescape((await press(client, "/device/doctor")).text)
        assert "in use by this service" in page
        assert "as pinned, run by onnxruntime" in page
        monkeypatch.setitem(IDLE, "camera_problem", "/dev/video0 is gone")
        page = unescape((await press(client, "/device/doctor")).text)
        row = page.split("configured camera</th>")[1].split("</tr>")[0]
        assert "missing" in row
        assert "/dev/video0 is gone" in row
        assert here.logins.users.audit(1)[0].action == "ran the doctor"

    run(tmp_path, test)


def test_what_the_brokers_access_list_says_is_told_topic_by_topic(
    tmp_path: Path, start_mosquitto: StartMosquitto
) -> None:
    ours = "sicklescope/v1/site/device"
    broker = start_mosquitto(*with_users(tmp_path, "user scope", f"topic write {ours}/event", "user dashboard"))
    given = {"host": broker.host, "port": broker.port, "username": "scope", "password": "right", "commands": True}
    mqtt = MqttConfig.model_validate({**given, "command_secret": "s" * 40})

    async def test(_: Site, client: httpx.AsyncClient) -> None:
        page = unescape((await press(client, "/device/broker")).text)
        rows = {row.split("</code>")[0]: row.split("</tr>")[0] for row in page.split("<code>")[1:]}
        assert "write: allowed" in rows[f"{ours}/event"]
        assert "read: not known" in rows[f"{ours}/command"], "Mosquitto grants what it then withholds"
        (tmp_path / "acl").write_text(f"user scope\ntopic write {ours}/status\n")
        broker.reload()
        page = unescape((await press(client, "/device/broker")).text)
        rows = {row.split("</code>")[0]: row.split("</tr>")[0] for row in page.split("<code>")[1:]}
        assert "write: refused" in rows[f"{ours}/event"]
        assert "Give user 'scope' the right to write the topic" in rows[f"{ours}/event"]
        assert "read: not known" in rows[f"{ours}/command"]
        broker.stop()
        assert "cannot be reached" in (await press(client, "/device/broker")).text

    run(tmp_path, test, config=Config(mqtt=mqtt))


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the clock be one that was never set; return what it is set to, in ns."""
    given: list[int] = []
    monkeypatch.setattr("edge.page.browser_clock.EARLIEST_MS", LATEST_MS)
    monkeypatch.setattr("edge.page.browser_clock.clock_synchronised", lambda: False)
    monkeypatch.setattr(time, "clock_settime_ns", lambda _, ns: given.append(ns))
    return given


@pytest.mark.parametrize("role", ["operator", "integrator"])
def test_a_device_without_a_clock_takes_the_browsers_and_says_so(tmp_path: Path, role: str, unset: list[int]) -> None:
    async def test(here: Site, client: httpx.AsyncClient) -> None:
        assert "The clock was never set" in (await client.get("/")).text
        now_ms = EARLIEST_MS + 86_400_000
        assert (await press(client, "/device/clock", browser_ms=str(now_ms))).status_code == 303
        assert unset == [now_ms * 1_000_000]
        ((level, code, text),) = here.told
        assert (level, code) == ("warning", "clock_set")
        assert "2026-11-02" in text
        assert "Ida" not in text, "dashboards are told no name"
        page = (await client.get("/device")).text
        assert "taken from the browser of Ida; nothing confirms it, results say so" in page
        entry = here.logins.users.audit(1)[0]
        assert (entry.who, entry.action) == ("Ida", "set the clock from the browser")
        assert "2026-11-02" in entry.subject

    run(tmp_path, test, role)


def test_a_time_that_cannot_be_sets_no_clock(tmp_path: Path, unset: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(_: Site, client: httpx.AsyncClient) -> None:
        async def refused(words: str, given: str) -> None:
            answer = await press(client, "/device/clock", browser_ms=given)
            assert answer.status_code == 400
            assert words in unescape(answer.text)

        for given in ("", "-1", "1e9", "²", "9" * 16, "x" * 60_000):
            await refused("the browser told no time", given)
        for given in ("0", str(EARLIEST_MS - 1), str(LATEST_MS + 1), "9" * 15):
            await refused("that time cannot be", given)
        good = str(EARLIEST_MS + 1)
        with monkeypatch.context() as patched:
            patched.setitem(IDLE, "state", "scanning")
            await refused("is being scanned. Stop it first", good)
        with monkeypatch.context() as patched:
            patched.setattr("edge.page.browser_clock.clock_synchronised", lambda: True)
            await refused("is synchronised already", good)
        assert unset == []

        def forbidden(*_: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(time, "clock_settime_ns", forbidden)
        await refused("systemd/browser-clock.conf", good)

    run(tmp_path, test)


def test_nobody_sets_the_clock_without_signing_in(tmp_path: Path, unset: list[int]) -> None:
    async def test() -> None:
        with site(tmp_path) as here:
            async with here.client() as client:
                page = await client.get("/")
                assert "Take the time of this browser" not in page.text
                assert (await press(client, "/device/clock", browser_ms=str(EARLIEST_MS + 1))).status_code == 403
        assert unset == []

    asyncio.run(test())


def test_a_signed_pair_is_given_back_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is not used, then the pair before comes back, then the shipped models."""
    without_trial(monkeypatch)
    shop, state = Workshop(tmp_path), tmp_path / "state"
    bundles = BundleStore(state, shop.accepted)
    for serial, name in ((1, "first"), (2, "second"), (3, "third")):
        bundles.take_in(shop.bundle(shop.pair(name), serial))
        if serial < 3:
            bundles.switch()

    async def test(here: Site, client: httpx.AsyncClient) -> None:
        async def pressed(words: str) -> httpx.Response:
            page = (await client.get("/device")).text
            assert words in page
            (seen,) = re.findall(r'name="seen" value="(\w+)"', page)
            return await press(client, "/device/rollback", role="bundle", seen=seen)

        stale = bundles.record().newest
        assert (await pressed("waits for the end of the sample at hand")).status_code == 303
        assert (bundles.record().waiting, len(bundles.record().stack)) == ("", 2)
        answer = await press(client, "/device/rollback", role="bundle", seen=stale)
        assert answer.status_code == 409
        assert "were changed since your page was made" in answer.text
        assert len(bundles.record().stack) == 2
        assert (await pressed("(serial 1, ")).status_code == 303
        assert (await pressed("Back to the models before it")).status_code == 303
        assert bundles.record().in_use is None
        assert "Both came together" not in (await client.get("/device")).text
        assert (await press(client, "/device/rollback", role="detector")).status_code == 409
        assert [entry.action for entry in here.logins.users.audit(3)] == ["went back to the model before"] * 3

    run(state, test, config=Config(models=shop.accepted, mqtt=MqttConfig(enabled=False)))
