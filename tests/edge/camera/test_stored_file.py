"""Pictures of an object store: read as those of a folder are, and told one by one where the store fails."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fsspec
import pytest

from edge.batch.reading.journal import unit_of
from edge.batch.reading.ray_actor import fetch
from edge.batch.scan import scan, scan_folders
from edge.camera import stored_file
from edge.camera.stored_file import StoredFile, path_of
from edge.config.model import Config
from edge.errors import InputError
from tests.edge.batch.test_scan import lines, smear, video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    for slide in ("a", "b"):
        (folder / slide).mkdir(parents=True)
        cv2.imwrite(str(folder / slide / "field1.png"), smear(ord(slide)))
    cv2.imwrite(str(folder / "a" / "copy.jpg"), smear(ord("a")))
    video(folder / "a" / "film.avi", 2)
    (folder / "b" / "torn.jpg").write_bytes(b"no picture")
    (folder / "b" / ".hidden.png").write_bytes(b"hidden")
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Any]:
    """Put the folder into a store: the memory of this process, as fsspec has it."""
    store = fsspec.filesystem("memory")
    store.put(str(folder), "/", recursive=True)
    yield store
    store.rm("/archive", recursive=True)


def test_a_store_gives_what_its_folder_gives(store: Any, folder: Path, tmp_path: Path) -> None:
    """Stores of which files are left out otherwise, copies are not found, or films not read."""
    near = scan_folders([folder], tmp_path / "near", Config(), no_quality_gate=True)
    far = scan_folders(["memory://archive"], tmp_path / "far", Config(), no_quality_gate=True)
    for one, other in zip(near.samples, far.samples, strict=True):
        assert one.out_dir.name == other.out_dir.name
        assert one.summary.left_out == other.summary.left_out
        assert one.summary.verdict == other.summary.verdict
        text = (one.out_dir / "fields.jsonl").read_text().replace(str(folder), "memory://archive")
        assert text == (other.out_dir / "fields.jsonl").read_text()
    assert any(line["copy_of"] == "memory://archive/a/field1.png" for line in lines(far.samples[0].out_dir))


def test_what_does_not_answer_in_time_is_unread_and_the_rest_is_read(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores that hang: named, counted, nothing else stops, and `--resume` asks again."""
    monkeypatch.setattr(stored_file, "ANSWER_S", 0.2)
    over, real = threading.Event(), type(store).cat_file

    def cat_file(self: Any, path: str, *rest: Any, **options: Any) -> Any:
        if path.endswith("b/field1.png"):
            over.wait(60)
        return real(self, path, *rest, **options)

    monkeypatch.setattr(type(store), "cat_file", cat_file)
    summary = scan(["memory://archive"], tmp_path / "out", Config(), no_quality_gate=True, keep_duplicates=True)
    causes = {line["image"]: line["rejected"]["cause"] for line in lines(tmp_path / "out") if line["rejected"]}
    assert causes["memory://archive/b/field1.png"] == "the store memory:// did not answer in time (0.2 s)"
    assert (summary.complete, summary.inputs_done) == (False, summary.inputs - 1)
    assert summary.rejected["unreadable"] == 2
    assert summary.fields_read >= 2
    over.set()
    asked: dict[str, Any] = {"no_quality_gate": True, "keep_duplicates": True}
    again = scan(["memory://archive"], tmp_path / "out", Config(), resume=True, **asked)
    assert again.complete
    scan(["memory://archive"], tmp_path / "whole", Config(), **asked)
    assert (tmp_path / "out/fields.jsonl").read_bytes() == (tmp_path / "whole/fields.jsonl").read_bytes()


def test_a_place_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"memory://nowhere not found"):
        scan(["memory://nowhere"], Path("out"), Config())
    with pytest.raises(InputError, match="copy it to the store afterwards"):
        scan([folder], Path("s3://archive/results"), Config())
    with pytest.raises(InputError, match="must be a store that fsspec knows"):
        scan(["nosuch://archive"], Path("out"), Config())


def test_what_is_fetched_travels_with_the_path(store: Any) -> None:
    """Readers on other computers: bytes, or why there are none, come with the unit and are not asked for again."""
    there, gone = path_of("memory://archive/a/field1.png"), StoredFile("memory://archive/gone.png")
    units = [unit_of([path], each_cell_once=False) for path in (there, gone)]
    rows = fetch({"sample": [0, 0], "unit": [pickle.dumps(unit) for unit in units]})
    fetched = [pickle.loads(data) for data in rows["unit"]]  # noqa: S301 - our own
    assert [unit.key for unit in fetched] == [unit.key for unit in units]
    store.rm("/archive/a/field1.png")
    assert fetched[0].files[0].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OSError, match="no such file"):
        fetched[1].files[0].read_bytes()
    store.pipe_file("/archive/a/field1.png", b"")
