"""What `sicklescope support` writes: a text for whoever helps, with nothing of a patient, a sample or a person in it.

Each part is gathered for itself, so that a dead service, a damaged database or a wrong configuration costs that part.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from datetime import datetime, timezone
from importlib.metadata import distributions, version
from pathlib import Path
from urllib.parse import quote

from edge.api import client
from edge.config.loader import load, rendered
from edge.config.model import Config
from edge.errors import EdgeError
from edge.runtime.contract import ROLES
from edge.runtime.model_store import ModelStore
from edge.storage.database import database_path
from edge.system.clock import boot_id, clock_synchronised
from edge.system.health import existing, free_mb
from edge.system.owner import become_owner
from edge.system.redaction import redacted

UNIT = "sicklescope.service"

LONGEST_CHARACTERS = 100_000
"""Of a part; of a longer one the end is kept."""

LOG_LINES = 1000
"""Of the log."""

TOOL_S = 60.0
"""How long a program that is asked may take."""

STATE_KEYS = (
    "state", "connected", "connection", "results_waiting", "results_refused", "results_unheard", "camera_problem",
    "storage_problem",
)  # fmt: skip
"""Of what a running service answers: nothing of the sample."""


NAMING = ("code", "by", "name", "who")
"""Columns that name a sample or a person."""


def parts(path: Path | None) -> Iterator[str]:
    """Give the text part by part: with root's rights first, then as the service's user."""
    yield _part("versions", _versions)
    log = _tried(_log)[-LONGEST_CHARACTERS:]
    try:
        loaded = load(path)
    except EdgeError as error:
        yield _part("configuration", lambda error=error: redacted(str(error)))  # type: ignore[misc]
        yield _part("unit", _unit)
        yield _part("log", lambda: redacted(log))
        return
    settings = loaded.config
    become_owner(settings.device.state_dir)
    names = _names(settings)
    # A password may stand in an address.
    yield _part("configuration", lambda: re.sub(r"//[^/@\s\"]+@", "//…@", rendered(loaded)))
    yield _part("service", lambda: json.dumps(_service(settings, names), indent=1, ensure_ascii=False))
    yield _part("unit", lambda: _unit(names))
    yield _part("doctor", lambda: _without(_doctor(path), names))
    yield _part("database", lambda: "\n".join(_database(settings)))
    yield _part("models", lambda: "\n".join(_models(settings)))
    yield _part("log", lambda: redacted(log, names))


def _part(name: str, gather: Callable[[], str]) -> str:
    return f"== {name}\n{_tried(gather)[-LONGEST_CHARACTERS:]}\n\n"


def _tried(gather: Callable[[], str]) -> str:
    """Return a text, or why there is none."""
    try:
        return gather()
    except (EdgeError, OSError, ValueError, sqlite3.Error, subprocess.SubprocessError) as error:
        return f"could not be gathered: {type(error).__name__}: {redacted(str(error))}"


def _versions() -> str:
    packages = sorted({f"{found.name} {found.version}" for found in distributions()}, key=str.lower)
    release = platform.freedesktop_os_release() if sys.platform == "linux" else {}
    clock = "synchronised" if clock_synchronised() else "not known to be synchronised"
    return "\n".join((
        f"sicklescope {version('sicklescope')}",
        f"made {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}, clock {clock}, boot {boot_id()}",
        f"{release.get('PRETTY_NAME', platform.system())}, kernel {platform.release()}, {platform.machine()}",
        f"Python {platform.python_version()} in {sys.prefix}, user {os.geteuid()}",
        *packages,
    ))  # fmt: skip


def _tool(*line: str) -> str:
    """Return what a program says, and its exit code where it fails."""
    done = subprocess.run(  # noqa: S603 - no shell, and nothing of the line comes from outside
        line, capture_output=True, text=True, errors="replace", timeout=TOOL_S, check=False,
        env={**os.environ, "COLUMNS": "160", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    failed = f"{Path(line[0]).name} ended with exit code {done.returncode}\n" if done.returncode else ""
    return failed + done.stdout + (done.stderr if failed else "")


def _log() -> str:
    """Return the newest lines of the journal, without the machine's name."""
    text = _tool("journalctl", "--unit", UNIT, "--lines", str(LOG_LINES), "--output", "json", "--no-pager")
    lines = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, timezone.utc)
        except (ValueError, KeyError, TypeError):
            lines.append(line)
            continue
        lines.append(f"{at:%Y-%m-%d %H:%M:%S} {entry.get('PRIORITY', '')} {entry.get('MESSAGE', '')}")
    return "\n".join(lines) or "empty. Only root, or a member of the group systemd-journal, may read it: use sudo"


def _unit(names: Collection[str] = ()) -> str:
    shown = ("ActiveState", "SubState", "StatusText", "NRestarts", "Result", "ExecMainStatus", "ActiveEnterTimestamp")
    text = _tool("systemctl", "show", UNIT, "--property", ",".join(shown))
    return re.sub("(?<=StatusText=).*", lambda found: redacted(found[0], names), text)


def _doctor(path: Path | None) -> str:
    """Return what `doctor` says, in a process of its own: whatever a driver does, this file is written."""
    program = str(Path(sys.executable).with_name("sicklescope"))
    return _tool(program, "doctor", *(["--config", str(path)] if path else []))


def _without(text: str, names: set[str]) -> str:
    """Return the text without these names: it says nothing of samples but what the database may hold."""
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _service(config: Config, names: set[str]) -> dict[str, object]:
    found = client.state(config.device.state_dir)
    return {key: redacted(value, names) if isinstance(value := found.get(key), str) else value for key in STATE_KEYS}


def _opened(config: Config) -> sqlite3.Connection:
    """Open the database to read, which changes nothing and waits for nobody."""
    path = database_path(config)
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=0.5)


def _names(config: Config) -> set[str]:
    """Return the codes of samples and the names of people that the database holds, as far as it can be read."""
    names: set[str] = set()
    query = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE c.name IN (?, ?, ?, ?)"
    try:
        with closing(_opened(config)) as database:
            for table, column in database.execute(query, NAMING).fetchall():
                names |= {str(row[0]) for row in database.execute(f'SELECT DISTINCT "{column}" FROM "{table}"')}  # noqa: S608
    except sqlite3.Error:
        pass  # what is not known is found by what it is not
    return names - {"device", ""}


def _database(config: Config) -> Iterator[str]:
    """Give sizes and numbers of rows; an error of SQLite is the last line."""
    folder = config.device.state_dir
    yield f"{free_mb(folder):,.0f} MB free for {existing(folder)}"
    for file in sorted(folder.glob("*")):
        found = file.stat()
        yield f"{file.name}: {found.st_size} bytes, mode {found.st_mode & 0o777:o}, user {found.st_uid}"
    try:
        with closing(_opened(config)) as database:
            for what, query in (
                ("version", "PRAGMA user_version"),
                ("outbox", "SELECT kind, state, COUNT(*), SUM(LENGTH(payload)) FROM outbox GROUP BY 1, 2"),
                ("samples", "SELECT state, COUNT(*) FROM samples GROUP BY 1"),
                ("results", "SELECT COUNT(*) FROM results"),
                ("pictures", "SELECT COUNT(*), SUM(LENGTH(jpeg)) FROM crops"),
                ("check", "PRAGMA quick_check(20)"),
            ):
                for row in database.execute(query):
                    yield f"{what}: {', '.join(map(str, row))}"
    except sqlite3.Error as error:
        yield f"{type(error).__name__}: {error}"


def _models(config: Config) -> Iterator[str]:
    store = ModelStore(config.device.state_dir)
    bundle = store.bundle()
    yield f"bundle: {bundle.in_words if bundle else 'none'}"
    for role in ROLES:
        history = store.history(role)
        yield f"{role}: {history.stack[-1]} of {Counter(one.name for one in history.installed)}"
        for choice in history.choices[-20:]:
            yield f"  {choice.at:%Y-%m-%d %H:%M} {choice.action} {choice.model}"
