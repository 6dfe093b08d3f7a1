"""Serves a device: the API to programs on its socket, page and API to browsers where that is configured."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from edge.api.device import Device
from edge.api.guard import Guard
from edge.api.http import application
from edge.api.logins import Logins
from edge.api.server import LOOPBACK, Listener, serving
from edge.config.model import WebConfig
from edge.page.app import page
from edge.page.recent_log import RecentLog
from edge.storage.users import Users

log = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"localhost"})


@contextmanager
def served(device: Device) -> Iterator[None]:
    """Serve a device until the block is left; see `serving`."""
    web = device.config.web
    listener = None if web.port is None else _listener(device, web, web.port)
    with serving(application(device), device.config.device.state_dir, listener):
        try:
            yield
        finally:
            device.ended.set()  # streams end by themselves, before they are broken off


def _listener(device: Device, web: WebConfig, port: int) -> Listener:
    users = Users(device.lifecycle.store.database)
    secure = web.host is not None and users.any()
    logins = Logins(users, at_device=not secure)
    if web.host is not None and not secure:
        log.warning(
            "the page is for this device alone: add a user with `sicklescope user add`, and restart the service"
        )
    recent = _recent_log()
    names = LOOPBACK_NAMES | {name.lower() for name in (*web.names, *own_names())} if secure else LOOPBACK_NAMES
    guarded = Guard(page(device, logins, secure, recent), logins, names, secure)
    if not secure or web.host is None:
        return Listener(guarded, LOOPBACK, port)
    return Listener(guarded, web.host, port, web.certificate, web.key)


def own_names() -> tuple[str, ...]:
    """Return this computer's name, and the one by which mDNS knows it."""
    name = socket.gethostname().partition(".")[0].lower()
    return name, f"{name}.local"


def _recent_log() -> RecentLog:
    """Return what keeps the log's last lines, of which a program has one."""
    root = logging.getLogger()
    found = next((one for one in root.handlers if isinstance(one, RecentLog)), None)
    if found is None:
        found = RecentLog()
        root.addHandler(found)
    return found
