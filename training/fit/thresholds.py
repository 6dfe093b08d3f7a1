"""Thresholds that are fixed before evaluation chooses the others; needs no torch."""

from __future__ import annotations

ABSTAIN, SECOND_LOOK = 0.45, 0.35
"""Thresholds of the shipped classifier but for those that evaluation chooses."""

SCORES = (0.20, 0.45, 0.45)
"""Score from which the shipped detector believes each of KINDS: low for red cells, for sickle cells are the faintest of
all (decision 41); for the others that from which it completes labels."""

FLOOR = 0.2
"""Score down to which a reading is kept on disk, so that SCORES can be raised without reading again."""
