#!/usr/bin/env bash
# pyarrow 26.0.1: metadata added to a Parquet file with ParquetWriter.add_key_value_metadata are not in the schema that is read.
#
# A key is given with the schema, another is added before the writer is closed, as its documentation says.
# Expected: both are in `read_schema(file).metadata`, `read_table(file).schema.metadata` and a dataset's schema: both lie in the
# same key-value metadata of the file's footer.
# Seen: only the key that was given with the schema. The added one is in `ParquetFile(file).metadata.metadata` alone, so what
# a program adds about a file's rows when it has written them is invisible to who reads tables.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install pyarrow==26.0.1
env/bin/python - <<'PY'
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

schema = pa.schema([("n", pa.int64())], metadata={"given": "1"})
with pq.ParquetWriter("file.parquet", schema) as writer:
    writer.write_table(pa.table({"n": [1, 2]}, schema=schema))
    writer.add_key_value_metadata({"added": "2"})

footer = pq.ParquetFile("file.parquet").metadata.metadata
seen = {
    "read_schema": pq.read_schema("file.parquet").metadata,
    "read_table": pq.read_table("file.parquet").schema.metadata,
    "dataset": ds.dataset("file.parquet").schema.metadata,
}
print("pyarrow", pa.__version__)
print("footer:", {key: value for key, value in footer.items() if key != b"ARROW:schema"})
for name, metadata in seen.items():
    print(f"{name}: {metadata}")
assert footer[b"given"] == b"1" and footer[b"added"] == b"2", "changed: the footer"
for name, metadata in seen.items():
    assert metadata[b"given"] == b"1", f"changed: {name} without the given key"
    assert b"added" not in metadata, f"changed: {name} has the added key"
PY
