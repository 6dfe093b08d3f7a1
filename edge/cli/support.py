"""`sicklescope support`: one text file for whoever helps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import StorageError
from edge.system.atomic_files import storage_errors
from edge.system.console import ConfigPath, answering


def support(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text file that is not there yet.")],
    config: ConfigPath = None,
) -> None:
    """Write versions, configuration, doctor, state and log to a file for whoever helps.

    Without secrets, pictures, sample codes and names.
    """
    with answering():
        from edge.diagnosis.support_text import parts

        if file.exists():
            raise StorageError(f"{file} is there already and is not overwritten. Give the name of a new file")
        with storage_errors(file):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target, storage_errors(file):
            for text in parts(config):
                target.write(text)
        typer.echo(f"{file}: {file.stat().st_size / 1e3:.0f} kB of text. Read it before you send it")
