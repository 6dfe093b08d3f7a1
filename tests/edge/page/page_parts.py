"""What the tests of the page share: a device without a camera, and a client that comes from the network."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from edge.api.device import Device, LiveField
from edge.api.guard import Guard
from edge.api.logins import Logins
from edge.api.passwords import hashed
from edge.camera.frames import stamped
from edge.config.model import Config, DeviceConfig, MqttConfig
from edge.page.app import page
from edge.page.recent_log import RecentLog
from edge.publish.composer import Composer
from edge.sample.command_queue import CommandQueue
from edge.sample.handlers import NoScanner, perform
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database, database_path
from edge.storage.users import User, Users
from edge.types import Pixels

PASSWORD = "correct horse battery"  # noqa: S105
HASH = hashed(PASSWORD)

IDLE = {
    "state": "idle", "sample": None, "id": None, "connected": True, "connection": "", "results_waiting": 0,
    "results_refused": 0, "results_unheard": 0, "camera_problem": "", "storage_problem": "",
    "counts": None, "verdict": None,
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A device without a camera, whose commands are done, and the application that browsers reach."""

    device: Device
    logins: Logins
    app: Guard
    told: list[tuple[str, str, str]]
    """What dashboards are told: level, code, text."""

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://localhost",
            headers=headers,
        )


class DrawnCamera:
    """A live camera whose newest picture is always a new one, until it hangs; `pictures` are shown over and over."""

    def __init__(self, *pictures: Pixels) -> None:
        self.pictures, self.hangs, self._shown = pictures, False, 0
        self._newest: LiveField | None = None

    def __call__(self) -> LiveField | None:
        if self.pictures and not self.hangs:
            self._shown += 1
            shown = self.pictures[self._shown % len(self.pictures)]
            self._newest = LiveField(stamped(shown, self._shown, "drawn"), None)
        return self._newest


@contextmanager
def device_in(config: Config, live: Callable[[], LiveField | None] = lambda: None) -> Iterator[Device]:
    """Give a device that scans nothing, whose commands are done."""
    stopped = threading.Event()
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, Composer(config.device))
        queue = CommandQueue()

        def work() -> None:
            while not stopped.wait(0.005):
                queue.work_off(lambda command: perform(command, lifecycle, NoScanner(lifecycle)))

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield Device(config, lifecycle, queue, lambda: dict(IDLE), live)
        finally:
            stopped.set()
            worker.join()


@contextmanager
def site(
    folder: Path,
    *users: tuple[str, str],
    live: Callable[[], LiveField | None] = lambda: None,
    config: Config | None = None,
) -> Iterator[Site]:
    """Give a device whose users, as (name, role), all have PASSWORD."""
    given = config or Config(mqtt=MqttConfig(enabled=False))
    with device_in(given.model_copy(update={"device": DeviceConfig(state_dir=folder)}), live) as device:
        logins = Logins(Users(device.lifecycle.database))
        for name, role in users:
            logins.users.put(User(name, (role,), HASH))
        told: list[tuple[str, str, str]] = []
        device = replace(device, tell=lambda *event: told.append(event))
        guard = Guard(page(device, logins, False, RecentLog()), logins, frozenset({"localhost"}), False)
        yield Site(device, logins, guard, told)


def csrf_in(html: str) -> str:
    """Return the token of the first form of a page."""
    found = re.search(r'name="csrf" value="([^"]*)"', html)
    assert found, html
    return found[1]


async def sign_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    form = {"csrf": csrf_in((await client.get("/login")).text), "name": name, "password": password}
    return await client.post("/login", data=form)


async def press(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a form of the page, with its token."""
    csrf = csrf_in((await client.get("/device")).text)
    return await client.post(path, data={"csrf": csrf, **fields})
