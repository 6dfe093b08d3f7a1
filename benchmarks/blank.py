"""How often a blank slide, and one with sickle cells, is above a site's limit: `python -m benchmarks.blank`.

Sites are simulated: the mean false-call fraction of a site and its spread between slides are drawn from the prior, or
fixed. Of each site some blank slides make the limit; one more blank, and that slide with 2, 3 and 5 % sickle cells of
which 80 % are called, is tested against it, each of 1,000 red cells. So k of n are of independent sites, and their
95 % interval is that of Clopper and Pearson. `above` tests the lower bound of the Wilson interval, as
`above_blank` does; `result above` the fraction itself, as EP17 does. `--fields FILE`, the `fields.jsonl` of a scan of
pictures without sickle cells, adds what was really read: its fields are cut in their order into slides of
SLIDE_RED_CELLS, and each is tested against limits from some of the others. Only networks that never saw these pictures
give figures that hold elsewhere.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edge.config.model import Config
from edge.runtime.registry import open_network
from edge.screening.agreement import upper_bound
from edge.screening.site_blank import PRIOR_MEAN, PRIOR_SPREAD, VARIATIONS, BlankSlide, SiteBlank
from edge.screening.verdict import wilson
from edge.types import RED_CELLS as RED

RED_CELLS = 1000
CALLED = 0.8
"""Share of true sickle cells that are called, the bar that pasted cells are held to."""

SLIDE_RED_CELLS = 500
"""Red cells of a slide that is put together from fields."""

DRAWS = 40
"""Limits from other slides that each slide is tested against."""

SICKLE = (0.0, 0.02, 0.03, 0.05)
SLIDES = (0, 3, 10, 20, 60)
MEANS = (None, 0.002, 0.005, 0.01, 0.016)
"""Mean false-call fractions; None: drawn from the prior."""


def drawn(rng: np.random.Generator, mean: float, variation: float, slides: int) -> list[BlankSlide]:
    """Return so many blank slides of a site, of as many people, four days and two stain batches."""
    alpha = 1 / variation**2
    rates = rng.beta(alpha, alpha * (1 - mean) / mean, slides)
    return [
        BlankSlide(int(count), RED_CELLS, f"p{index}", f"s{index % 2}", f"d{index % 4}", index % 3 == 0)
        for index, count in enumerate(rng.binomial(RED_CELLS, rates))
    ]


@lru_cache
def shipped_limit() -> float:
    """Return the limit of blank of the shipped classifier, below which no site's goes."""
    models = Config().models
    with closing(open_network("classifier", models)) as network:
        return network.contract.limit_of_blank or 0.0


def limit_of(slides: list[BlankSlide], red_cells: int = RED_CELLS) -> float:
    """Return the limit that results of a site with these blank slides are held against."""
    return max(shipped_limit(), SiteBlank(tuple(slides)).limit(red_cells)) if slides else shipped_limit()


def main(
    sites: Annotated[int, typer.Option(min=10, help="Sites of each kind.")] = 1000,
    fields: Annotated[list[Path] | None, typer.Option(help="fields.jsonl of scans; all are one site.")] = None,
    simulate: Annotated[bool, typer.Option(help="Simulate sites too.")] = True,
) -> None:
    """Simulate and print one line of JSON for each mean and number of slides."""
    rng = np.random.default_rng(3)
    for mean, number in product(MEANS, SLIDES) if simulate else ():
        typer.echo(json.dumps({"mean": mean or "prior", "slides": number, **simulated(rng, mean, number, sites)}))
    read = [slide for path in fields or () for slide in slides_of(path)]
    for number in (0, 3, 5, 10) if read else ():
        if number < len(read):
            typer.echo(json.dumps({"slides": number, **held_out(rng, read, number)}))


def slides_of(path: Path) -> list[BlankSlide]:
    """Return the slides that the fields of a scan make; what is left over at the end makes none."""
    found, sickle, red = [], 0, 0
    for line in path.read_text("utf-8").splitlines():
        names = [cell["class"] for cell in json.loads(line)["cells"]]
        sickle, red = sickle + names.count("sickle"), red + sum(name in RED for name in names)
        if red >= SLIDE_RED_CELLS:
            found.append(BlankSlide(sickle, red, "p", "s", "d", False))
            sickle, red = 0, 0
    return found


def simulated(rng: np.random.Generator, mean: float | None, number: int, sites: int) -> dict[str, Any]:
    """Return the shares of slides that are above, over many sites."""
    above = {share: [0, 0] for share in SICKLE}
    limits = []
    for _ in range(sites):
        centre = mean or min(0.05, PRIOR_MEAN * float(np.exp(rng.normal(0, PRIOR_SPREAD))))
        variation = float(rng.choice(VARIATIONS))
        *blanks, tested = drawn(rng, centre, variation, number + 1)
        limits.append(limit_of(blanks))
        for share, counted in above.items():
            count = min(RED_CELLS, tested.sickle + int(rng.binomial(RED_CELLS, share * CALLED)))
            counted[0] += wilson(count, RED_CELLS)[0] > limits[-1]
            counted[1] += count / RED_CELLS > limits[-1]
    told: dict[str, Any] = {"median limit": round(float(np.median(limits)), 4)}
    for share, (low, result) in above.items():
        told |= {f"{named(share)} above": of(low, sites), f"{named(share)} result above": of(result, sites)}
    return told


def named(share: float) -> str:
    """Return what slides with a share of sickle cells are called."""
    return "blank" if share == 0 else f"sickle {share:.0%}"


def of(k: int, n: int) -> str:
    """Return k of n in words, with the exact 95 % interval of Clopper and Pearson."""
    low, high = 1 - upper_bound(n - k, n, 0.975), upper_bound(k, n, 0.975)
    return f"{k} of {n} ({100 * low:.1f}-{100 * high:.1f} %)"


def held_out(rng: np.random.Generator, read: list[BlankSlide], number: int) -> dict[str, Any]:
    """Return how many real blank slides are above a limit from some of the others, and with sickle cells added.

    A slide counts as above where it is so in most draws of the others.
    """
    above = np.zeros((len(read), len(SICKLE)))
    for (index, one), _ in product(enumerate(read), range(DRAWS)):
        others = rng.permutation([at for at in range(len(read)) if at != index])[:number]
        limit = limit_of([read[at] for at in others], one.red_cells)
        for at, share in enumerate(SICKLE):
            count = min(one.red_cells, one.sickle + int(rng.binomial(one.red_cells, share * CALLED)))
            above[index, at] += wilson(count, one.red_cells)[0] > limit
    told: dict[str, Any] = {"sickle": sum(one.sickle for one in read), "red cells": sum(one.red_cells for one in read)}
    for at, share in enumerate(SICKLE):
        slides = int((above[:, at] > DRAWS / 2).sum())
        told[f"{named(share)} above"] = f"{of(slides, len(read))}, {above[:, at].mean() / DRAWS:.1%} of draws"
    return told


if __name__ == "__main__":
    typer.run(main)
