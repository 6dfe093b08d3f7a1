"""The password of a key: from the environment, a file or a prompt, and never from the command line."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError, InputError

PASSWORD_MIN = 12
"""Characters; whoever copies the key may try as many passwords as they like."""


def password(variable: str, file: Path | None, new: bool = False, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the password of a key.

    Args:
        variable: of the environment, which goes before a prompt.
        file: whose first line is it; goes before all.
        new: it is being chosen: it is asked for twice, and may not be short.
        environ: the environment.

    Raises:
        ConfigError: There is none, and nobody to ask.
        InputError: The file cannot be read, the two differ, or it is too short.
    """
    if file is not None:
        try:
            found = file.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read: {error}. Expected a text file with the password") from error
    elif environ.get(variable):
        found = environ[variable]
    elif sys.stdin.isatty():
        found = getpass.getpass("Password of the key: ")
        if new and getpass.getpass("Once more: ") != found:
            raise InputError("the two passwords differ. Nothing was made")
    else:
        raise ConfigError(f"no password of the key: set {variable}, give --password-file, or run it in a terminal")
    if new and len(found) < PASSWORD_MIN:
        raise InputError(f"the password has {len(found)} characters; expected at least {PASSWORD_MIN}")
    return found.encode()
