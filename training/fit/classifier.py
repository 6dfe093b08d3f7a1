"""Trains the classifier on cells whose labels leave several classes open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from edge.types import CLASSES, Pixels
from training.data.augment import again, another_microscope, exchanged, mirrored_near, turned
from training.data.crops import CROP_PX, SHARES, STREAMS, Patches, allowed
from training.data.dirt import dirtied
from training.data.transplant import transplanted
from training.fit import quantisation_aware
from training.fit.networks import GREY, Classifier, ClassifierGraph
from training.fit.unfinished import KEPT_EVERY, NOTHING_KEPT, Unfinished
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

AGAIN = 1.0
"""Weight, in the loss, of the divergence between two forms of a picture."""

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


def consistency(logits: Tensor, again: Tensor) -> Tensor:
    """Return how far the answers to two forms of pictures lie apart, logits (N, 6) each.

    The mean of both Kullback–Leibler divergences.
    """
    one, other = torch.log_softmax(logits, 1), torch.log_softmax(again, 1)
    there, back = ((a.exp() * (a - b)).sum(1).mean() for a, b in ((one, other), (other, one)))
    return (there + back) / 2


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step is taught with.

    x: planes (N, 3, 64, 64) in −128…127; may: (N, 6). again: planes (M, 3, 64, 64), other forms of the rows (M,) of x.
    """

    x: Tensor
    may: Tensor
    rows: Tensor
    again: Tensor


def batch_of(data: Patches, chosen: np.ndarray, seed: int, exchange: float = EXCHANGE, twice: int = 0) -> Batch:
    """Show patches as another microscope would.

    Args:
        data: the patches.
        chosen: rows of them.
        seed: the same gives the same batch.
        exchange: share of the cells that take the colours of another one.
        twice: so many of the cells are shown in another form too.
    """
    g = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(_moved(data, chosen, seed)).permute(0, 3, 1, 2).float() / 255
    may = torch.from_numpy(data.may[chosen])
    red = (may[:, NORMAL] + may[:, OTHER] > 0) & (may[:, SICKLE] == 0)
    oval = red & (torch.rand(len(x), generator=g) < OVAL_SHARE)
    squeeze = torch.where(oval, torch.rand(len(x), generator=g) * (OVAL[1] - OVAL[0]) + OVAL[0], 1.0)
    may[oval] = torch.from_numpy(allowed("other"))
    x = mirrored_near(exchanged(turned(x, CROP_PX, g, squeeze), g, exchange), g, MIRRORED)
    x = another_microscope(x, g, unchanged=0.3)
    rows = torch.randperm(len(x), generator=g)[:twice]
    other = again(x[rows], g) if twice else x[:0]
    return Batch(x * 255 - GREY, may, rows, other * 255 - GREY)


def _moved(data: Patches, chosen: np.ndarray, seed: int) -> Pixels:
    """Return the patches, a share of the red cells on the glass of another field, and drawn dirt on some of all."""
    rng = np.random.default_rng(seed)
    pictures: Pixels = data.patches[chosen]
    grounds = np.nonzero(data.stream == STREAMS.index("background"))[0]
    red = data.may[chosen][:, [NORMAL, SICKLE, OTHER]].any(1)
    for i in np.nonzero(red & (rng.random(len(chosen)) < TRANSPLANTED))[0] if len(grounds) else ():
        pictures[i] = transplanted(pictures[i], data.patches[rng.choice(grounds)], float(rng.uniform(0.7, 1.4)))
    return dirtied(pictures, data.stream[chosen] == STREAMS.index("background"), red, rng)


class _Draw:
    """Draws the rows of a batch: so many of each stream, those that the network gets wrong more often."""

    def __init__(self, data: Patches, shares: Mapping[str, int], rng: np.random.Generator) -> None:
        self._data, self._shares, self._rng = data, shares, rng
        self._pools = {name: np.nonzero(data.stream == i)[0] for i, name in enumerate(STREAMS)}
        self.wrong = np.zeros(len(data.patches), np.float32)
        self._odds: dict[str, np.ndarray] = {}
        self.mine()

    def __call__(self) -> np.ndarray:
        return np.concatenate(
            [self._rng.choice(self._pools[n], self._shares[n], p=p) for n, p in self._odds.items()]
        )  # fmt: skip

    def mine(self) -> None:
        """Draw from now on by what is known to be wrong."""
        for name, pool in self._pools.items():
            if len(pool) and self._shares[name]:
                weight = self._data.weight[pool] * (1 + MINED_BY * self.wrong[pool])
                self._odds[name] = weight / weight.sum()

    def note(self, rows: np.ndarray, prob: np.ndarray) -> None:
        """Remember how wrong the probabilities (N, 6) of rows are.

        Sickle that is none, and red cell that is none.
        """
        may = self._data.may[rows]
        red = may[:, [NORMAL, SICKLE, OTHER]].any(1)
        wrong = np.where(red, prob[:, SICKLE], prob[:, [NORMAL, SICKLE, OTHER]].sum(1))
        self.wrong[rows] = np.where(may[:, SICKLE] > 0, 0, wrong)


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
    twice: int = 0,
    unfinished: Unfinished = NOTHING_KEPT,
) -> Classifier:
    """Train on batches that take `shares` of each stream, from `start` on.

    The learning rate ends at nought, so the last weights count.

    Args:
        data: single cells.
        steps: of the optimiser.
        seed: the same gives the same weights on one machine.
        learning_rate: the highest.
        start: weights to go on from.
        shares: cells of each stream in a batch.
        exchange: share of the cells that take the colours of another one.
        progress: is told each step and its loss.
        rounded: to bear INT8, see `quantisation_aware`.
        twice: so many cells of a batch are shown in another form too, and shall be called alike.
        unfinished: keeps the state of a training that is stopped.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Classifier()
    if start is not None:
        net.load_state_dict(start.state_dict())
    net = net.to(memory_format=torch.channels_last).train()
    draw = _Draw(data, shares, rng)
    if rounded:
        quantisation_aware.begin(net, lambda own: batch_of(data, draw(), own, exchange).x, seed, TOP)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=max(0.15, 2 / steps))
    first, kept = 0, unfinished.restore(net, optimiser, schedule, rng)
    if kept is not None:
        first, draw.wrong = kept["step"], kept["wrong"].numpy()
        draw.mine()
    rows = kept["rows"].numpy() if kept is not None else draw()
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batch_of, data, rows, seed * 1_000_003 + first, exchange, twice)
        for step in range(first, steps):
            batch = coming.result()
            shown, rows = rows, draw()
            coming = ahead.submit(batch_of, data, rows, seed * 1_000_003 + step + 1, exchange, twice)
            unboxed = torch.from_numpy(data.stream[shown] == STREAMS.index("unboxed"))
            believed = start is not None or step > BELIEVED_FROM * steps
            value, prob = _judged(net, batch, unboxed, believed, rounded)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            draw.note(shown, prob.numpy())
            if step % MINED_EVERY == 0:
                draw.mine()
            if step and step % KEPT_EVERY == 0:
                more = {"rows": torch.from_numpy(rows), "wrong": torch.from_numpy(draw.wrong)}
                unfinished.save(step + 1, net, optimiser, schedule, rng.bit_generator.state, **more)
            progress(step + 1, float(value.detach()))
    if rounded:
        quantisation_aware.end(net)
    trained: Classifier = net.eval()
    return trained


def _judged(net: Classifier, batch: Batch, unboxed: Tensor, believed: bool, rounded: bool) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and the probabilities (N, 6) that it was found with."""
    x = batch.x.contiguous(memory_format=torch.channels_last)
    features = net.features(x)
    logits = net.head(net.drop(features))
    value = loss(logits, batch.may, unboxed, believed)
    if rounded:
        with quantisation_aware.exactly(net):
            exact = torch.softmax(net.head(net.features(x)), 1)
        given = torch.log_softmax(net.head(features), 1)
        value = value + DRIFT * F.kl_div(given, exact, reduction="batchmean")
    if len(batch.rows):
        again = net.head(net.features(batch.again.contiguous(memory_format=torch.channels_last)))
        value = value + AGAIN * consistency(net.head(features[batch.rows]), again)
    return value, torch.softmax(logits.detach(), 1)


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
