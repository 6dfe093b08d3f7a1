#!/usr/bin/env bash
# Runs the quick tests with the lowest and the highest versions of every dependency that pyproject.toml admits, on each
# Python: `make test-versions`. Environments are made below .versions/ and kept. Needs a network the first time.
#
#   tests/versions.sh                      all
#   tests/versions.sh 3.10 lowest-direct   one
set -euo pipefail
cd "$(dirname "$0")/.."

UV=${UV:-uv}
pythons=${1:-3.10 3.11 3.12 3.13}
resolutions=${2:-lowest-direct highest}
# What the dependencies carry (not the S3 server of test_s3.py, which does not fit beside them); threads, faults and the service are the same whatever the versions. SUITES names others.
suites=${SUITES:-tests/edge/config tests/edge/publish/test_messages.py tests/edge/runtime tests/edge/cli/test_cli.py
    tests/edge/camera tests/edge/batch tests/edge/api tests/edge/publish/test_publisher.py tests/edge/sample
    tests/edge/storage tests/edge/vision tests/calibration/test_int8.py}
failed=()
for python in $pythons; do
    for resolution in $resolutions; do
        name=$python-$resolution folder=.versions/$python-$resolution
        mkdir -p .versions
        [ -d "$folder" ] || "$UV" venv --quiet --python "$python" "$folder"
        "$UV" pip compile --quiet --python "$folder/bin/python" --resolution "$resolution" --only-binary :all: \
            --no-header --no-annotate --extra demo --extra heif --extra laboratory --extra calibration --extra ray \
            --extra parquet \
            pyproject.toml --output-file "$folder/bounds.txt"
        # The tests' own tools are always the newest: they are no part of what is installed on a device.
        "$UV" pip install --quiet --python "$folder/bin/python" --constraint "$folder/bounds.txt" \
            -r "$folder/bounds.txt" pytest pytest-timeout pytest-xdist pytest-rerunfailures hypothesis jsonschema psutil imageio-ffmpeg httpx
        "$UV" pip install --quiet --python "$folder/bin/python" --no-deps -e .
        echo "== $name: $(grep -E '^(numpy|onnxruntime|opencv|paho|pydantic|typer)' "$folder/bounds.txt" | tr '\n' ' ')"
        # shellcheck disable=SC2086 # it is a list
        "$folder/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --reruns 1 -raR \
            -o timeout=1200 -W ignore::DeprecationWarning --ignore=tests/edge/camera/test_s3.py $suites ||
            failed+=("$name")
    done
done
[ "${#failed[@]}" -eq 0 ] || { echo "failed with: ${failed[*]}" >&2; exit 1; }
