"""Which code computes the layers of a network: torch, or kernels that keep them on the chip."""

import os
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import torch

from wedge.plugin_api import DeviceError, PluginError

if TYPE_CHECKING:
    from wedge_networks.fused import Plan

KernelName = Literal["auto", "torch", "triton"]
KERNEL = "what computes the layers: torch; triton, fused in a kernel on CUDA; auto: triton on CUDA where the width fits"

_WIDTHS = (16, 32, 64, 128)
_MOST_LAYERS, _MOST_FEATURES = 4, 128
_WIDEST_IN_FLOAT32 = 64  # for `auto`: by the compiler's report, a block of wider ones does not fit into registers in float32


def interprets() -> bool:
    """Return whether kernels are interpreted on the CPU: for tests, for it is slow."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def misfit(width: int, layers: int, activation: str, features: int = 0) -> str | None:
    """Return why the kernels cannot compute an MLP, or None.

    Parameters
    ----------
    width, layers
        Units of a hidden layer; how many hidden layers follow the first one.
    activation
        ``"relu"`` and ``"sine"`` are known.
    features
        Channels that the first layer reads, 0 where it reads coordinates.
    """
    if width not in _WIDTHS:
        return f"the kernels take a width of {', '.join(map(str, _WIDTHS[:-1]))} or {_WIDTHS[-1]}, not {width}"
    if layers > _MOST_LAYERS:
        return f"the kernels take at most {_MOST_LAYERS + 1} hidden layers, not {layers + 1}"
    if activation not in ("relu", "sine"):
        return f"the kernels know relu and sine, not {activation}"
    return f"the kernels take at most {_MOST_FEATURES} features at a point, not {features}" if features > _MOST_FEATURES else None


def checked_kernel(kernel: KernelName, reason: str | None) -> KernelName:
    """Return the option ``kernel`` unless it asks for what `misfit` gave a reason against.

    Raises
    ------
    ValueError
        With that reason.
    """
    if kernel == "triton" and reason:
        raise ValueError(f"{reason}; leave kernel=triton out")
    return kernel


class KernelChoice:
    """What computes an MLP on each device, settled when it is first asked for there.

    Parameters
    ----------
    kernel
        The option.
    width, layers, activation, features
        See `misfit`.
    """

    def __init__(self, kernel: KernelName, width: int, layers: int, activation: str, features: int = 0) -> None:
        self._kernel = kernel
        self._sizes = (layers, width, features)
        self._sine = activation == "sine"
        self._fits = misfit(width, layers, activation, features) is None
        self._settled: dict[tuple[torch.device, str], Plan | None] = {}

    def plan(self, device: torch.device) -> "Plan | None":
        """Return how the kernels work on a device in the precision that autocast asks for, or None where torch computes.

        Raises
        ------
        DeviceError
            If the option asks for the kernels, and this is not a device for them.
        PluginError
            If it does, and Triton is not installed or none of its kernels works here.
        """
        if self._kernel == "torch" or not self._fits or (self._kernel == "auto" and device.type != "cuda"):
            return None
        key = device, _precision(device)
        if key not in self._settled:
            self._settled[key] = self._settle(*key)
        return self._settled[key]

    def extra_bytes(self, device: torch.device, shape: tuple[int, int, int]) -> int:
        """Bound on what the kernels, should they compute, need over ``(y, z, x)`` points beside the features; 0 where torch computes."""
        asked = self._kernel == "triton" or (self._kernel == "auto" and device.type == "cuda")
        if not asked or not self._fits or _unusable(device):
            return 0
        from wedge_networks.fused_layers import extra_bytes
        from wedge_networks.fused_trial import plans_on

        return max(extra_bytes(plan, shape, *self._sizes) for plan in plans_on(device, self._sizes[1], self._sine, _precision(device)))

    def record(self) -> dict[str, str]:
        """Return what computed the layers, for the record of an output."""
        return {"kernel": "triton" if any(self._settled.values()) else "torch"}

    def _settle(self, device: torch.device, precision: str) -> "Plan | None":
        width, unusable = self._sizes[1], _unusable(device)
        if self._kernel == "auto" and (unusable or (width > _WIDEST_IN_FLOAT32 and precision not in ("bfloat16", "rounded"))):
            return None
        if unusable:
            raise unusable
        from wedge_networks.fused_trial import first_that_works

        plan, reason = first_that_works(device, *self._sizes, self._sine, precision)
        if plan is None and self._kernel == "triton":
            raise PluginError(f"network option kernel=triton does not work here: {reason}; give kernel=torch")
        if plan is None:
            warnings.warn(f"the network's fused kernels do not work here, torch computes instead: {reason}", stacklevel=2)
        return plan


def _unusable(device: torch.device) -> Exception | None:
    """Return why no kernel runs on a device, or None."""
    if find_spec("triton") is None:
        return PluginError("network option kernel=triton: triton is not installed: pip install triton, or give kernel=torch")
    if device.type != "cuda":
        return (
            None
            if interprets()
            else DeviceError("network option kernel=triton works on CUDA GPUs alone: give --device cuda, or kernel=torch")
        )
    if torch.cuda.get_device_capability(device) < (8, 0):
        return DeviceError(f"network option kernel=triton: {torch.cuda.get_device_name(device)} is too old for it: give kernel=torch")
    return None


def _precision(device: torch.device) -> str:
    """Return how factors are multiplied, see `fused_kernels`: as torch's own products of float32 are, or as autocast says.

    Three products in tf32 are as exact as one in float32, to its rounding, and run on the matrix units.
    """
    if torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16:
        return "rounded" if interprets() else "bfloat16"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
