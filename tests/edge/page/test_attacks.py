"""The device's pages against whoever has no right to them, other pages, and values that no form gives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.edge.page.page_parts import DrawnCamera, Site, csrf_in, sign_in, site

STEPS = [
    *(f"/device/optics/pixel-size/{step}" for step in ("measure", "cells", "use", "drop")),
    *(f"/device/optics/flat-field/{step}" for step in ("take", "undo", "measure", "use", "drop")),
    "/device/doctor",
    "/device/broker",
    "/device/rollback",
]
PAGES = ["/device/optics", "/device/optics/pixel-size", "/device/optics/flat-field",
         "/device/optics/pixel-size/measured.jpg", "/device/backup"]  # fmt: skip
CLOCK = "/device/clock"

HUGE = ["x" * 60_000, "9" * 4000, "\x00\x1f", "‮﷽" * 500, "-1", "1e309", "../../etc/passwd", "%s%n{{7*7}}", "😀" * 300]

Test = Callable[[Site, httpx.AsyncClient], Awaitable[None]]


def run(folder: Path, test: Test, role: str) -> None:
    with site(folder, ("Ada", role), live=DrawnCamera()) as here:

        async def signed_in() -> None:
            async with here.client() as client:
                await sign_in(client, "Ada")
                await test(here, client)

        asyncio.run(signed_in())


@pytest.mark.parametrize("role", ["operator", "reviewer"])
def test_only_an_integrator_manages_the_device(tmp_path: Path, role: str) -> None:
    async def test(here: Site, client: httpx.AsyncClient) -> None:
        csrf = csrf_in((await client.get("/")).text)
        for path in PAGES:
            assert (await client.get(path)).status_code == 403, path
        for path in STEPS:
            assert (await client.post(path, data={"csrf": csrf, "role": "detector"})).status_code == 403, path
        assert here.logins.users.audit(5)[0].action == "signed in", "nothing was done"

    run(tmp_path, test, role)


def test_nobody_signed_in_is_led_to_the_login(tmp_path: Path) -> None:
    async def test(here: Site, _: httpx.AsyncClient) -> None:
        async with here.client() as stranger:
            for path in PAGES:
                assert (await stranger.get(path)).headers["location"].startswith("/login"), path
            for path in (*STEPS, CLOCK):
                assert (await stranger.post(path, data={"csrf": "x"})).headers["location"] == "/login", path

    run(tmp_path, test, "integrator")


def test_another_page_and_a_form_of_another_login_do_nothing(tmp_path: Path) -> None:
    async def test(here: Site, client: httpx.AsyncClient) -> None:
        csrf = csrf_in((await client.get("/")).text)
        for path in (*STEPS, CLOCK):
            for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
                assert (await client.post(path, data={"csrf": csrf}, headers=headers)).status_code == 400, path
            for given in ({}, {"csrf": ""}, {"csrf": csrf[:-1]}):
                assert (await client.post(path, data=given)).status_code in (403, 415), path
            assert (await client.post(path, json={"csrf": csrf})).status_code == 415, path
        assert here.logins.users.audit(1)[0].action == "signed in"

    run(tmp_path, test, "integrator")


def test_values_that_no_form_gives_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.page.wizard.PATIENCE_S", 0.01)
    steps = [path for path in (*STEPS, CLOCK) if path not in ("/device/doctor", "/device/broker")]

    async def test(_: Site, client: httpx.AsyncClient) -> None:
        csrf = csrf_in((await client.get("/")).text)
        for path in steps:
            for value in HUGE:
                given = dict.fromkeys(("division_um", "objective", "browser_ms", "role", "seen"), value[:9000])
                answer = await client.post(path, data={"csrf": csrf, **given})
                assert answer.status_code in (303, 400, 404, 409, 413), (path, value[:20], answer.text)
                assert "%s%n49" not in answer.text, "what was typed was evaluated"
            answer = await client.post(path, data={"csrf": csrf, "division_um": "1" * 70_000})
            assert answer.status_code == 413
        for path in ("/device/optics/gain", "/device/optics/pixel-size%00", f"/device/optics/{'x' * 5000}"):
            assert (await client.get(path)).status_code == 404
        for path in ("/device/optics/pixel-size/erase", "/device/optics/pixel-size/take", "/device/optics/x/use"):
            assert (await client.post(path, data={"csrf": csrf})).status_code == 404

    run(tmp_path, test, "integrator")


def test_what_was_seen_may_be_anything(tmp_path: Path) -> None:
    async def test(_: Site, client: httpx.AsyncClient) -> None:
        csrf = csrf_in((await client.get("/")).text)
        for value in HUGE:
            for path in ("/scan/start", "/scan/stop", "/scan/discard/K-1", "/scan/reopen/K-1", "/samples/K-1/sign"):
                given = {"seen": value[:9000], "sample": "K-1", "reason": "r", "password": "p"}
                answer = await client.post(path, data={"csrf": csrf, **given})
                assert answer.status_code in (403, 404, 409), (path, answer.status_code, answer.text)

    run(tmp_path, test, "reviewer")
