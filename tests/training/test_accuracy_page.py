"""The page of figures shows what was measured beside what is asked, and says how to read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.errors import ModelError
from training.data.datasets import CHULA_NAMES
from training.evaluate.report import ASKED, NOTES, TITLES, markdown


def page(
    folder: Path, figures: dict[str, list[str]], value: float | None = 0.0123, detectors: tuple[str, ...] = ("a", "b")
) -> str:
    figure = {"value": value, "low": value, "high": value, "counted": "1 of 2"}
    content = {
        "target_rate": 0.002,
        "weights": {f"detector-without{fold}.pt": digest for fold, digest in enumerate(detectors)},
        "limit_of_blank": 0.0158,
        "thresholds": {"0": 0.8, "shipped": 0.8},
        "log_odds": {"0": [1.0, 0.0], "shipped": [1.2, -3.0]},
        "figures": {section: dict.fromkeys(names, figure) for section, names in figures.items()},
    }
    path = folder / "evaluation.json"
    path.write_text(json.dumps(content))
    return markdown(path)


def test_every_bar_stands_beside_its_figure(tmp_path: Path) -> None:
    names: dict[str, list[str]] = {}
    for section, name in ASKED:
        names.setdefault(section, []).append(name)
    text = page(tmp_path, names)
    for (_, name), asked in ASKED.items():
        assert any(
            line.startswith(f"| {name.replace('_', ' ')} |") and f"| {asked} |" in line for line in text.splitlines()
        )
    assert set(names) <= set(TITLES)
    assert {name for section, name in ASKED if section == "mimics"} <= set(CHULA_NAMES)


def test_the_page_says_where_one_detector_read_folds_that_it_was_trained_on(tmp_path: Path) -> None:
    told = "**One detector read all folds, and was trained on them**"
    assert told in page(tmp_path, {}, detectors=("a", "a"))
    assert told not in page(tmp_path, {})


def test_the_page_says_what_makes_a_chance_and_what_it_is_at_the_threshold(tmp_path: Path) -> None:
    # Odds of 4: 4 ** 1.2 / e³ are 0.263 to 1.
    assert "**1.200, -3.000, 0.21**; of the folds: 0 1.000, +0.000, 0.80." in page(tmp_path, {})


def test_simulated_samples_say_what_they_are_not_and_limits_are_per_cent(tmp_path: Path) -> None:
    text = page(tmp_path, {"in_silico": ["limit_of_blank_of_samples", "fraction_said_to_be_above_blank"]})
    assert "in silico, not EP17-compliant" in text
    assert NOTES["in_silico"] in text
    assert text.count("| 1.23 % | 1.23 to 1.23 % |") == 2


def test_errors_and_coverages_are_per_cent_and_calibration_is_not(tmp_path: Path) -> None:
    text = page(
        tmp_path, {"abstention": ["risk_at_99_percent_coverage", "coverage_as_shipped"], "calibration": ["ece"]}
    )
    assert text.count("| 1.23 % |") == 2
    assert "| ece | 0.012 | 0.012 to 0.012 | ≤ 0.02 | 1 of 2 |" in text


def test_a_figure_that_is_no_number_says_none(tmp_path: Path) -> None:
    assert "| ece | none | none | ≤ 0.02 | 1 of 2 |" in page(tmp_path, {"calibration": ["ece"]}, None)


def test_a_run_that_was_not_measured_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Measure first"):
        markdown(tmp_path / "evaluation.json")
