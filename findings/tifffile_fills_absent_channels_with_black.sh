#!/usr/bin/env bash
# tifffile 2026.3.3: the channels of an absent file are zeros, and no error is raised.
#
# An OME-TIFF may keep each channel in a file of its own; every file names all of them.
# Expected: reading a file whose sister is absent raises FileNotFoundError.
# Seen: `imread` returns the full shape with the absent channel as zeros (black) and writes one line to the log.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install tifffile==2026.3.3 "numpy<3"
env/bin/python - <<'PY'
from pathlib import Path

import numpy as np
import tifffile

picture = np.full((48, 64), 200, np.uint8)
channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(2))
planes = "".join(
    f'<TiffData IFD="0" FirstC="{c}" PlaneCount="1"><UUID FileName="{c}.ome.tif">urn:uuid:0000-{c}</UUID></TiffData>'
    for c in range(2)
)
for c in range(2):
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:0000-{c}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="64" SizeY="48" SizeC="2" SizeZ="1" SizeT="1">{channels}{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(f"{c}.ome.tif", picture, description=xml.encode(), metadata=None)

print("both files there, mean of each channel:", [float(plane.mean()) for plane in tifffile.imread("0.ome.tif")])
Path("1.ome.tif").unlink()
alone = tifffile.imread("0.ome.tif")
print("second file absent:", [float(plane.mean()) for plane in alone])
assert alone.shape == (2, 48, 64) and alone[0].mean() == 200 and not alone[1].any(), "changed: no black channel"
PY
