"""Telling observers of a fit. An observer that fails is named once and left out; the fit goes on."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from wedge.contracts import Observer, RunInfo
from wedge.fit.model import Field
from wedge.lattice import FieldBox, Lattice

PREVIEW_SIDE = 192
"""Points along the longest side of the coarse lattice on which a field is shown."""
_PREVIEW_ROWS = 8


class ObserverGroup:
    """Observers by name, told in turn."""

    def __init__(self, observers: Mapping[str, Observer]) -> None:
        self._active = dict(observers)

    def __len__(self) -> int:
        return len(self._active)

    def _tell(self, method: str, *arguments: Any) -> None:
        for name, observer in list(self._active.items()):
            try:
                getattr(observer, method)(*arguments)
            except Exception as error:
                # An observer is somebody else's code: whatever it raises must not cost the fit.
                del self._active[name]
                warnings.warn(f"observer {name!r} failed in {method} and is left out: {error}", stacklevel=2)

    def start(self, run: RunInfo) -> None:
        """Pass on `Observer.start`."""
        self._tell("start", run)

    def step(self, step: int, scalars: Mapping[str, torch.Tensor | float]) -> None:
        """Pass on `Observer.step`."""
        self._tell("step", step, scalars)

    def preview(self, step: int, previews: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        """Pass on `Observer.preview`."""
        self._tell("preview", step, previews)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Pass on `Observer.end`."""
        self._tell("end", summary)

    def failed(self, error: BaseException) -> None:
        """Pass on `Observer.failed`."""
        self._tell("failed", error)


def field_previews(field: Field, box: FieldBox, device: torch.device) -> dict[str, Callable[[], torch.Tensor]]:
    """Return callables for the middle orthoslices, the log power spectrum of the middle (z, x) slice and a coarse whole; fit's units."""

    def middle(which: int) -> tuple[float, float]:
        start = float((box.shape[which] - 1) // 2)
        return start, start + 1

    def evaluate(fixed: int) -> torch.Tensor:
        z, y, x = (box.axis(i, *(middle(i) if i == fixed else (0.0, float(box.shape[i]))), device=device) for i in range(3))
        with torch.no_grad():
            return field(Lattice(z, y, x)).select({0: 1, 1: 0, 2: 2}[fixed], 0)

    def spectrum() -> torch.Tensor:
        image = evaluate(1)
        window = torch.hann_window(image.shape[0], device=device)[:, None] * torch.hann_window(image.shape[1], device=device)
        return torch.fft.fftshift(torch.fft.fft2(image * window).abs().square().clamp_min(1e-12).log10())

    def volume() -> torch.Tensor:
        spacing = max(1.0, max(box.shape) / PREVIEW_SIDE)
        lattice = box.lattice(spacing=spacing, device=device)
        rows = lattice.y.split(_PREVIEW_ROWS)
        with torch.no_grad():
            return torch.cat([field(Lattice(lattice.z, y, lattice.x, lattice.spacing_voxels)).cpu() for y in rows])

    return {
        "volume": volume,
        "ortho_xy": lambda: evaluate(0),
        "ortho_xz": lambda: evaluate(1),
        "ortho_yz": lambda: evaluate(2).T,
        "spectrum_xz": spectrum,
    }
