"""Pictures of a real S3 server over HTTP (moto), by s3fs: read as those of a folder are; it may go away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from edge.batch.scan import scan, scan_folders
from edge.camera import stored_file
from edge.config.model import Config
from tests.edge.batch.test_scan import lines, smear

SLIDES = {"a": 2, "b": 2}

ASKED: dict[str, Any] = {"no_quality_gate": True, "keep_duplicates": True}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """Start an S3 server, to which the environment points."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield server
    server.stop()


@pytest.fixture
def folder(server: ThreadedMotoServer, tmp_path: Path) -> Path:
    """Make a folder of two slides, and put it into the bucket `archive`."""
    folder = tmp_path / "slides"
    for slide, fields in SLIDES.items():
        (folder / slide).mkdir(parents=True)
        for number in range(fields):
            cv2.imwrite(str(folder / slide / f"field{number}.png"), smear(ord(slide) + 10 * number))
    store = fsspec.filesystem("s3")
    store.makedirs("archive", exist_ok=True)  # moto keeps it from test to test
    store.put(str(folder), "archive/", recursive=True)
    return folder


def test_a_bucket_gives_what_its_folder_gives(folder: Path, tmp_path: Path) -> None:
    near = scan_folders([folder], tmp_path / "near", Config(), **ASKED)
    far = scan_folders(["s3://archive/slides"], tmp_path / "far", Config(), **ASKED)
    assert far.complete
    for one, other in zip(near.samples, far.samples, strict=True):
        assert one.summary.verdict == other.summary.verdict
        text = (one.out_dir / "fields.jsonl").read_text().replace(str(folder), "s3://archive/slides")
        assert text == (other.out_dir / "fields.jsonl").read_text()


def test_a_server_that_goes_away_is_told_and_asked_again(
    server: ThreadedMotoServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails for an hour: its pictures must not stay unread for good."""
    monkeypatch.setattr(stored_file, "ANSWER_S", 20.0)
    _, port = server.get_host_and_port()
    read: list[int] = []

    def report(what: str, done: int, total: int) -> None:
        if what.startswith("reading") and not read:
            read.append(done)
            server.stop()

    summary = scan(["s3://archive/slides"], tmp_path / "out", Config(), report=report, **ASKED)
    assert (summary.complete, summary.inputs_done, summary.rejected["unreadable"]) == (False, 1, 3)
    for line in lines(tmp_path / "out")[1:]:
        assert line["rejected"]["cause"].startswith("the store s3://")
    returned = ThreadedMotoServer("127.0.0.1", port=port, verbose=False)
    returned.start()
    resumed = scan(["s3://archive/slides"], tmp_path / "out", Config(), resume=True, **ASKED)
    returned.stop()
    assert (resumed.complete, resumed.rejected["unreadable"]) == (True, 0)
