"""What goes wrong round the page becomes a sentence on it, and no answer is lost."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import LockedError, StorageError
from edge.storage.database import Database
from tests.edge.page.page_parts import IDLE, Site, csrf_in, sign_in, site
from tests.edge.service.test_safe_mode import unattended, write
from tests.mosquitto import free_port, wait_for


def read(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return ""


def test_in_safe_mode_the_page_stands_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.safe_mode.FIRST_WAIT_S", 30)
    monkeypatch.setattr("edge.service.safe_mode.LONGEST_WAIT_S", 30)
    port = free_port()
    config = write(
        tmp_path, free_port(), camera='kind = "opencv"\ndevice = "/dev/video77"', more=f"[web]\nport = {port}"
    )
    with unattended(config):
        wait_for(lambda: "/dev/video77 not found" in read(f"http://127.0.0.1:{port}/"), 60)
        assert "Out of order" in read(f"http://127.0.0.1:{port}/")
        assert "No sample fits" in read(f"http://127.0.0.1:{port}/samples")
        assert '"state":"fault"' in read(f"http://127.0.0.1:{port}/api/v1/state")


@pytest.mark.parametrize(
    ("problem", "title"),
    [
        ({"camera_problem": "the camera was lost"}, "Camera lost"),
        ({"storage_problem": "disk full"}, "Cannot be stored"),
    ],
)
def test_a_problem_of_the_device_is_told_in_words(tmp_path: Path, problem: dict[str, str], title: str) -> None:
    with site(tmp_path) as here:
        IDLE.update(problem)
        try:
            page = asyncio.run(_text(here, "/"))
        finally:
            IDLE.update({"camera_problem": "", "storage_problem": ""})
    assert title in page
    assert next(iter(problem.values())) in page


async def _text(here: Site, path: str) -> str:
    async with here.client() as client:
        return (await client.get(path)).text


def test_a_database_that_is_locked_or_full_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: StorageError) -> Callable[..., None]:
        def read(*_: object) -> None:
            raise error

        return read

    with site(tmp_path, ("Ada", "reviewer")) as here:

        async def test() -> None:
            async with here.client() as client:
                await sign_in(client, "Ada")
                for error in (LockedError("another program has held it"), StorageError("the disk is full")):
                    with monkeypatch.context() as patched:
                        patched.setattr("edge.page.views.samples.listing", failing(error))
                        answer = await client.get("/samples")
                    assert answer.status_code == 507
                    assert str(error) in answer.text

        asyncio.run(test())


def test_ten_thousand_samples_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _fill(here.device.lifecycle.database, 10_000)

        async def test() -> None:
            async with here.client() as client:
                first = (await client.get("/samples")).text
                assert "10,000 samples" in first
                assert first.count("<tr>") == 51
                assert "K-9999" in first
                last = (await client.get("/samples?offset=9950")).text
                assert "K-0" in last
                assert 'rel="next"' not in last
                found = (await client.get("/samples?q=K-123&state=review")).text
                assert "11 samples" in found, "K-123 and K-1230 to K-1239"
                assert "No sample fits" in (await client.get("/samples?q=%25")).text, "a sign that SQL knows"
                assert (await client.get("/samples?offset=99999999999")).status_code == 400

        asyncio.run(test())


def _fill(database: Database, count: int) -> None:
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO samples (id, code, day, state, boot_id, uptime_s, changed_ms, setup, draft) "
            "VALUES (?, ?, '2026-01-01', 'review', 'b', 0, 0, '{}', '{}')",
            [(f"id-{number}", f"K-{number}") for number in range(count)],
        )


def test_a_damaged_sample_is_shown_and_said_to_be_damaged(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _fill(here.device.lifecycle.database, 1)
        page = asyncio.run(_text(here, "/samples/id-0"))
    assert "is damaged" in page
    assert "No figures" in page


def test_a_page_from_before_an_upgrade_loses_nothing(tmp_path: Path) -> None:
    """Its form's token holds over a restart; a form that lacks what is asked now is told to load the page again."""

    async def test(here: Site) -> None:
        async with here.client() as client:
            csrf = csrf_in((await client.get("/")).text)
            here.logins.__init__(here.logins.users)  # type: ignore[misc]  # the program began anew
            old = await client.post("/samples/id-0/review", data={"csrf": csrf, "number": "1"})
            assert old.status_code == 409
            assert "Load the page again" in old.text

    with site(tmp_path) as here:
        _fill(here.device.lifecycle.database, 1)
        here.device.lifecycle.database.write("UPDATE samples SET state = 'review'")
        asyncio.run(test(here))
