"""What is told on the live page while it is open: made once for all who look, and only to whoever still may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.page import picture
from edge.page.shared_stream import SharedStream
from edge.report.slide_map import Square, slide_map
from edge.types import FieldReading, Pixels
from tests.edge.page.page_parts import IDLE, PASSWORD, DrawnCamera, Site, site

PICTURES = tuple(np.full((480, 640, 3), light, np.uint8) for light in (90, 120, 150))


async def watch(here: Site, path: str, token: str, parts: int | None = None) -> list[bytes]:
    """Read a stream until it has given so many parts, or ends by itself."""
    given: list[bytes] = []
    enough = asyncio.Event()
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            given.append(message["body"])
        if parts is not None and len(given) >= parts:
            enough.set()

    headers = [(b"host", b"localhost"), (b"cookie", f"sicklescope={token}".encode())]
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9), "root_path": "", "asgi": {"spec_version": "2.3", "version": "3.0"},
    }  # fmt: skip
    await here.app(scope, receive, send)
    return given


def test_a_picture_is_drawn_once_however_many_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[FieldReading | None] = []
    real = picture.drawn

    def counted(pixels: Pixels, reading: FieldReading | None) -> Pixels:
        drawn.append(reading)
        return real(pixels, reading)

    monkeypatch.setattr(picture, "drawn", counted)
    monkeypatch.setattr("edge.page.views.live.PICTURES_PER_S", 50.0)
    with site(tmp_path, ("Ada", "operator"), live=DrawnCamera(*PICTURES)) as here:

        async def test() -> list[list[bytes]]:
            token = here.logins.sign_in("Ada", PASSWORD, "here")
            return await asyncio.gather(*(watch(here, "/live/pictures", token, 8) for _ in range(5)))

        seen = asyncio.run(test())
    assert all(len(set(parts[1:])) >= 7 for parts in seen), "each is given new pictures"
    assert len(drawn) < 20, "and none of them is drawn for one of them alone"


def test_a_stream_ends_with_its_login_though_there_is_always_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("edge.page.views.live.ALIVE_S", 0.1), ("edge.page.views.live.TOLD_EVERY_S", 0.01),
                        ("edge.page.live_state.FRESH_S", 0.0)):  # fmt: skip
        monkeypatch.setattr(name, value)
    with site(tmp_path, ("Ada", "operator"), live=DrawnCamera(*PICTURES)) as here:

        async def test() -> None:
            token = here.logins.sign_in("Ada", PASSWORD, "here")
            streams = [asyncio.create_task(watch(here, path, token)) for path in ("/live/events", "/live/pictures")]
            for number in range(20):
                IDLE["results_waiting"] = number
                await asyncio.sleep(0.02)
            assert not any(stream.done() for stream in streams)
            here.logins.sign_out(token)
            while not all(stream.done() for stream in streams):
                IDLE["results_waiting"] += 1  # type: ignore[operator]
                await asyncio.sleep(0.02)
            assert all([len(await stream) > 1 for stream in streams])

        try:
            asyncio.run(test())
        finally:
            IDLE["results_waiting"] = 0


def test_a_map_of_a_long_sample_is_short() -> None:
    """It is told twice a second, also to a phone on a slow connection."""
    found = slide_map([Square(0, column, row, 3, int(column == 7)) for column in range(60) for row in range(40)])
    assert (found.width, found.height) == (60, 40)
    assert len(found.read) < 1000
    assert found.read.startswith("M0 0h60v1h-60z")
    assert found.sickle.count("M") == 40
    apart = slide_map([Square(0, 0, 0, 1, 0), Square(0, 2, 0, 1, 0), Square(1, 5, 9, 1, 0)])
    assert apart.read == "M0 0h1v1h-1zM2 0h1v1h-1zM6 0h1v1h-1z"


def test_who_reads_slowly_is_given_the_newest_and_the_series_ends_with_its_last_reader() -> None:
    begun: list[str] = []

    async def counted() -> AsyncIterator[int]:
        begun.append("begun")
        try:
            for number in range(1000):
                yield number
                await asyncio.sleep(0.001)
        finally:
            begun.append("ended")

    async def test() -> None:
        stream = SharedStream(counted)

        async def read(pause_s: float) -> list[int]:
            given = []
            async for number in stream.read():
                given.append(number)
                await asyncio.sleep(pause_s)
                if len(given) == 5:
                    break
            return given

        quick, slow = await asyncio.gather(read(0), read(0.02))
        assert quick == sorted(quick)
        assert slow[-1] > 10, "what came in between is not kept for it"
        while begun[-1] != "ended":
            await asyncio.sleep(0.001)
        assert begun == ["begun", "ended"]

    asyncio.run(test())


def test_what_goes_wrong_in_a_series_reaches_its_readers_and_the_next_begins_anew() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise OSError("the disk")

    async def read(stream: SharedStream[int]) -> list[int]:
        return [number async for number in stream.read()]

    async def test() -> None:
        stream = SharedStream(failing)
        for _ in range(2):
            found = await asyncio.gather(read(stream), read(stream), return_exceptions=True)
            assert [str(one) for one in found] == ["the disk", "the disk"]

    asyncio.run(test())
