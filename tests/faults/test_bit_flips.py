"""One bit that changes on the disk, inside stored samples and results: nothing crashes, and nothing leaves altered."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from edge.config.model import Config
from edge.errors import DamagedSampleError, EdgeError, SampleError
from edge.sample.cell_records import CellChanges, LocatedCell
from edge.sample.commands import MissedCell, Review
from edge.sample.export import export
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.changes import answer, sign
from edge.sample.review.field_pictures import field_picture
from edge.sample.review.rows import answers
from edge.sample.sample_row import StoredSample
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from edge.types import CLASSES
from tests.edge.publish.publish_parts import composer, record
from tests.faults.parts import scaled, told

pytestmark = pytest.mark.faults

SETUP = json.dumps({"camera": "virtual", "detector_sha256": "d" * 64})


def cell(number: int, name: str) -> LocatedCell:
    return LocatedCell(
        number, 0, 1.5 * number, -2.0, 0, 0.8, name, tuple(0.9 if name == one else 0.02 for one in CLASSES)
    )


def said(cells: dict[int, str], reason: str = "") -> Review:
    return Review(command="review", sample="any", by="dr", reason=reason, cells=cells)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Give a database with a sample in review, with reviews, and one that is being scanned, all in one file."""
    path = tmp_path / "whole" / "sicklescope.sqlite3"
    cells = tuple(cell(number, "sickle" if number % 5 == 0 else "normal") for number in range(30))
    with Database(path) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        ended = lifecycle.start(record("ENDED-1"), SETUP, "nurse")
        found = lifecycle.record(ended)
        picture = field_picture(np.zeros((40, 60, 3), np.uint8), 0, 0.25, [], np.zeros((0, 4), np.float32))
        changes = CellChanges((), cells, (), {0: b"picture"}, picture=picture)
        ended = lifecycle.end(ended, found, [changes], "review", "").sample
        ended = answer(lifecycle, ended, said({5: "other", 10: "normal"}, "folded"))
        mark = MissedCell(field=0, x=0.5, y=0.5, class_name="sickle")
        ended = answer(lifecycle, ended, said({}, "overlooked").model_copy(update={"missed": [mark]}))
        scanned = lifecycle.start(record("SCANNED-1"), SETUP, "nurse")
        lifecycle.save(scanned, lifecycle.record(scanned), [CellChanges((), cells, (), {})])
        for row in Outbox(database).pending():
            Outbox(database).delete(row.id)
    return path


def regions(path: Path) -> list[tuple[int, int]]:
    """Return where in the file the texts of samples, results, cells and reviews lie."""
    content, found = path.read_bytes(), []
    with Database(path) as database:
        texts = [
            text
            for query in (
                "SELECT draft FROM samples", "SELECT setup FROM samples", "SELECT code FROM samples",
                "SELECT id FROM samples", "SELECT payload FROM results", "SELECT prob FROM cells",
                "SELECT class || by || reason FROM reviews", "SELECT class || by || reason FROM marks",
            )
            for (text,) in database.read(query)
        ]  # fmt: skip
    for text in dict.fromkeys(texts):
        raw, at = text.encode(), -1
        while (at := content.find(raw, at + 1)) >= 0:
            found.append((at, len(raw)))
    return found


def used(lifecycle: Lifecycle, folder: Path) -> Iterator[Callable[[StoredSample], Any]]:
    """Give everything that is done with a sample, one after the other."""
    yield lambda one: json.dumps(lifecycle.described(one))
    yield lambda one: lifecycle.store.cells(one.id)
    yield lambda one: export(folder, lifecycle.described(one), lifecycle.store.cells(one.id), {})
    yield lambda one: answer(lifecycle, one, said({15: "other"}))
    yield lambda one: sign(lifecycle, lifecycle.store.find(one.id), "dr", "looked at all")
    yield lambda one: lifecycle.reopen(one, "dr", "")
    yield lambda one: lifecycle.discard(one, "dr", "")
    yield lambda one: lifecycle.erase(one, "dr", "")


def left(lifecycle: Lifecycle, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Use every sample in every way; return what would leave for the broker, and how often damage was named."""
    named = 0
    outbox, sent = Outbox(lifecycle.store.database), []
    with suppress(DamagedSampleError):
        lifecycle.recover("ANOTHER")
    for do in used(lifecycle, folder):
        for one in lifecycle.store.newest():
            try:
                do(one)
            except DamagedSampleError:
                named += 1
            except EdgeError:
                pass  # it is in another state than this asks for
            sent += [json.loads(row.payload) for row in outbox.pending() if row.kind == "result"]
            for row in outbox.pending():
                outbox.delete(row.id)
    return sent, named


STAMPS = {"id", "number", "boot_id", "revision", "stage", "reason", "seq", "interruptions", "flags"}


def essence(message: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in message.items() if key not in STAMPS}, sort_keys=True)


def test_a_changed_bit_crashes_nothing_and_leaves_altered_nowhere(written: Path, tmp_path: Path) -> None:
    """Kind: stored text without a checksum. In 0.6.0 such bits were a crash loop, or 6 of 300 altered a result."""

    def opened(path: Path) -> tuple[list[dict[str, Any]], int]:
        with Database(path) as database:
            lifecycle = Lifecycle(Config(), database, composer())
            found = left(lifecycle, tmp_path / "out")
            assert lifecycle.store.newest() == []  # all are erased at last
        assert not [code for code in (b"ENDED-1", b"SCANNED-1") if code in path.read_bytes()]
        return found

    places = regions(written)
    whole = tmp_path / "undamaged.sqlite3"
    shutil.copy(written, whole)
    expected, named = opened(whole)
    assert (len(expected) > 3, named) == (True, 0)
    right = {essence(message) for message in expected}
    chance, content = random.Random(3), written.read_bytes()
    altered, refused, damages, number = 0, 0, 0, 0
    for number in range(1, scaled(60, 1000) + 1):
        start, length = chance.choices(places, [length for _, length in places])[0]
        at = start + chance.randrange(length)
        path = tmp_path / f"flipped-{number}.sqlite3"
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :])
        try:
            sent, named = opened(path)
        except EdgeError:
            refused += 1  # SQLite itself found that the file is not whole
            continue
        finally:
            for file in tmp_path.glob(f"{path.name}*"):
                file.unlink()
        damages += named > 0
        altered += sum(essence(message) not in right for message in sent)
    told("bit flips", tried=number, damage_named=damages, refused_whole=refused, altered=altered)
    assert altered == 0
    assert damages > number / 2
    assert refused < number / 5


def test_a_damaged_sample_is_set_aside_shown_and_erased_and_others_go_on(written: Path) -> None:
    with Database(written) as database:
        database.write("UPDATE samples SET draft = replace(draft, '\"sickle\":37', '\"sickle\":36')")
        lifecycle = Lifecycle(Config(), database, composer())
        assert len(lifecycle.damages()) == 2
        with pytest.raises(DamagedSampleError, match=r"SCANNED-1 is damaged.*No result is made of it; export it"):
            lifecycle.recover()
        aside = lifecycle.store.find("SCANNED-1")
        assert (aside.state, aside.reason.startswith("set aside: ")) == ("incomplete", True)
        assert lifecycle.start(record("NEXT"), SETUP, "nurse").state == "scanning"
        with pytest.raises(DamagedSampleError):
            sign(lifecycle, lifecycle.store.find("ENDED-1"), "dr", "")
        assert "damaged" in lifecycle.described(aside)["damaged"]
        assert lifecycle.discard(aside, "dr", "").state == "discarded"
        for code in ("SCANNED-1", "ENDED-1"):
            lifecycle.erase(lifecycle.store.find(code), "dr", "")
        assert [one.code for one in lifecycle.store.newest()] == ["NEXT"]
        assert Outbox(database).pending() == []


@pytest.mark.parametrize("character", [0, 20, 35])
def test_a_cell_that_names_another_sample_is_damage(written: Path, character: int) -> None:
    """Its row was found and counted in its place, and only an answer about this cell was refused."""
    with Database(written) as database:
        ((sample_id,),) = database.read("SELECT id FROM samples WHERE code = 'ENDED-1'")
    content = bytearray(written.read_bytes())
    row = bytes(sample_id, "ascii") + bytes([15]) + struct.pack(">d", 22.5)[:2]  # number and place of a cell
    content[content.index(row) + character] ^= 0x20
    written.write_bytes(content)
    with Database(written) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        with pytest.raises(DamagedSampleError):
            answer(lifecycle, lifecycle.store.find(sample_id), said({20: "other"}))


def test_a_cell_that_damage_beside_it_hides_is_damage(tmp_path: Path) -> None:
    """Rows in their order gave every cell; a search for one, misled by a key of the next sample, did not.

    The answer about it was refused, and the sample signed without it.
    """
    path = tmp_path / "sicklescope.sqlite3"
    ids = {"FIRST": UUID("40000000-0000-4000-8000-000000000000"), "NEXT": UUID("50000000-0000-4000-8000-000000000000")}
    with Database(path) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        for (code, sample_id), number in zip(ids.items(), (45, 30), strict=True):  # they share a page
            sample = lifecycle.start(replace(record(code), sample_id=sample_id), SETUP, "nurse")
            changes = CellChanges((), tuple(cell(i, "normal") for i in range(number)), (), {})
            lifecycle.end(sample, lifecycle.record(sample), [changes], "review", "")
    content = bytearray(path.read_bytes())
    row = str(ids["NEXT"]).encode() + bytes([11]) + struct.pack(">d", 16.5)[:2]
    content[content.index(row)] ^= 4  # 5 becomes 1: before the first sample
    path.write_bytes(content)
    with Database(path) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        sample = lifecycle.store.find("FIRST")
        assert len(lifecycle.store.cells(sample.id)) == 45
        with pytest.raises(DamagedSampleError, match="16 of its cells are not found by their number"):
            answer(lifecycle, sample, said({44: "other"}))
        with pytest.raises(DamagedSampleError):
            sign(lifecycle, sample, "dr", "")
        assert "16 of its cells" in lifecycle.described(sample)["damaged"]
        lifecycle.erase(lifecycle.store.find("NEXT"), "dr", "")  # what deletes searches too, and missed rows
        assert lifecycle.damage(sample) == ""
        assert database.read("SELECT DISTINCT sample_id FROM cells") == [(str(ids["FIRST"]),)]


def test_an_answer_on_a_sample_whose_row_is_not_found_is_refused(written: Path) -> None:
    """It was accepted, and the number of answers not noted, where a bit in the index of samples had changed."""
    content = bytearray(written.read_bytes())
    with Database(written) as database:
        ((sample_id,),) = database.read("SELECT id FROM samples WHERE code = 'ENDED-1'")
        ((root,),) = database.read("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_samples_1'")
    content[content.index(sample_id.encode(), (root - 1) * 4096) + 35] ^= 0x40  # of the identifier, its end
    written.write_bytes(content)
    with Database(written) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        sample = next(one for one in lifecycle.store.newest() if one.code == "ENDED-1")
        with pytest.raises(SampleError, match="no longer on this device"):
            answer(lifecycle, sample, said({15: "other"}))
        assert len(answers(database, sample_id)) == 2


def test_what_an_index_hides_of_an_erased_sample_is_erased(written: Path) -> None:
    """Its result, with its code, stayed in the file for good."""
    with Database(written) as database:
        ((sample_id,),) = database.read("SELECT id FROM samples WHERE code = 'ENDED-1'")
        ((root,),) = database.read("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_results_2'")
    content = bytearray(written.read_bytes())
    content[content.index(sample_id.encode(), (root - 1) * 4096) + 35] ^= 0x40
    written.write_bytes(content)
    with Database(written) as database:
        lifecycle = Lifecycle(Config(), database, composer())
        lifecycle.erase(lifecycle.store.find("ENDED-1"), "dr", "")
    assert b"ENDED-1" not in written.read_bytes()
