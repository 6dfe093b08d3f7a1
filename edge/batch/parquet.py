"""The fields and cells of a scan as Parquet, for programs that read millions of them; the same lines as the JSON.

Its columns are those of fields.jsonl and cells.csv. The summary is in the metadata of fields.parquet, so that the file
says by itself what was read, how and by which networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.batch.records import COUNTED, CSV_COLUMNS, FieldRecord, RejectedRecord, Summary, csv_rows
from edge.errors import ConfigError, InputError

FIELDS_PARQUET, CELLS_PARQUET = "fields.parquet", "cells.parquet"
SUMMARY_KEY = b"sicklescope.summary"
"""Key of the metadata of fields.parquet whose value is summary.json."""

ROWS_A_GROUP = 10_000
"""Rows that are kept in memory before they are written."""

_REJECTED = ("reason", "value", "limit", "cause")
_NUMBERS = ("width", "height", "rbc", *(f"n_{name}" for name in COUNTED))
_TEXTS = ("image", "scale_source", "rejected_reason", "rejected_cause", "copy_of")


class ParquetFiles:
    """Writes fields and cells as they come; a context manager.

    Leaving it without `finish` leaves files that no program opens.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises ConfigError where pyarrow is not installed."""
        self._arrow, self._parquet = pyarrow_modules()
        self._tables = {
            FIELDS_PARQUET: _Table(self._parquet, folder / FIELDS_PARQUET, _fields_schema(self._arrow)),
            CELLS_PARQUET: _Table(self._parquet, folder / CELLS_PARQUET, _cells_schema(self._arrow)),
        }

    def add(self, record: FieldRecord) -> None:
        """Write a field and its cells."""
        self._tables[FIELDS_PARQUET].add(self._arrow, [_field_row(record)])
        rows = (dict(zip(CSV_COLUMNS, row, strict=True)) for row in csv_rows(record))
        # A spreadsheet's guard against formulas has no place in a column of names.
        self._tables[CELLS_PARQUET].add(
            self._arrow, [{**row, "image": record.image, "class": row["class"] or None} for row in rows]
        )

    def finish(self, summary: Summary) -> None:
        """Write what is left, and the summary."""
        text = summary.model_dump_json(by_alias=True)
        self._tables[FIELDS_PARQUET].close(self._arrow, {SUMMARY_KEY.decode(): text})
        self._tables[CELLS_PARQUET].close(self._arrow, {})


class _Table:
    def __init__(self, parquet: Any, path: Path, schema: Any) -> None:
        self._schema = schema
        self._writer = parquet.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, arrow: Any, rows: list[dict[str, Any]]) -> None:
        self._rows += rows
        if len(self._rows) >= ROWS_A_GROUP:
            self._write(arrow)

    def close(self, arrow: Any, metadata: dict[str, str]) -> None:
        self._write(arrow)
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def _write(self, arrow: Any) -> None:
        self._writer.write_table(arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def read_parquet(path: Path) -> tuple[Summary, list[FieldRecord]]:
    """Return summary and fields, without their cells, of a fields.parquet.

    Raises InputError for a file that no scan wrote.
    """
    _, parquet = pyarrow_modules()
    try:
        with parquet.ParquetFile(path) as file:
            summary = Summary.model_validate_json((file.metadata.metadata or {})[SUMMARY_KEY])
            return summary, [_field_of(row) for row in file.read().to_pylist()]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not the fields.parquet of a scan: {type(error).__name__}: {error}. Give the folder of a scan"
        ) from error


def pyarrow_modules() -> tuple[Any, Any]:
    """Return pyarrow and its part for Parquet; raises ConfigError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow: pip install 'sicklescope[parquet]', or leave --parquet out"
        ) from error
    return pyarrow, pyarrow.parquet


def _fields_schema(arrow: Any) -> Any:
    kinds = {name: arrow.string() for name in _TEXTS} | {name: arrow.int64() for name in _NUMBERS}
    real = ("um_per_px", "rejected_value", "rejected_limit", "sickle_fraction", "field_score")
    return arrow.schema([*kinds.items(), *((name, arrow.float64()) for name in real)])


def _cells_schema(arrow: Any) -> Any:
    kinds = {"image": arrow.string(), "cell": arrow.int64(), "class": arrow.string()}
    return arrow.schema([(name, kinds.get(name, arrow.float64())) for name in CSV_COLUMNS])


def _field_row(record: FieldRecord) -> dict[str, Any]:
    row = record.model_dump(mode="json", exclude={"cells", "counts", "rejected"})
    rejected = {} if record.rejected is None else record.rejected.model_dump(mode="json")
    return {
        **row,
        **{f"rejected_{name}": rejected.get(name) for name in _REJECTED},
        **{f"n_{name}": count for name, count in record.counts.items()},
    }


def _field_of(row: dict[str, Any]) -> FieldRecord:
    rejected = {name: row.pop(f"rejected_{name}") for name in _REJECTED}
    counts = {name: row.pop(f"n_{name}") for name in COUNTED}
    why = None if rejected["reason"] is None else RejectedRecord(**rejected)
    return FieldRecord(**row, rejected=why, counts=counts, cells=[])
