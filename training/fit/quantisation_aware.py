"""Teaches a trained network to bear INT8: bounded ReLUs and weights on INT8's grid, by some more steps of training.

Symmetric INT8 divides 0…top into 127 steps, so one rare large number makes the steps of all others coarse. Each ReLU is
bounded as in PACT (Choi et al. 2018, arXiv 1805.06085), its limit measured instead of learnt, and rounds its answers
while the network is trained. The weights are rounded for good: INT8 multiplies by the very numbers that fp32 does.
Gradients pass through the rounding as if it were not there (Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.fit.networks import Rectified

BATCHES = 16
"""Batches by which the limits are measured."""

SAMPLE = 100_000
"""Answers of each ReLU that are looked at in a batch."""

WEIGHT_MAX = 64
"""INT8 weights use seven of their bits (docs/decisions/0018)."""

LEARNING_RATE = 1e-3


class OnGrid(nn.Module):
    """Rounds weights of a convolution to INT8's grid.

    Weights (outputs, …); those of each output to whole parts of their largest.

    A normalisation behind it scales the grid of an output with its weights, so they are still on it when both are one.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights rounded."""
        step = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-12) / WEIGHT_MAX
        zero = torch.zeros(len(weight), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -WEIGHT_MAX, WEIGHT_MAX)


def begin(net: nn.Module, batch: Callable[[int], Tensor], seed: int, top: float) -> None:
    """Bound a network by what it is trained on, and let it round until `end`.

    batch: makes planes (N, 3, H, W) from a seed; none is asked for that a step of a training by `seed` takes. top: part
    of a ReLU's answers that its limit leaves as they are.
    """
    _bound(net, (batch(abs(seed * 1_000_003 - i)) for i in range(1, BATCHES + 1)), top)
    for layer in _layers(net):
        parametrize.register_parametrization(layer, "weight", OnGrid())
    _let(net, rounds=True)


def end(net: nn.Module) -> None:
    """Make the rounded weights the network's own, and let it answer exactly again."""
    for layer in _layers(net):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    _let(net, rounds=False)


@contextmanager
def exactly(net: nn.Module) -> Iterator[None]:
    """Let a network that rounds answer for a while as fp32 will, without gradients."""
    _let(net, rounds=False)
    try:
        with torch.no_grad():
            yield
    finally:
        _let(net, rounds=True)


def _let(net: nn.Module, rounds: bool) -> None:
    for module in net.modules():
        if isinstance(module, Rectified):
            module.rounds = rounds


def _bound(net: nn.Module, batches: Iterable[Tensor], top: float) -> None:
    seen: dict[Rectified, list[np.ndarray]] = defaultdict(list)
    rng = np.random.default_rng(0)

    def look(module: Rectified, _: object, answer: Tensor) -> None:
        numbers = answer.flatten().numpy()
        seen[module].append(numbers[rng.integers(len(numbers), size=SAMPLE)])

    hooks = [module.register_forward_hook(look) for module in net.modules() if isinstance(module, Rectified)]
    was = net.training
    net.eval()
    with torch.no_grad():
        for batch in batches:
            net(batch)
    net.train(was)
    for hook in hooks:
        hook.remove()
    for module, parts in seen.items():
        module.high.fill_(float(np.quantile(np.concatenate(parts), top)))


def _layers(net: nn.Module) -> Iterator[nn.Conv2d]:
    """Give the convolutions but the first and the heads, which stay in higher precision."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None and module.in_channels > 3:
            yield module
