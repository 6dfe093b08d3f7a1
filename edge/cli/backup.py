"""`sicklescope backup` and `restore`: the database in one file, and back, on this device or its replacement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.config.loader import load, rendered, secrets
from edge.errors import CommandError
from edge.system.atomic_files import storage_errors
from edge.system.console import ConfigPath, answering, err


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Replaced when it is there.")], config: ConfigPath = None
) -> None:
    """Copy what a replacement device needs to a file, also while the service runs.

    Samples, results, own models, configuration and optics calibration; no secret.
    """
    with answering():
        loaded = load(config)
        from edge.storage.carried import of_a_device
        from edge.storage.database import Database, database_path

        device, optics = loaded.config.device, loaded.config.optics
        with Database(database_path(loaded.config)) as database, storage_errors(file):
            database.backup(file, of_a_device(device.state_dir, f"{rendered(loaded)}\n", optics.calibration))
        typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB. To go back: stop the service, and "
                   f"`sicklescope restore {file}`")  # fmt: skip


def restore(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `sicklescope backup` wrote.")] = None,
    before_upgrade: Annotated[
        Path | None,
        typer.Option(
            "--before-upgrade", metavar="RESULTS", help="Put back the copy from before the newest upgrade instead; "
            "the results made since are written to this file, one JSON object a line.",
        ),
    ] = None,
    config: ConfigPath = None,
) -> None:  # fmt: skip
    """Put a backup in the place of the database, while no service runs.

    The database before is kept.
    """
    with answering():
        loaded = load(config)
        from edge.storage import backup as copies
        from edge.storage.database import database_path

        path = database_path(loaded.config)
        if file is None and before_upgrade is not None:
            kept, results = copies.undo_upgrade(path, before_upgrade)
            typer.echo(f"{path} is as it was before the upgrade. {results} results made since are in {before_upgrade}; "
                       f"the database before is {kept}")  # fmt: skip
            return
        if file is None or before_upgrade is not None:
            raise CommandError("expected either FILE or --before-upgrade RESULTS")
        done = copies.restore(path, file)
        typer.echo(f"{path}: {done.samples} samples, {done.pending} results that wait for the broker"
                   + (f". The database before is {done.kept}" if done.kept else ""))  # fmt: skip
        if done.files:
            typer.echo(f"With it came {', '.join(done.files)} in {path.parent}. Copy the configuration to its place; "
                       f"secrets are not in a backup, give them anew: {', '.join(secrets())}")  # fmt: skip
        device = f"{loaded.config.device.site}/{loaded.config.device.device}"
        if done.devices and done.devices != (device,):
            err.print(
                f"the backup is of {', '.join(done.devices)}; this device is {device}. A replacement takes over "
                "device.site and device.device of the one it replaces",
                markup=False,
                highlight=False,
            )
