#!/usr/bin/env bash
# bioio 3.6.0 with bioio-ome-tiff 1.4.0: the unit of a pixel's size is lost.
#
# Expected: an OME-TIFF that states a pixel of 112 nm gives 0.112 (micrometres), or 112 together with the unit.
# Seen: `physical_pixel_sizes.X` is 112.0, `scale.X` is 112.0, and `dimension_properties.X.unit` is None. Micrometre is the
# default unit of OME, so code that takes the number for micrometres is wrong by a factor of 1,000.
# The same size in the resolution tags of a plain TIFF, read by bioio-tifffile 1.3.1, is converted to 0.112.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install \
    bioio==3.6.0 bioio-ome-tiff==1.4.0 bioio-tifffile==1.3.1 tifffile==2026.3.3 "numpy<3"
env/bin/python - <<'PY'
import bioio_ome_tiff
import bioio_tifffile
import numpy as np
import tifffile
from bioio import BioImage

picture = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
size = {f"PhysicalSize{axis}": 112.0 for axis in "XY"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XY"}
tifffile.imwrite("stated.ome.tif", picture, metadata={"axes": "YX", **size})
tifffile.imwrite("plain.tif", picture, resolution=(1 / 0.112e-4, 1 / 0.112e-4), resolutionunit="CENTIMETER")
with tifffile.TiffFile("stated.ome.tif") as file:
    assert 'PhysicalSizeXUnit="nm"' in file.ome_metadata

ome = BioImage("stated.ome.tif", reader=bioio_ome_tiff.Reader)
plain = BioImage("plain.tif", reader=bioio_tifffile.Reader)
print("OME-TIFF of 112 nm:", ome.physical_pixel_sizes.X, "unit", ome.dimension_properties.X.unit)
print("plain TIFF of 112 nm:", plain.physical_pixel_sizes.X)
assert ome.physical_pixel_sizes.X == 112.0 and ome.scale.X == 112.0, "changed: the size is no longer the bare number"
assert ome.dimension_properties.X.unit is None, "changed: the unit is given"
assert abs(plain.physical_pixel_sizes.X - 0.112) < 1e-9, "changed: the plain TIFF is read otherwise"
PY
