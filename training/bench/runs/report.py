"""Pictures and pages of runs, each page whole in one file."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from edge.types import Floats, Pixels
from training.bench.datasets.cell_images import pictures
from training.bench.datasets.labelled_cell import Sample

GALLERY = 60
"""Wrongly named cells on the page, the surest first."""

THUMB_PX = 96


def curves(run: Path) -> dict[str, list[dict[str, float]]]:
    """Return the curve of each fold that a run has."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.glob("fold*/curve.json"))
    }


def drawings(classes: Sequence[str], figures: Mapping[str, Any], curve: Mapping[str, Any]) -> dict[str, bytes]:
    """Return PNG files by name: confusion, calibration and, of a network, curves."""
    drawn = {"confusion": _confusion(classes, np.array(figures["confusion"])), "calibration": _calibration(figures)}
    return drawn | ({"curves": _curves(curve)} if curve else {})


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _confusion(classes: Sequence[str], counts: np.ndarray) -> bytes:
    size = 2.2 + 0.55 * len(classes)
    figure = Figure((size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(1, counts.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            axes.text(j, i, str(n), ha="center", va="center", color="white" if n > 0.5 * row.sum() else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="called", ylabel="labelled")
    return _png(figure)


def _calibration(figures: Mapping[str, Any]) -> bytes:
    figure = Figure((3.6, 3.4), layout="constrained")
    axes = figure.subplots()
    sure, right, n = np.array(figures["bins"]).T
    axes.plot([0, 1], [0, 1], color="#999", linewidth=1)
    axes.plot(sure, right, marker="o", color="#0072b2")
    for x, y, count in zip(sure, right, n, strict=True):
        axes.annotate(f"{count:.0f}", (x, y), xytext=(4, -10), textcoords="offset points", fontsize=7)
    axes.set(xlabel="probability given", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02),
             title=f"ECE {figures['ece']:.3f}")  # fmt: skip
    return _png(figure)


def _curves(curve: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    figure = Figure((7, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (name, rows) in enumerate(curve.items()):
        colour, epochs = f"C{i}", [row["epoch"] for row in rows]
        loss.plot(epochs, [row["loss"] for row in rows], color=colour, linestyle=":")
        loss.plot(epochs, [row["validation_loss"] for row in rows], color=colour, label=name)
        accuracy.plot(epochs, [row["validation_accuracy"] for row in rows], color=colour)
    loss.set(xlabel="epoch", title="loss (dotted: training)", ylim=(0, None))
    accuracy.set(xlabel="epoch", title="validation accuracy", ylim=(None, 1.01))
    loss.legend(fontsize=7)
    return _png(figure)


def wrong(samples: Sequence[Sample], y: np.ndarray, prob: Floats, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return wrongly named cells for the page, surest first.

    Picture, label, what it was called, probability.
    """
    missed = np.nonzero(prob.argmax(1) != y)[0]
    missed = missed[np.argsort(-prob[missed].max(1), kind="stable")][:GALLERY].tolist()
    shown = pictures([samples[i] for i in missed], THUMB_PX)
    return [{"picture": _jpeg(p), "label": classes[y[i]], "called": classes[prob[i].argmax()],
             "probability": float(prob[i].max()), "name": samples[i].path.name}
            for i, p in zip(missed, shown, strict=True)]  # fmt: skip


def _jpeg(pixels: Pixels) -> Markup:
    return _uri(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes(), "jpeg")


def _uri(content: bytes, kind: str) -> Markup:
    return Markup(f"data:image/{kind};base64," + b64encode(content).decode("ascii"))  # noqa: S704  nothing to escape


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("training.bench.runs", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.2f}"
    return environment.get_template(name)


def of_run(name: str, configuration: Mapping[str, Any], figures: Mapping[str, Any], drawn: Mapping[str, bytes],
           gallery: Sequence[Mapping[str, Any]]) -> str:  # fmt: skip
    """Return the page of a run."""
    return str(_template("run.html").render(
        name=name, configuration=configuration, figures=figures, gallery=gallery,
        wrong=figures["cells"] - figures["right"], drawn={key: _uri(png, "png") for key, png in drawn.items()},
    ))  # fmt: skip


def of_comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a comparison."""
    return str(_template("compare.html").render(rows=rows))


def of_set(description: Mapping[str, Any], examples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the page of a set: what `describe` found, and examples of each class."""
    shown = {label: [(s, _jpeg(p)) for s, p in zip(cells, pictures(cells, THUMB_PX), strict=True)]
             for label, cells in examples.items()}  # fmt: skip
    return str(_template("set.html").render(**description, examples=shown))


def of_augmentation(name: str, augmentation: Mapping[str, Any], rows: Sequence[tuple[Sample, Sequence[Pixels]]]) -> str:
    """Return the page of cells, each as it is and then altered."""
    shown = [(sample, [_jpeg(p) for p in looks]) for sample, looks in rows]
    return str(_template("preview.html").render(name=name, augmentation=augmentation, rows=shown))
