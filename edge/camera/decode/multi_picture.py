"""How many views of one place a JPEG file holds: stereo cameras write them one behind the other (CIPA DC-007, MPO)."""

from __future__ import annotations

import struct

_HEAD = b"MPF\0"
_ENTRIES, _ENTRY_BYTES = 0xB002, 16
_VIEWS = frozenset({0x020001, 0x020002, 0x020003})
"""Types of pictures that are views of one scene: panorama, stereo, several angles. A phone's gain map is none."""


def views(data: bytes) -> int:
    """Return how many views the index of a JPEG file names; 1 where there is none."""
    at = data.find(_HEAD, 0, 1 << 17) + len(_HEAD)
    if at < len(_HEAD):
        return 1
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[data[at : at + 4]]
        (directory,) = struct.unpack_from(f"{order}I", data, at + 4)
        (count,) = struct.unpack_from(f"{order}H", data, at + directory)
        for number in range(count):
            tag, _, size, offset = struct.unpack_from(f"{order}HHII", data, at + directory + 2 + 12 * number)
            if tag == _ENTRIES:
                kinds = [
                    struct.unpack_from(f"{order}I", data, at + offset + start)[0] & 0xFFFFFF
                    for start in range(0, size, _ENTRY_BYTES)
                ]
                return max(1, sum(kind in _VIEWS for kind in kinds))
    except (KeyError, struct.error):
        return 1
    return 1
