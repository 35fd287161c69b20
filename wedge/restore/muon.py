"""Steps of the network that restores: matrices of layers move by orthogonal ones, what is no matrix as Adam moves it.

A layer's gradient, averaged over steps, is replaced by the nearest matrix whose singular values are all alike, found by a few products of
matrices: where gradients rarely point, a step goes as far as where they always do. A small network learns from noisy halves in half of
Adam's steps or fewer so, see the benchmarks' results.

References
----------
K. Jordan et al. (2024), *Muon: An optimizer for hidden layers in neural networks*, https://kellerjordan.github.io/posts/muon/
"""

from collections.abc import Iterable, Iterator

import torch

from wedge.fit.adam import Adam

_MOMENTUM = 0.9
_ITERATIONS = 5
_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the polynomial that takes singular values between 0 and 1 near to 1 the fastest: to between .7 and 1.2."""
_ADAM_SHARE = 0.05
"""Of the learning rate: biases, and layers from one channel or to one."""


class Muon:
    """The optimizer of a network's parameters.

    Parameters
    ----------
    parameters
        Of two axes and more are matrices: the first axis by all others.
    learning_rate
        Singular values of a step.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> None:
        given = list(parameters)
        self._matrices = [each for each in given if each.ndim > 1 and min(each.shape[:2]) > 1]
        self._moments = [torch.zeros_like(each) for each in self._matrices]
        others = [each for each in given if not any(each is matrix for matrix in self._matrices)]
        self._learning_rate = learning_rate
        self._adam = Adam(others, lr=_ADAM_SHARE * learning_rate, fused=True)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self._adam.zero_grad()
        for matrix in self._matrices:
            matrix.grad = None

    @torch.no_grad()
    def step(self, pace: float) -> None:
        """Make a step along the gradients as they are, at a share of the learning rate."""
        for group in self._adam.param_groups:
            group["lr"] = pace * _ADAM_SHARE * self._learning_rate
        self._adam.step()
        for matrix, moment in zip(self._matrices, self._moments, strict=True):
            assert matrix.grad is not None
            moment.lerp_(matrix.grad, 1 - _MOMENTUM)
            # As if the next gradient were as this one.
            ahead = torch.lerp(matrix.grad, moment, _MOMENTUM)
            turned = orthogonal(ahead.reshape(len(ahead), -1))
            matrix.sub_(turned.reshape(matrix.shape), alpha=pace * self._learning_rate)

    def moments(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Give all that was kept of former gradients, by name: what a later run needs to go on exactly."""
        for index, moment in enumerate(self._moments):
            yield f"matrix.{index}", moment
        for place, entry in self._adam.state_dict()["state"].items():
            yield from ((f"other.{place}.{key}", value) for key, value in entry.items())

    @torch.no_grad()
    def load(self, moments: dict[str, torch.Tensor]) -> None:
        """Take over what was kept, see `moments`.

        Raises
        ------
        KeyError, IndexError, RuntimeError, ValueError
            If that was of other parameters.
        """
        for index, moment in enumerate(self._moments):
            moment.copy_(moments[f"matrix.{index}"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        others = self._adam.param_groups[0]["params"]
        for name, value in moments.items():
            kind, place, *key = name.split(".")
            if kind == "other":
                # In the layout of what they are moments of: the fused step goes through memory as it lies.
                kept = value if key[0] == "step" else torch.empty_like(others[int(place)]).copy_(value)
                state.setdefault(int(place), {})[key[0]] = kept.detach()
        self._adam.load_state_dict({"state": state, "param_groups": self._adam.state_dict()["param_groups"]})


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix ``(row, column)`` with the same singular vectors and values near 1, between about .7 and 1.2."""
    first, second, third = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = wide / wide.norm().clamp_min(1e-30)
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = first * found + (second * gram + third * gram @ gram) @ found
    return found if wide is matrix else found.T
