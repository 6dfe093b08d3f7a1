"""The engines that read the files of a scan, by name; quick to import, for the command's help."""

from __future__ import annotations

from enum import Enum


class Engine(str, Enum):
    """What reads the files."""

    LOCAL = "local"
    RAY = "ray"
