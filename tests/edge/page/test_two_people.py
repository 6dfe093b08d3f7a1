"""Two people at one device: the second is told what the first did, and nothing of either is lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path

import httpx

from edge.sample.lifecycle import Lifecycle
from tests.edge.page.page_parts import PASSWORD, Site, csrf_in, sign_in, site
from tests.edge.sample.review_parts import counted, do, ended

Test = Callable[[Site, "Person", "Person"], Awaitable[None]]


class Person:
    """Somebody with a page open, whose form says what they saw."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self.client, self.name = client, name
        self.form: dict[str, str] = {}

    async def open(self, path: str) -> str:
        page = (await self.client.get(path)).text
        seen = re.search(r'name="seen" value="([^"]*)"', page)
        self.form = {"csrf": csrf_in(page), "seen": seen[1] if seen else ""}
        return unescape(page)

    async def press(self, path: str, **fields: str) -> tuple[int, str]:
        answer = await self.client.post(path, data={**self.form, **fields})
        return answer.status_code, unescape(answer.text)


def run(folder: Path, test: Test) -> None:
    with site(folder, ("Ada", "reviewer"), ("Ben", "reviewer")) as here:

        async def both() -> None:
            async with here.client() as one, here.client() as other:
                await sign_in(one, "Ada")
                await sign_in(other, "Ben")
                await test(here, Person(one, "Ada"), Person(other, "Ben"))

        asyncio.run(both())


def scanning(lifecycle: Lifecycle, code: str, by: str) -> str:
    return lifecycle.start(counted(code, 620, 20, 5), "{}", by).id


def test_who_starts_second_is_told_who_scans_and_who_clicks_twice_is_not_refused(tmp_path: Path) -> None:
    async def test(here: Site, ada: Person, ben: Person) -> None:
        await ada.open("/")
        await ben.open("/")
        scanning(here.device.lifecycle, "K-1", "Ada")
        code, page = await ben.press("/scan/start", sample="K-2")
        assert code == 409
        assert "sample K-1 is being scanned: Ada began it. Stop it first" in page
        assert (await ada.press("/scan/start", sample="K-1"))[0] == 303, "the second of a double click"

    run(tmp_path, test)


def test_who_stops_second_stops_no_other_sample(tmp_path: Path) -> None:
    """Ada stopped K-1 and began K-2; Ben's page still shows K-1 and its button."""

    async def test(here: Site, ada: Person, ben: Person) -> None:
        first = scanning(here.device.lifecycle, "K-1", "Ada")
        await ada.open("/")
        ada.form["seen"] = ben_saw = first
        assert (await ada.press("/scan/stop"))[0] == 303
        assert (await ada.press("/scan/stop"))[0] == 303, "the second of a double click"
        second = scanning(here.device.lifecycle, "K-2", "Ada")
        await ben.open("/")
        ben.form["seen"] = ben_saw
        code, page = await ben.press("/scan/stop")
        assert code == 409
        assert "sample K-1 is incomplete, by Ada" in page
        assert "sample K-2 is being scanned now. Nothing was changed" in page
        assert here.device.lifecycle.store.find(second).state == "scanning"

    run(tmp_path, test)


def test_who_reopens_discards_or_signs_second_is_told_what_changed(tmp_path: Path) -> None:
    """Kind: of two people who reopen a signed sample the second would send it back to the microscope."""

    async def test(here: Site, ada: Person, ben: Person) -> None:
        lifecycle = here.device.lifecycle
        sample = ended(lifecycle)
        page = f"/samples/{sample.id}"
        await ada.open(f"{page}/sign")
        await ben.open(f"{page}/sign")
        assert (await ada.press(f"{page}/sign", password=PASSWORD))[0] == 303
        code, told = await ben.press(f"{page}/sign", password=PASSWORD)
        assert code == 409
        assert "sample K-1 was changed since your page was made: it is final, by Ada. Nothing was changed" in told
        await ada.open(page)
        await ben.open(page)
        assert (await ada.press(f"/scan/reopen/{sample.id}"))[0] == 303
        code, told = await ben.press(f"/scan/reopen/{sample.id}")
        assert code == 409
        assert "it is review, by Ada (a signed result was reopened)" in told
        assert lifecycle.store.find(sample.id).state == "review"
        await ben.open(f"/scan/discard/{sample.id}")
        do(lifecycle, sample, "Ada", cells={"1": "sickle"})
        code, told = await ben.press(f"/scan/discard/{sample.id}", reason="spilt")
        assert code == 409
        assert "was changed since your page was made" in told
        await ben.open(f"/scan/discard/{sample.id}")
        assert (await ben.press(f"/scan/discard/{sample.id}", reason="spilt"))[0] == 303
        assert [entry.action for entry in here.logins.users.audit(3)] == ["discard", "reopen", "signed"]

    run(tmp_path, test)
