"""Trains the classifier on cells whose labels leave several classes open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from edge.types import CLASSES, Pixels
from training.data.augment import another_microscope, exchanged, mirrored_near, turned
from training.data.crops import CROP_PX, SHARES, STREAMS, Patches, allowed
from training.data.transplant import transplanted
from training.fit import quantisation_aware
from training.fit.networks import GREY, Classifier, ClassifierGraph
from training.run_folder import restore, save_weights

NORMAL, SICKLE, OTHER = (CLASSES.index(name) for name in ("normal", "sickle", "other"))

BELIEVED_FROM = 0.25
"""Part of the training after which the network is asked whether an unboxed cell of a positive field is sickle."""

NOT_SICKLE_BELOW = 0.3
"""An unboxed cell that the network gives less than this is taken as not sickle: most of them are not, and without them
every round cell that was learnt would come from another slide than every sickle cell."""


EXCHANGE, EXCHANGE_LAST = 0.35, 0.8
"""Share of the cells that take another one's colours, at first, and in the last steps. With the former alone the
networks still took the colours of `chula_rbc12`, which has no sickle cells, for a sign that a cell is none."""

TRANSPLANTED = 0.35
"""Share of the red cells that are moved to the glass of another field. Without it cells around, and the glass between
them, told positive from negative fields: of cells pasted into negative fields 43 % were found, of 88 % at home."""

MIRRORED = 0.1
"""Share of the cells whose surroundings are their own mirror image, as those of a picture of one cell alone are."""

OVAL_SHARE = 0.08
"""Share of the round cells that are drawn out to smooth ovals, which are not sickle cells: of real ones there is one
slide."""

OVAL = (1.5, 2.4)
"""Length over width, times what it was, of a cell so drawn out."""

TOP = 0.99
"""Part of a ReLU's answers that rounding leaves as they are."""

DRIFT = 3.0
"""Weight, in the loss, of the divergence of the rounded probabilities from the exact ones."""

MINED_EVERY = 25
"""Steps between two drawings of the odds at which hard cells are drawn."""

MINED_BY = 6.0
"""A cell that is not sickle is drawn up to 1 + this many times as often, in proportion to its sickle probability."""


def loss(logits: Tensor, may: Tensor, unboxed: Tensor, believed: bool) -> Tensor:
    """Return the mean negative log likelihood of all classes that a label leaves open.

    `may` is (N, 6).
    """
    logp = torch.log_softmax(logits, 1)
    if believed:
        doubted = unboxed & (logp[:, SICKLE].detach().exp() < NOT_SICKLE_BELOW)
        may = may.clone()
        may[doubted, SICKLE] = 0
    return -torch.logsumexp(logp + may.clamp_min(1e-9).log(), 1).mean()


def batch_of(data: Patches, chosen: np.ndarray, seed: int, exchange: float = EXCHANGE) -> tuple[Tensor, Tensor]:
    """Make planes of patches as another microscope would show them, and their `may`.

    Planes are (N, 3, 64, 64) in −128…127.

    exchange: share of the cells that take the colours of another one.
    """
    g = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(_moved(data, chosen, seed)).permute(0, 3, 1, 2).float() / 255
    may = torch.from_numpy(data.may[chosen])
    red = (may[:, NORMAL] + may[:, OTHER] > 0) & (may[:, SICKLE] == 0)
    oval = red & (torch.rand(len(x), generator=g) < OVAL_SHARE)
    squeeze = torch.where(oval, torch.rand(len(x), generator=g) * (OVAL[1] - OVAL[0]) + OVAL[0], 1.0)
    may[oval] = torch.from_numpy(allowed("other"))
    x = mirrored_near(exchanged(turned(x, CROP_PX, g, squeeze), g, exchange), g, MIRRORED)
    return another_microscope(x, g, unchanged=0.3) * 255 - GREY, may


def _moved(data: Patches, chosen: np.ndarray, seed: int) -> Pixels:
    """Return the patches, a share of the red cells on the glass of another field."""
    rng = np.random.default_rng(seed)
    pictures: Pixels = data.patches[chosen]
    grounds = np.nonzero(data.stream == STREAMS.index("background"))[0]
    red = data.may[chosen][:, [NORMAL, SICKLE, OTHER]].any(1)
    for i in np.nonzero(red & (rng.random(len(chosen)) < TRANSPLANTED))[0] if len(grounds) else ():
        pictures[i] = transplanted(pictures[i], data.patches[rng.choice(grounds)], float(rng.uniform(0.7, 1.4)))
    return pictures


def train(
    data: Patches,
    steps: int,
    seed: int,
    learning_rate: float = 3e-3,
    start: Classifier | None = None,
    shares: Mapping[str, int] = SHARES,
    exchange: float = EXCHANGE,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    rounded: bool = False,
) -> Classifier:
    """Train on batches that take `shares` of each stream, from `start` on.

    rounded: to bear INT8, see `quantisation_aware`. The learning rate ends at nought, so the last weights count.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Classifier()
    if start is not None:
        net.load_state_dict(start.state_dict())
    net = net.to(memory_format=torch.channels_last).train()
    pools = {name: np.nonzero(data.stream == i)[0] for i, name in enumerate(STREAMS)}
    wrong = np.zeros(len(data.patches), np.float32)
    odds: dict[str, np.ndarray] = {}

    def chosen() -> np.ndarray:
        return np.concatenate([rng.choice(pools[n], shares[n], p=p) for n, p in odds.items()])

    def mine() -> None:
        for name, pool in pools.items():
            if len(pool) and shares[name]:
                weight = data.weight[pool] * (1 + MINED_BY * wrong[pool])
                odds[name] = weight / weight.sum()

    mine()
    if rounded:
        quantisation_aware.begin(net, lambda own: batch_of(data, chosen(), own, exchange)[0], seed, TOP)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=max(0.15, 2 / steps))
    with ThreadPoolExecutor(1) as ahead:
        rows = chosen()
        coming = ahead.submit(batch_of, data, rows, seed * 1_000_003, exchange)
        for step in range(steps):
            x, may = coming.result()
            unboxed = torch.from_numpy(data.stream[rows] == STREAMS.index("unboxed"))
            shown, rows = rows, chosen()
            coming = ahead.submit(batch_of, data, rows, seed * 1_000_003 + step + 1, exchange)
            x = x.contiguous(memory_format=torch.channels_last)
            features = net.features(x)
            logits = net.head(net.drop(features))
            value = loss(logits, may, unboxed, believed=start is not None or step > BELIEVED_FROM * steps)
            if rounded:
                with quantisation_aware.exactly(net):
                    exact = torch.softmax(net.head(net.features(x)), 1)
                given = torch.log_softmax(net.head(features), 1)
                value = value + DRIFT * F.kl_div(given, exact, reduction="batchmean")
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            p_sickle = torch.softmax(logits.detach(), 1)[:, SICKLE].numpy()
            wrong[shown] = np.where(data.may[shown, SICKLE] > 0, 0, p_sickle)
            if step % MINED_EVERY == 0:
                mine()
            progress(step + 1, float(value.detach()))
    if rounded:
        quantisation_aware.end(net)
    trained: Classifier = net.eval()
    return trained


def probabilities(net: Classifier, pictures: Pixels, temperature: float = 1.0) -> np.ndarray:
    """Classify uint8 (N, 64, 64, 3) crops: float32 (N, 6)."""
    graph = ClassifierGraph(net, temperature).eval()
    with torch.inference_mode():
        parts = [graph(torch.from_numpy(pictures[i : i + 256]))[0].numpy() for i in range(0, len(pictures), 256)]
    return np.concatenate(parts) if parts else np.zeros((0, len(CLASSES)), np.float32)


def save(net: Classifier, path: Path) -> None:
    """Write the weights aside and rename."""
    save_weights(net, path)


def restored(path: Path) -> Classifier:
    """Read weights written by `save`."""
    net = Classifier()
    restore(net, path)
    return net
