"""Files that a backup carries beside its rows: a laboratory's own models, configuration and optics calibration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge.storage.database import Database
from edge.system.atomic_files import aside, move, storage_errors

BUNDLES = "models/bundles.json"

MODELS = re.compile(rf"{re.escape(BUNDLES)}|models/(?:detector|classifier)/(?:[0-9a-f]{{64}}\.onnx|history\.json)")
"""Names of the files of installed models; no other is put among the device's own."""

CONFIGURATION, CALIBRATION = "sicklescope.toml", "optics-calibration.json"

RESTORED = "restored"
"""Folder in the state folder for what a person puts in its place: the configuration is root's."""


def of_a_device(state_dir: Path, configuration: str, calibration: Path | None) -> Iterator[tuple[str, bytes]]:
    """Give name and content of all that a replacement device needs beside the database.

    Args:
        state_dir: of the device.
        configuration: what is in force, as TOML, without secrets.
        calibration: of its optics, if there is one.
    """
    yield CONFIGURATION, configuration.encode()
    if calibration is not None and calibration.is_file():
        yield CALIBRATION, calibration.read_bytes()
    for path in sorted([*(state_dir / "models").glob("*/*"), state_dir / BUNDLES]):
        name = path.relative_to(state_dir).as_posix()
        if MODELS.fullmatch(name) and path.is_file():
            yield name, path.read_bytes()


def unpack(database: Database, state_dir: Path) -> list[str]:
    """Take the carried files out of a restored database; return which were written.

    By their names in `state_dir`. A model that is there already stays; another list of models is replaced.
    """
    if not database.read("SELECT 1 FROM sqlite_master WHERE name = 'carried'"):
        return []
    written = []
    # The list of bundles last: it names models that have to be there.
    for (name,) in database.read("SELECT name FROM carried ORDER BY name = ?, name", BUNDLES):
        inside = name if MODELS.fullmatch(name) else f"{RESTORED}/{name}"
        if inside == name or name in (CONFIGURATION, CALIBRATION):
            ((content,),) = database.read("SELECT content FROM carried WHERE name = ?", name)
            _write(state_dir / inside, content)
            written.append(inside)
    database.write("DROP TABLE carried")
    database.read("VACUUM")
    return written


def _write(path: Path, content: bytes) -> None:
    if path.suffix == ".onnx" and path.exists():
        return
    with aside(path.parent) as folder:
        with storage_errors(path):
            (folder / path.name).write_bytes(content)
            (folder / path.name).chmod(0o600)
        move(folder / path.name, path)
