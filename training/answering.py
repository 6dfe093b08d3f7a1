"""How the commands of training answer errors."""

from __future__ import annotations

from functools import partial

from edge.system import console

answering = partial(
    console.answering,
    "sicklescope-train",
    "stopped; what is finished is kept, and the same command goes on from there",
)
