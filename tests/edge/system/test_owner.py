"""Another user's files: root, or somebody else, is told whom to be, and leaves nothing that locks the service out."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE

import pytest
from typer.testing import CliRunner

from edge.cli.main import app
from edge.errors import StorageError
from edge.storage.database import Database
from edge.system.lock import exclusive
from edge.system.owner import become_owner

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize(
    "command", [["sample", "list"], ["backup", "copy"], ["control", "list"], ["run", "--frames", "1"]]
)
def test_root_is_told_whom_to_be_and_leaves_no_file(tmp_path: Path, command: list[str]) -> None:
    """Kind: files of the wrong owner. 0.6.0 made files of root's, and the service could not open them."""
    state, config = tmp_path / "state", tmp_path / "sicklescope.toml"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    config.write_text('[device]\nstate_dir = "state"\n[mqtt]\nenabled = false\n[camera]\nkind = "virtual"\n')
    result = CliRunner().invoke(app, [*command, "--config", str(config)])
    assert result.exit_code == StorageError.exit_code, result.output
    assert "sudo -u nobody sicklescope" in " ".join(result.output.split())
    assert not list(state.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_whose_the_folder_is(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    here = os.open(tmp_path, os.O_DIRECTORY)  # which lies in folders that the other user may not enter
    child = os.fork()
    if not child:
        try:
            become_owner(tmp_path)
            os.close(os.open("made", os.O_CREAT, dir_fd=here))
            os._exit(0 if os.getresuid() == (NOBODY,) * 3 and 0 not in os.getgroups() else 1)
        finally:
            os._exit(1)
    os.close(here)
    assert os.waitpid(child, 0)[1] == 0
    assert tmp_path.joinpath("made").stat().st_uid == NOBODY


def test_ones_own_folder_is_as_ever(tmp_path: Path) -> None:
    with exclusive(tmp_path), Database(tmp_path / "a.sqlite3"):
        pass


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o640), (0o600, 0o600), (0o666, 0o640)])
def test_nobody_else_can_read_the_database_and_its_log(tmp_path: Path, before: int | None, after: int) -> None:
    """Kind: data of patients that every user of the machine can read. 0.6.0 left 0644 outside systemd."""
    path = tmp_path / "a.sqlite3"
    if before is not None:
        Database(path).close()
        path.chmod(before)
    with Database(path) as database:
        database.write("CREATE TABLE more (x)")
        log = path.with_name(path.name + "-wal")
        assert [S_IMODE(one.stat().st_mode) for one in (path, log)] == [after, after]
