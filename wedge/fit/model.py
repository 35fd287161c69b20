"""The fitted field: a network, and how its raw values become density."""

from __future__ import annotations

from typing import Any, cast

import torch

from wedge.draws import seed_for
from wedge.errors import PluginError
from wedge.fit.adam import Adam
from wedge.fit.blur import Blur
from wedge.lattice import FieldBox, Lattice
from wedge.registry import Resolved

_SHARPNESS = 10.0
_SHIFT = 0.1
_NEARLY_EMPTY = 0.03

ADAM_EPSILON = 1e-8


class Field(torch.nn.Module):
    """A network's raw values as normalized density: unchanged, or through a softplus where density is positive.

    The softplus bends over a tenth of the normalized density and starts at 0.03, so that the fit begins near empty space. A blur, where
    there is one, comes last, so that a positive density stays positive.
    """

    def __init__(self, network: torch.nn.Module, positive: bool, half_precision: bool, blur: Blur | None = None) -> None:
        super().__init__()
        self.network, self.positive, self.half_precision, self.blur = network, positive, half_precision, blur

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32 normalized density."""
        if self.blur is None:
            return self._sharp(lattice)
        return self.blur(self._sharp(self.blur.widened(lattice)), lattice)

    @torch.no_grad()
    def begin_with(self, density: torch.Tensor) -> None:
        """Let the network give a normalized density ``(y, z, x)``, one value a voxel of the box; it has ``begin_with``."""
        raw = density
        if self.positive:
            # Where the softplus is flat, what is taken for empty would stay so.
            raw = density.clamp_min(_NEARLY_EMPTY).mul_(_SHARPNESS).expm1_().log_().div_(_SHARPNESS).add_(_SHIFT)
        cast(Any, self.network).begin_with(raw)

    def _sharp(self, lattice: Lattice) -> torch.Tensor:
        """Return the density before it is blurred."""
        with torch.autocast(lattice.z.device.type, torch.bfloat16, enabled=self.half_precision):
            raw = cast(torch.Tensor, self.network(lattice))
        if raw.shape != lattice.shape:
            raise PluginError(
                f"network {type(self.network).__name__} returned shape {tuple(raw.shape)}: expected (y, z, x) {lattice.shape}"
            )
        raw = raw.float()
        return torch.nn.functional.softplus(raw - _SHIFT, beta=_SHARPNESS) if self.positive else raw


def build_field(
    network: Resolved,
    box: FieldBox,
    seed: int,
    positive: bool,
    half_precision: bool,
    device: torch.device,
    blur_voxels: float = 0.0,
) -> Field:
    """Build the field with its random start drawn from ``seed`` alone; it is the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "network"))
        module = network.build(box)
    if not isinstance(module, torch.nn.Module):
        raise PluginError(f"network {network.entry.component.name!r} is a {type(module).__name__}: expected a torch.nn.Module")
    blur = Blur(blur_voxels, max(box.shape)) if blur_voxels > 0 else None
    return Field(module, positive, half_precision, blur).to(device)


def build_optimizer(field: Field, learning_rate: float, betas: tuple[float, float], epsilon: float = ADAM_EPSILON) -> Adam:
    """Return Adam over the field's parameters, with the learning rates that the network suggests relative to one another.

    Gradients well below ``epsilon`` make small steps instead of normalized ones.
    """
    suggest = getattr(field.network, "learning_rates", None)
    relative: dict[str, float] = suggest() if callable(suggest) else {}
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in field.network.named_parameters():
        matches = [prefix for prefix in relative if name.startswith(prefix)]
        factor = relative[max(matches, key=len)] if matches else 1.0
        groups.setdefault(factor, []).append(parameter)
    if not groups:
        raise PluginError(f"network {type(field.network).__name__} has no parameters: nothing can be fitted")
    # In one pass over memory, where torch has it.
    fused = all(part.is_floating_point() and part.device.type in ("cpu", "cuda") for parameters in groups.values() for part in parameters)
    return Adam(
        [{"params": parameters, "lr": learning_rate * factor, "relative": factor} for factor, parameters in groups.items()],
        lr=learning_rate,
        betas=betas,
        eps=epsilon,
        fused=fused or None,
    )


def record_of(field: Field) -> dict[str, str]:
    """Return what the network says of how it was computed, for the record of an output: ``network_`` before each of its keys."""
    tell = getattr(field.network, "record", None)
    told: dict[str, str] = tell() if callable(tell) else {}
    return {f"network_{key}": value for key, value in told.items()}


def half_precision_pays(device: torch.device) -> bool:
    """Return whether bfloat16 is computed natively on the device; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False
