"""Who may do what from a browser, and what other pages, names and clients cannot."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.api.http import application
from edge.api.logins import AT_A_TIME, IDLE_S, LONGEST_S, Logins
from edge.cli.main import app as command_line
from edge.errors import CommandError
from edge.page.acting import version_of
from edge.page.views.login import safe_target
from edge.screening.verdict import VerdictRules, assess
from edge.storage.database import Database
from edge.storage.users import User, Users
from edge.types import CLASSES, Counts
from tests.edge.page.page_parts import HASH, IDLE, PASSWORD, Site, csrf_in, press, sign_in, site
from tests.edge.sample.review_parts import ended

START = {"command": "start", "sample": "K-1", "by": "local"}


def run(folder: Path, test: Callable[[Site], Awaitable[None]], *users: tuple[str, str]) -> None:
    with site(folder, *users) as here:
        asyncio.run(test(here))  # type: ignore[arg-type]


def test_without_a_password_the_page_is_for_whoever_is_at_the_device(tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            page = await client.get("/")
            assert page.status_code == 200
            assert "For Research Use Only" in page.text
            policy = page.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            refused = await client.post("/scan/start", data={"csrf": csrf_in(page.text), "sample": "K-1"})
            assert refused.status_code == 409, "there is no camera"
            assert "no service runs that could scan" in refused.text

    run(tmp_path, test)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_page_or_name_cannot_command(tmp_path: Path, headers: dict[str, str]) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            csrf = csrf_in((await client.get("/")).text)
            form = await client.post("/scan/start", data={"csrf": csrf, "sample": "K-1"}, headers=headers)
            program = await client.post("/api/v1/command", json=START, headers=headers)
            assert (form.status_code, program.status_code) == (400, 400)

    run(tmp_path, test)


def test_a_form_without_this_logins_token_does_nothing(tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        async with here.client() as one, here.client() as other:
            await sign_in(one, "Ada")
            await sign_in(other, "Ben")
            for csrf in ("", "x", csrf_in((await other.get("/")).text)):
                form = await one.post("/scan/start", data={"csrf": csrf, "sample": "K-1"})
                assert form.status_code == 403
                assert "nothing was changed" in form.text

    run(tmp_path, test, ("Ada", "operator"), ("Ben", "operator"))


def test_with_users_nothing_is_shown_before_one_signs_in(tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            first = await client.get("/live/picture.jpg")
            assert (first.status_code, first.headers["location"]) == (303, "/login?to=/live/picture.jpg")
            for path in ("state", "frame.jpg", "samples", "samples/K-1", "openapi.json"):
                assert (await client.get(f"/api/v1/{path}")).status_code == 401
            assert (await client.post("/api/v1/command", json=START)).status_code == 401
            assert (await sign_in(client, "Ada", "wrong password")).status_code == 403
            signed = await sign_in(client, "Ada")
            cookie = signed.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert (await client.get("/api/v1/state")).status_code == 200

    run(tmp_path, test, ("Ada", "operator"))


def test_a_planted_token_is_never_anybodys(tmp_path: Path) -> None:
    """Kind: session fixation. The login that a browser brings along is not the one that it gets."""

    async def test(here: Site) -> None:
        async with here.client() as client:
            client.cookies.set("sicklescope", "planted", domain="localhost.local")
            await sign_in(client, "Ada")
            tokens = [cookie.value for cookie in client.cookies.jar if cookie.name == "sicklescope"]
            assert "planted" not in (tokens[-1], None)
            assert here.logins.identify("planted") is None

    run(tmp_path, test, ("Ada", "operator"))


def test_a_login_is_ended_by_its_owner_and_from_the_command_line(tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            await sign_in(client, "Ada")
            csrf = csrf_in((await client.get("/")).text)
            kept = dict(client.cookies)["sicklescope"]
            await client.post("/logout", data={"csrf": csrf})
            assert here.logins.identify(kept) is None
            await sign_in(client, "Ada")
            assert (await client.get("/api/v1/state")).status_code == 200
            with Database(tmp_path / "sicklescope.sqlite3", checked=False) as database:
                assert Users(database).end_all("Ada") == 1
            assert (await client.get("/api/v1/state")).status_code == 401

    run(tmp_path, test, ("Ada", "operator"))


def test_logins_end_by_time_and_with_the_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the wall clock does: a device has none that could be believed."""
    with site(tmp_path, ("Ada", "operator")) as here:
        clock = [1000.0]
        logins = Logins(here.logins.users, lambda: clock[0])
        token = logins.sign_in("Ada", PASSWORD, "a")
        for _ in range(int(LONGEST_S / IDLE_S)):
            assert logins.identify(token)
            clock[0] += IDLE_S - 1
        clock[0] += 100
        assert logins.identify(token) is None, "too long since it began"
        token = logins.sign_in("Ada", PASSWORD, "a")
        clock[0] += IDLE_S + 61
        assert logins.identify(token) is None, "too long since it was used"
        token = logins.sign_in("Ada", PASSWORD, "a")
        monkeypatch.setattr("edge.api.logins.boot_id", lambda: "another")
        assert logins.identify(token) is None


def test_wrong_passwords_have_to_wait_ever_longer(tmp_path: Path) -> None:
    with site(tmp_path, ("Ada", "operator")) as here:
        clock = [0.0]
        logins = Logins(here.logins.users, lambda: clock[0])
        for _ in range(5):
            with pytest.raises(CommandError, match="name or password is wrong"):
                logins.sign_in("Ada", "not it at all", "a")
        with pytest.raises(CommandError, match="try again in 30 s"):
            logins.sign_in("Ada", PASSWORD, "a")
        assert logins.sign_in("Ada", PASSWORD, "another address"), "nobody else is kept out"
        clock[0] += 31
        assert logins.sign_in("Ada", PASSWORD, "a")
        noted = [(entry.who, entry.action) for entry in here.logins.users.audit(3)]
        assert noted == [("Ada", "signed in"), ("Ada", "signed in"), ("Ada", "gave a wrong password")]


def test_other_names_do_not_make_the_device_forget_wrong_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: an attacker who asks for a thousand people who are not there, and then again for Ada."""
    monkeypatch.setattr("edge.api.logins.fits", lambda stored, password: False)
    with site(tmp_path, ("Ada", "operator")) as here:
        logins = Logins(here.logins.users, lambda: 0.0)
        refused = []
        for name in (*["Ada"] * 6, *(f"nobody{number}" for number in range(1100)), "Ada"):
            with pytest.raises(CommandError) as error:
                logins.sign_in(name, "not it at all", "a")
            refused.append(str(error.value))
    assert "try again in 30 s" in refused[5]
    assert "try again in 30 s" in refused[-1]
    asked = sum("name or password is wrong" in one for one in refused)
    assert asked <= 30, "each password that is looked at costs the processor that reads"


def test_slips_over_a_day_at_one_screen_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.api.logins.fits", lambda stored, password: password == PASSWORD)
    with site(tmp_path, ("Ada", "operator"), ("Ben", "operator")) as here:
        clock = [0.0]
        logins = Logins(here.logins.users, lambda: clock[0])
        for _ in range(40):
            for name in ("Ada", "Ben"):
                with pytest.raises(CommandError, match="name or password is wrong"):
                    logins.sign_in(name, "not it at all", "screen")
            clock[0] += 1000
        for _ in range(40):
            with pytest.raises(CommandError, match="name or password is wrong"):
                logins.sign_in("Ada", "not it at all", "screen")
            assert logins.sign_in("Ada", PASSWORD, "screen")


def test_few_passwords_are_looked_at_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: sign-ins that take all of the server's threads: whoever is signed in would wait for them."""
    go, inside = threading.Event(), threading.Semaphore(0)

    def slow(stored: str | None, password: str) -> bool:
        inside.release()
        return go.wait(30)

    monkeypatch.setattr("edge.api.logins.fits", slow)
    with site(tmp_path, ("Ada", "operator")) as here, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(here.logins.sign_in, "Ada", PASSWORD, f"address {n}") for n in range(AT_A_TIME)]
        for _ in waiting:
            assert inside.acquire(timeout=30)
        with pytest.raises(CommandError, match="too many people sign in at this moment"):
            here.logins.sign_in("Ada", PASSWORD, "another")
        go.set()
        assert all(one.result(30) for one in waiting)
        assert here.logins.sign_in("Ada", PASSWORD, "another")


def test_a_network_is_never_somebody_at_the_device(tmp_path: Path) -> None:
    """Kind: rows of users that are gone while the page is served to a network."""
    with site(tmp_path) as here:
        assert here.logins.identify("") is not None
        assert Logins(here.logins.users, at_device=False).identify("") is None


def test_a_role_of_a_later_version_gives_no_right(tmp_path: Path) -> None:
    with site(tmp_path, ("Ada", "operator")) as here:
        here.logins.users.put(User("Ada", ("operator", "auditor"), HASH))
        seen = here.logins.identify(here.logins.sign_in("Ada", PASSWORD, "a"))
        assert seen is not None
        assert seen.rights == {"see", "scan"}
        here.logins.users.put(User("Ada", ("operator",), "no hash"))
        with pytest.raises(CommandError, match="name or password is wrong"):
            here.logins.sign_in("Ada", PASSWORD, "a")


@pytest.mark.parametrize(
    ("role", "command", "code"),
    [
        ("operator", {"command": "review", "sample": "K-1"}, 403),
        ("operator", {"command": "erase", "sample": "K-1"}, 403),
        ("reviewer", {"command": "erase", "sample": "K-1"}, 403),
        ("integrator", {"command": "review", "sample": "K-1"}, 403),
        ("reviewer", {"command": "review", "sample": "K-1"}, 409),
        ("integrator", {"command": "erase", "sample": "K-1"}, 409),
    ],
)
def test_a_role_may_what_it_may(tmp_path: Path, role: str, command: dict[str, str], code: int) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            await sign_in(client, "Ada")
            answer = await client.post("/api/v1/command", json={**command, "by": "Ada"})
            assert answer.status_code == code, answer.text
            other = await client.post("/api/v1/command", json={**command, "by": "Ben"})
            assert other.status_code == 403, "nobody commands in another's name"

    run(tmp_path, test, ("Ada", role))


@pytest.mark.parametrize("name", ["Jane", "Jane Doe", "O'Hara", "Müller"])
def test_a_code_that_looks_like_a_name_is_refused_and_not_kept(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(here: Site) -> None:
        async with here.client() as client:
            csrf = csrf_in((await client.get("/")).text)
            refused = await client.post("/scan/start", data={"csrf": csrf, "sample": name})
            assert refused.status_code == 409
            assert "looks like a name" in refused.text
            assert name not in refused.text
        assert name not in caplog.text
        stored = (tmp_path / "sicklescope.sqlite3").read_bytes() + (tmp_path / "sicklescope.sqlite3-wal").read_bytes()
        assert name.encode() not in stored

    run(tmp_path, test)


LONG_NAME = "Jane-Doe-1980-" * 6
"""Longer than a code may be, as a barcode of somebody else's system can be, and with a number in it."""


@pytest.mark.parametrize(
    ("path", "field", "given"),
    [
        ("/scan/start", "sample", LONG_NAME),
        ("/scan/start", "sample", "Jane-Doe-1980\x1f7"),
        (f"/scan/discard/{LONG_NAME}", "reason", "dropped"),
        (f"/scan/reopen/{LONG_NAME}", "reason", "more cells"),
        ("/samples/K-1/review", "class", LONG_NAME * 3),
        ("/samples/K-1/review", "cell", LONG_NAME),
        ("/samples/K-1/notes", "note", LONG_NAME * 9),
    ],
)
def test_what_no_form_takes_is_refused_and_not_repeated(
    tmp_path: Path, path: str, field: str, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Kind: a person's name in an error of the form, which is logged with what was typed."""

    async def test(here: Site) -> None:
        ended(here.device.lifecycle, "K-1")
        async with here.client() as client:
            refused = await press(client, path, **{field: given, "seen": "0.0.0", "reading": "first"})
            assert refused.status_code in (303, 400, 404, 409), refused.text
            assert "Jane" not in refused.text
        assert "Jane" not in caplog.text

    run(tmp_path, test)


def test_a_reason_with_a_tab_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Site) -> None:
        sample = ended(here.device.lifecycle, "K-1")
        async with here.client() as client:
            seen = version_of(here.device.lifecycle.database, sample)
            done = await press(client, f"/scan/discard/{sample.id}", reason="dropped\t\x07by me", seen=seen)
            assert done.status_code == 303, done.text
        assert here.device.lifecycle.store.find(sample.id).reason == "dropped by me"

    run(tmp_path, test)


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.from_regex(r"[/\\:.@%a-z?#]{0,30}", fullmatch=True))
def test_nobody_is_led_away_after_signing_in(text: str) -> None:
    target = safe_target(text)
    assert urlsplit(urljoin("https://device/login", target)).netloc == "device"
    assert target.isascii()


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("device")) as here:
        yield here


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=40))
@settings(max_examples=60)
def test_no_path_leads_out_of_the_pages_own_files(open_site: Site, name: str) -> None:
    async def test() -> None:
        async with open_site.client() as client:
            for way in (f"/static/{name}", f"/static/..%2f{name}", f"/samples/{name}", f"/api/v1/samples/{name}"):
                try:
                    answer = await client.get(way)
                except httpx.InvalidURL:
                    continue
                assert answer.status_code in (200, 303, 400, 404), (way, answer.text)

    asyncio.run(test())


def test_users_are_made_on_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    def told(*words: str, said: str = "") -> tuple[int, str]:
        environ = {"SICKLESCOPE_DEVICE__STATE_DIR": str(tmp_path)}
        done = CliRunner().invoke(command_line, ["user", *words], input=said, env=environ)
        return done.exit_code, done.output

    assert told("add", "Ada", "--role", "reviewer", said="short\n")[0] == 2
    assert told("add", "Ada", "--role", "nurse", said=f"{PASSWORD}\n")[0] == 8
    assert told("add", "Ada", "--role", "reviewer", "--role", "operator", said=f"{PASSWORD}\n")[0] == 0
    assert told("list") == (0, "Ada: reviewer, operator\n")
    assert told("remove", "Ada")[0] == 8, "the last one stays"
    assert told("add", "Ben", "--role", "integrator", said=f"{PASSWORD}\n")[0] == 0
    assert told("remove", "Ada") == (0, "Ada is removed\n")
    stored = (tmp_path / "sicklescope.sqlite3").read_bytes()
    assert PASSWORD.encode() not in stored
    assert json.dumps(PASSWORD) not in str(stored)


def test_a_person_sees_no_fraction_while_a_sample_is_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody shall stop at a number that they like; a program on the socket is told what the broker is told."""
    verdict = assess(_counts(), VerdictRules(500, 1000, 0.01))
    monkeypatch.setitem(IDLE, "verdict", asdict(verdict))

    async def test(here: Site) -> None:
        async with here.client() as client:
            told = (await client.get("/api/v1/state")).json()["verdict"]
            assert told["red_cells"] == 1000
            assert (told["fraction"], told["above_blank"]) == (None, None)
            assert "%" not in told["text"]
        transport = httpx.ASGITransport(application(here.device))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as program:
            assert (await program.get("/api/v1/state")).json()["verdict"]["fraction"] == 0.1

    run(tmp_path, test)


def _counts() -> Counts:
    by_class = {**dict.fromkeys(CLASSES, 0), "normal": 900, "sickle": 100}
    return Counts(by_class, {"border": 0, "abstained": 0}, {}, 1000, 9, 0.1)
