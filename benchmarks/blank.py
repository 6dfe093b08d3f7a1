"""How often a blank slide, and one with sickle cells, is above a site's limit: `python -m benchmarks.blank`.

Sites are simulated: the mean false-call fraction of a site and its spread between slides are drawn from the prior, or
fixed. Of each site some blank slides make the limit; others, and slides with 2, 3 and 5 % sickle cells of which 80 %
are called, are tested against it, each of 1,000 red cells. `above` tests the lower bound of the Wilson interval, as
`above_blank` does; `result above` the fraction itself, as EP17 does. `--slides FILE` adds slides that were really
read: lines of JSON with `sickle` and `red_cells`, of which each is tested against limits from some of the others.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edge.config.model import Config
from edge.runtime.registry import open_network
from edge.screening.site_blank import PRIOR_MEAN, PRIOR_SPREAD, VARIATIONS, BlankSlide, SiteBlank
from edge.screening.verdict import wilson

RED_CELLS = 1000
CALLED = 0.8
"""Share of true sickle cells that are called, the bar that pasted cells are held to."""

SICKLE = (0.0, 0.02, 0.03, 0.05)
SLIDES = (0, 3, 5, 10, 19, 20, 40, 60)
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
    sites: Annotated[int, typer.Option(min=10, help="Sites of each kind.")] = 400,
    slides: Annotated[Path | None, typer.Option(help="Slides that were read.")] = None,
) -> None:
    """Simulate and print one line of JSON for each mean and number of slides."""
    rng = np.random.default_rng(3)
    for mean in MEANS:
        for number in SLIDES:
            typer.echo(json.dumps({"mean": mean or "prior", "slides": number, **simulated(rng, mean, number, sites)}))
    if slides is not None:
        read = [json.loads(line) for line in slides.read_text().splitlines()]
        for number in (0, 3, 5, 10):
            typer.echo(json.dumps({"read": len(read), "slides": number, **held_out(rng, read, number)}))


def simulated(rng: np.random.Generator, mean: float | None, number: int, sites: int) -> dict[str, Any]:
    """Return the shares of slides that are above, over many sites."""
    above = {share: [0, 0, 0] for share in SICKLE}
    limits = []
    for _ in range(sites):
        centre = mean or min(0.05, PRIOR_MEAN * float(np.exp(rng.normal(0, PRIOR_SPREAD))))
        variation = float(rng.choice(VARIATIONS))
        limit = limit_of(drawn(rng, centre, variation, number))
        limits.append(limit)
        for share in SICKLE:
            for blank in drawn(rng, centre, variation, 5):
                count = blank.sickle + int(rng.binomial(RED_CELLS, share * CALLED))
                above[share][0] += wilson(count, RED_CELLS)[0] > limit
                above[share][1] += count / RED_CELLS > limit
                above[share][2] += 1
    told: dict[str, float] = {}
    for share, (low, result, total) in above.items():
        name = "blank" if share == 0 else f"sickle {share:.0%}"
        told |= {f"{name} above": round(low / total, 4), f"{name} result above": round(result / total, 4)}
    return {"median limit": round(float(np.median(limits)), 4), **told}


def held_out(rng: np.random.Generator, read: list[dict[str, int]], number: int, times: int = 40) -> dict[str, Any]:
    """Return how many real blank slides are above a limit from some of the others, and with sickle cells added."""
    above = dict.fromkeys(SICKLE, 0)
    ever, tested = 0, 0
    for index, one in enumerate(read):
        others = [other for at, other in enumerate(read) if at != index]
        found = 0
        for _ in range(times):
            some = [others[i] for i in rng.permutation(len(others))[:number]]
            blanks = [BlankSlide(each["sickle"], each["red_cells"], "p", "s", "d", False) for each in some]
            limit = limit_of(blanks, one["red_cells"])
            tested += 1
            for share in SICKLE:
                count = one["sickle"] + int(rng.binomial(one["red_cells"], share * CALLED))
                is_above = wilson(min(count, one["red_cells"]), one["red_cells"])[0] > limit
                above[share] += is_above
                found += is_above and share == 0
        ever += found > times / 2
    told = {"blank" if share == 0 else f"sickle {share:.0%}": round(n / tested, 4) for share, n in above.items()}
    return {"blanks above in most draws": f"{ever} of {len(read)}", **told}


if __name__ == "__main__":
    typer.run(main)
