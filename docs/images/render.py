"""Draws fields of the virtual slide as pictures, to try `sicklescope scan` on: no real blood, nobody's image."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide

FIELDS = 20
"""Some 1,100 red cells, so that the scan ends in a result."""


def main(folder: Path) -> None:
    """Write `field01.png` and so on into the folder, as a camera of 0.15 µm per pixel would see them."""
    slide = Slide(SlideSpec(seed=0, width=960, height=540, um_per_px=0.15, stain="wright"))
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(FIELDS):
        cv2.imwrite(str(folder / f"field{index + 1:02d}.png"), cv2.cvtColor(slide.render(index), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
