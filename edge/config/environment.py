"""What this process was started with: variables of the environment, and what systemd hands over. Nothing else reads it.

`edge.config.loader` puts the values over those of the file.
"""

from __future__ import annotations

import difflib
import getpass
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import ConfigError

ENV_PREFIX = "SICKLESCOPE_"
ENV_FILE = "SICKLESCOPE_CONFIG"
ENV_RESERVED = (ENV_FILE, "SICKLESCOPE_DATA")
"""Variables with the prefix that are not values of the configuration."""

SHOWN_CHARACTERS = 80
"""Of a name or value in a message."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What systemd asks of this process.

    notify_socket: where it wants to be told (sd_notify(3)); None: it does not.

    watchdog_s: it ends a process that says nothing for so long; None: never. journal: stderr goes to the journal.
    """

    notify_socket: str | None = None
    watchdog_s: float | None = None
    journal: bool = False


def supervisor(environ: Mapping[str, str] = os.environ) -> Supervisor:
    """Read what systemd set.

    NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM (systemd.exec(5)).
    """
    ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    usec = environ.get("WATCHDOG_USEC", "") if ours else ""
    stderr = os.fstat(sys.__stderr__.fileno()) if sys.__stderr__ is not None else None
    return Supervisor(
        notify_socket=environ.get("NOTIFY_SOCKET") or None,
        watchdog_s=int(usec) / 1e6 if usec.isdecimal() else None,
        journal=stderr is not None and environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}",
    )


def person() -> str:
    """Return the login name of who gives a command, also behind sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def set_defaults(values: Mapping[str, str]) -> None:
    """Set variables that a library and its processes will read.

    Those that are set stay.
    """
    for name, value in values.items():
        os.environ.setdefault(name, value)


def merge_credentials(
    values: dict[str, Any], sources: dict[str, str], environ: Mapping[str, str], secrets: Iterable[str]
) -> None:
    """Put the secrets that systemd handed over (LoadCredential=) over the file's, in place.

    An empty one is none.

    secrets: the dotted names that may be given so; each is the name of a file in $CREDENTIALS_DIRECTORY.
    Raises ConfigError for one that cannot be read.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for name in secrets if folder else ():
        path = Path(str(folder), name)
        if not path.is_file():
            continue
        try:
            secret = path.read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ConfigError(f"credential {name} cannot be read: {type(error).__name__}. Expected UTF-8") from error
        if secret and _put(values, name, secret):
            sources[name] = f"credential {name}"


def merge_environment(
    values: dict[str, Any], sources: dict[str, str], environ: Mapping[str, str], names: Iterable[str]
) -> Iterator[str]:
    """Put the environment's values over the others, in place.

    Gives a line for each variable that means nothing.
    """
    known = {ENV_PREFIX + name.upper().replace(".", "__"): name for name in names}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable in ENV_RESERVED:
            continue
        if variable not in known:
            name = plain(variable)
            nearest = difflib.get_close_matches(name, [*known, *ENV_RESERVED], n=1, cutoff=0.0)[0]
            yield f"environment variable {name} means nothing; nearest valid name: {nearest}"
        elif _put(values, known[variable], environ[variable]):
            sources[known[variable]] = f"environment {variable}"


def _put(values: dict[str, Any], name: str, value: str) -> bool:
    """Set a value by its dotted name; False where the file has no table there, which validation reports."""
    *tables, key = name.split(".")
    table = values
    for part in tables:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return False
        table = inner
    table[key] = value
    return True


def plain(name: str) -> str:
    """Return a name as it can stand in a message, on one line and not too long.

    TOML and the environment allow any.
    """
    return cut(name if name.isprintable() else repr(name)[1:-1])


def cut(text: str) -> str:
    """Return the beginning of a text, marked where something is left out."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
