"""A database can go back: before an upgrade it is copied, a rollback puts the copy back, a replacement takes it over.

Kind: a step forward that cannot be taken back. 0.6.0 refused a newer database, and nothing kept the old one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copy, copytree, rmtree

import pytest
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.config.loader import load
from edge.runtime.model_store import ModelStore
from edge.storage.database import Database, kept_copies
from edge.storage.migrations import MIGRATIONS
from edge.system.lock import exclusive

OLD = Path(__file__).parents[2] / "fixtures" / "v0_6_0" / "sicklescope.sqlite3"
OLD_VERSION = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the database of 0.6.0, in the state folder of a configured device."""
    (tmp_path / "sicklescope.toml").write_text('[device]\nsite = "lab"\ndevice = "one"\nstate_dir = "state"\n')
    (tmp_path / "state").mkdir()
    return Path(copy(OLD, tmp_path / "state"))


def command(path: Path, *arguments: object) -> Result:
    line = [*map(str, arguments), "--config", str(path.parents[1] / "sicklescope.toml")]
    return CliRunner().invoke(app, line)


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def add_result(path: Path, number: int) -> None:
    with Database(path) as database:
        ((sample,),) = database.read("SELECT id FROM samples WHERE code = 'S-2'")
        database.write(
            "INSERT INTO results (id, sample_id, revision, payload) VALUES (?, ?, ?, ?)",
            f"later-{number}", sample, number, json.dumps({"sample": "S-2", "site": "lab", "device": "one"}),
        )  # fmt: skip


def test_an_upgrade_keeps_the_database_of_before(path: Path) -> None:
    Database(path).close()
    assert version(path) == len(MIGRATIONS)
    (kept,) = kept_copies(path)
    assert version(kept) == OLD_VERSION
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(OLD)) as original:
        assert list(old.iterdump()) == list(original.iterdump())
    Database(path).close()
    assert kept_copies(path) == [kept], "kept once"


def test_a_rollback_puts_it_back_and_writes_what_was_made_since(path: Path) -> None:
    add_result(path, 7)
    done = command(path, "restore", "--before-upgrade", path.parent / "since.jsonl")
    assert done.exit_code == 0, done.output
    assert version(path) == OLD_VERSION
    (line,) = (path.parent / "since.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["sample"] == "S-2"
    (newer,) = path.parent.glob("*.kept-*")
    assert version(newer) == len(MIGRATIONS)
    assert not list(path.parent.glob("*-wal"))
    add_result(path, 8)  # and it can be upgraded again
    assert version(path) == len(MIGRATIONS)


def test_a_backup_takes_the_place_of_another_device_with_all_that_waits(path: Path, tmp_path: Path) -> None:
    assert command(path, "backup", tmp_path / "copy.sqlite3").exit_code == 0
    path.unlink()
    for rest in path.parent.iterdir():
        rest.unlink()
    done = command(path, "restore", tmp_path / "copy.sqlite3")
    assert done.exit_code == 0, done.output
    assert "4 samples, 4 results that wait" in " ".join(done.output.split())
    assert "S-4" in command(path, "sample", "list").output


def test_a_backup_carries_models_configuration_and_calibration_and_no_secret(path: Path, tmp_path: Path) -> None:
    """Kind: a replacement that reads otherwise. A backup was the database alone."""
    config = path.parents[1] / "sicklescope.toml"
    secret, calibration = "hunter2hunter2", tmp_path / "optics.json"
    calibration.write_text('{"kind": "optics"}')
    text = f'[optics]\ncalibration = "{calibration}"\nobjective = "40x"\n[mqtt]\nusername = "scope-1"\n'
    text += f'password = "{secret}"\n'
    config.write_text(config.read_text("utf-8") + text, "utf-8")
    copytree(OLD.parent / "models", path.parent / "models")
    backup = tmp_path / "copy.sqlite3"
    umask = os.umask(0)
    try:
        done = command(path, "backup", backup)
    finally:
        os.umask(umask)
    assert done.exit_code == 0, done.output
    assert (backup.stat().st_mode & 0o777, secret.encode() in backup.read_bytes()) == (0o600, False)
    chosen = ModelStore(path.parent).chosen("classifier")
    models = {one.name: one.read_bytes() for one in path.parent.glob("models/*/*")}
    rmtree(path.parent)
    path.parent.mkdir()
    done = command(path, "restore", backup)
    assert done.exit_code == 0, done.output
    assert "mqtt.password" in done.output
    assert {one.name: one.read_bytes() for one in path.parent.glob("models/*/*")} == models
    assert chosen == ModelStore(path.parent).chosen("classifier") != None  # noqa: E711
    restored = path.parent / "restored"
    assert load(restored / "sicklescope.toml", {}).config.mqtt.username == "scope-1"
    assert (restored / "optics-calibration.json").read_text() == calibration.read_text()
    with Database(path) as database:
        assert not database.read("SELECT 1 FROM sqlite_master WHERE name = 'carried'")


@pytest.mark.parametrize("name", ["../evil", "models/detector/../../evil", "models/detector/x.onnx", "/evil", "evil"])
def test_a_backup_writes_no_file_but_those_it_may(path: Path, tmp_path: Path, name: str) -> None:
    with Database(path) as database:
        database.backup(tmp_path / "copy.sqlite3", [(name, b"evil")])
    assert command(path, "restore", tmp_path / "copy.sqlite3").exit_code == 0
    assert not [one for one in tmp_path.rglob("*") if "evil" in one.name or one.name == "x.onnx"]


def test_a_backup_replaces_no_device(path: Path, tmp_path: Path) -> None:
    """Kind: what is there is replaced whatever it is: given by root, a backup took the place of /dev/full."""
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", path.parent):
        done = command(path, "backup", target)
        assert (done.exit_code, "is no file" in " ".join(done.output.split())) == (7, True)
    assert (tmp_path / "pipe").is_fifo()


def test_a_backup_with_a_damaged_result_is_restored_with_it(path: Path, tmp_path: Path) -> None:
    """Kind: an unexpected exception in a command."""
    with Database(path) as database:
        database.write("UPDATE results SET payload = substr(payload, 2)")
        database.backup(tmp_path / "copy.sqlite3")
    done = command(path, "restore", tmp_path / "copy.sqlite3")
    assert done.exit_code == 0, done.output


def test_a_backup_of_another_device_is_named(path: Path) -> None:
    config = path.parents[1] / "sicklescope.toml"
    config.write_text(config.read_text("utf-8").replace('"one"', '"two"'), "utf-8")
    done = command(path, "restore", OLD)
    assert "of lab/one; this device is lab/two" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut", "is damaged"),
        ("bits", "is damaged"),
        ("empty", "is empty: it was not copied whole"),
        ("empty database", "is no file that `sicklescope backup` wrote"),
        ("text", "is no file that `sicklescope backup` wrote"),
        ("foreign", "is no file that `sicklescope backup` wrote"),
        ("newer", "was written by a newer sicklescope"),
        ("absent", "not found"),
    ],
)
def test_what_is_no_backup_leaves_all_as_it_is_and_is_named(path: Path, tmp_path: Path, damage: str, said: str) -> None:
    """Kind: a backup that did not come whole takes the database's place, or the message speaks of another file."""
    wrong = tmp_path / "wrong.sqlite3"
    data = OLD.read_bytes()
    contents = {
        "cut": data[:5000],
        "bits": data[:4096] + bytes(byte ^ (i % 50 == 0) for i, byte in enumerate(data[4096:])),
        "empty": b"",
        "text": b"not a database at all",
        "newer": data[:60] + (99).to_bytes(4, "big") + data[64:],
    }
    if damage in contents:
        wrong.write_bytes(contents[damage])
    elif damage != "absent":
        with closing(sqlite3.connect(wrong)) as other:
            other.execute("VACUUM" if damage == "empty database" else "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    done = command(path, "restore", wrong)
    assert done.exit_code == 7
    words = " ".join(done.output.split())
    assert said in words
    assert ".partial" not in words
    assert "device.state_dir" not in words
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.kept-*"))


def test_a_damaged_database_is_kept_with_its_log_and_replaced(path: Path) -> None:
    path.write_bytes(b"damaged" * 1000)
    path.with_name(path.name + "-wal").write_bytes(b"log")
    assert command(path, "restore", OLD).exit_code == 0
    assert "S-4" in command(path, "sample", "list").output
    assert {one.read_bytes()[:3] for one in path.parent.glob("*.kept-*")} == {b"dam", b"log"}


def test_nothing_is_restored_beside_a_service(path: Path) -> None:
    with exclusive(path.parent):
        done = command(path, "restore", OLD)
    assert done.exit_code != 0
    assert "another sicklescope runs" in " ".join(done.output.split())


def test_what_is_erased_is_erased_of_the_copies_too(path: Path) -> None:
    with Database(path) as database:
        database.forget()
    assert kept_copies(path) == []
