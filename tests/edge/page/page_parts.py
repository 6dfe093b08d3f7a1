"""What the tests of the page share: a device without a camera, and a client that comes from the network."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge.api.device import Device
from edge.api.guard import Guard
from edge.api.logins import Logins
from edge.api.passwords import hashed
from edge.config.model import Config, DeviceConfig, MqttConfig
from edge.page.app import page
from edge.page.recent_log import RecentLog
from edge.publish.composer import Composer
from edge.sample.command_queue import CommandQueue
from edge.sample.handlers import NoScanner, perform
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database, database_path
from edge.storage.users import User, Users

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

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://localhost",
            headers=headers,
        )


@contextmanager
def site(folder: Path, *users: tuple[str, str]) -> Iterator[Site]:
    """Give a device whose users, as (name, role), all have PASSWORD."""
    config = Config(device=DeviceConfig(state_dir=folder), mqtt=MqttConfig(enabled=False))
    stopped = threading.Event()
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, Composer(config.device))
        queue = CommandQueue()

        def work() -> None:
            while not stopped.wait(0.005):
                queue.work_off(lambda command: perform(command, lifecycle, NoScanner(lifecycle)))

        worker = threading.Thread(target=work)
        worker.start()
        logins = Logins(Users(database))
        for name, role in users:
            logins.users.put(User(name, (role,), HASH))
        device = Device(config, lifecycle, queue, lambda: dict(IDLE), lambda: None)
        try:
            yield Site(
                device, logins, Guard(page(device, logins, False, RecentLog()), logins, frozenset({"localhost"}), False)
            )
        finally:
            stopped.set()
            worker.join()


def csrf_in(html: str) -> str:
    """Return the token of the first form of a page."""
    found = re.search(r'name="csrf" value="([^"]*)"', html)
    assert found, html
    return found[1]


async def sign_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    form = {"csrf": csrf_in((await client.get("/login")).text), "name": name, "password": password}
    return await client.post("/login", data=form)
