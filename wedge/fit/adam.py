"""Adam without torch's compiler.

The first call of any optimizer of torch imports ``torch._dynamo``, of no use to a fit that compiles nothing: it takes a second of every
process, and more than 100 MB of its memory. Nothing else is different: the same steps, bit for bit, and the same state.
"""

from inspect import unwrap
from typing import Any

import torch


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` for fits that are never compiled: its methods without the wrappers that import the compiler."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own."""
        unwrap(torch.optim.Adam.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        unwrap(torch.optim.Adam.zero_grad)(self, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments and the settings."""
        return unwrap(torch.optim.Adam.state_dict)(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take moments and settings over."""
        unwrap(torch.optim.Adam.load_state_dict)(self, state_dict)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step along the gradients as they are."""
        unwrap(torch.optim.Adam.step)(self)
