"""The API gives FHIR where the configuration says so, and says why not elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from edge.api.device import Device
from edge.api.http import application
from edge.config.model import Config, WebConfig
from edge.sample.command_queue import CommandQueue
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import counted, ended


def asked(folder: Path, code: str, fhir: bool) -> tuple[int, dict[str, Any]]:
    with Database(folder / "sicklescope.sqlite3") as database:
        lifecycle = Lifecycle(Config(web=WebConfig(fhir=fhir)), database, composer())
        if not lifecycle.store.newest():
            ended(lifecycle, "K-1")
            lifecycle.start(counted("K-2", 600, 5, 0), "{}", "nurse")
        device = Device(lifecycle.config, lifecycle, CommandQueue(), dict, lambda: None)

        async def get() -> httpx.Response:
            transport = httpx.ASGITransport(application(device))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.get(f"/api/v1/samples/{code}/fhir")

        response = asyncio.run(get())
        return response.status_code, response.json()


def test_fhir_is_off_by_default_and_given_where_it_is_on(tmp_path: Path) -> None:
    code, answer = asked(tmp_path, "K-1", fhir=False)
    assert (code, "web.fhir" in answer["error"]) == (404, True)
    code, bundle = asked(tmp_path, "K-1", fhir=True)
    assert (code, bundle["resourceType"]) == (200, "Bundle")
    code, answer = asked(tmp_path, "K-2", fhir=True)
    assert (code, "is being scanned" in answer["error"]) == (409, True)
    assert asked(tmp_path, "nobody", fhir=True)[0] == 404
