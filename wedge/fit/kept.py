"""What a recorded step goes on reading has to stay where it is, whoever made it."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Kept(TorchDispatchMode):
    """Keeps every tensor that is read while it is active and was there before: a cache that it comes from may drop it."""

    def __init__(self) -> None:
        super().__init__()
        self._by_place: dict[int, torch.Tensor] = {}
        self._made: set[int] = set()

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What was read and not made meanwhile."""
        return list(self._by_place.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what an operation reads and makes."""
        kwargs = kwargs or {}
        for tensor in _tensors_in((args, kwargs)):
            if _place(tensor) not in self._made:
                self._by_place.setdefault(_place(tensor), tensor)
        found = func(*args, **kwargs)
        self._made.update(place for tensor in _tensors_in(found) if (place := _place(tensor)) not in self._by_place)
        return found


def _tensors_in(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _place(tensor: torch.Tensor) -> int:
    """Return where a tensor's values are, the same for all views of it."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
