#!/bin/bash
# Within a root of ARM64: installs the bundle beside this script, without a network's help, and reads with it.
set -euo pipefail
cd /trial
[ "$(uname -m)" = aarch64 ]
bundle/systemd/install.sh --hardware cpu
sicklescope=/usr/local/bin/sicklescope
as_user() { runuser -u sicklescope -- "$@"; }
echo "== doctor"
as_user $sicklescope doctor --config /etc/sicklescope/sicklescope.toml
echo "== scan of $(find fields -type f | wc -l) fields"
time $sicklescope scan fields --out out --processes 1 --keep-duplicates
echo "== run of 5 frames of the virtual camera"
time as_user $sicklescope run --sample ARM-1 --frames 5 --config /etc/sicklescope/sicklescope.toml
