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
        self._opened: set[str] = set()

    def __len__(self) -> int:
        return len(self._active)

    def _tell(self, method: str, *arguments: Any, optional: bool = False, opens: bool = False, closes: bool = False) -> None:
        for name, observer in list(self._active.items()):
            if (closes and name not in self._opened) or (optional and not hasattr(observer, method)):
                continue
            if opens:
                self._opened.add(name)
            try:
                getattr(observer, method)(*arguments)
            except Exception as error:
                # An observer is somebody else's code: whatever it raises must not cost the fit.
                del self._active[name]
                warnings.warn(f"observer {name!r} failed in {method} and is left out: {error}", stacklevel=2)

    def start(self, run: RunInfo) -> None:
        """Pass on `Observer.start`."""
        self._tell("start", run, opens=True)

    def prepare(self, run_dir: str) -> None:
        """Tell who wants to know it where the run is, before anything is measured."""
        self._tell("prepare", run_dir, optional=True, opens=True)

    def say(self, text: str) -> None:
        """Tell who wants to know it what is going on."""
        self._tell("say", text, optional=True)

    def stage(self, name: str, done: int, total: int) -> None:
        """Tell who wants to know it how far a part of the work is."""
        self._tell("stage", name, done, total, optional=True)

    def progress(self, done: int, total: int) -> None:
        """Tell who wants to know it how far the fit is."""
        self._tell("progress", done, total, optional=True)

    def offer(self, step: int, previews: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        """Offer previews to who looks by the clock."""
        self._tell("offer", step, previews, optional=True)

    def step(self, step: int, scalars: Mapping[str, torch.Tensor | float]) -> None:
        """Pass on `Observer.step`."""
        self._tell("step", step, scalars)

    def preview(self, step: int, previews: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        """Pass on `Observer.preview`."""
        self._tell("preview", step, previews)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Pass on `Observer.end` to those that were told of a beginning."""
        self._tell("end", summary, closes=True)

    def failed(self, error: BaseException) -> None:
        """Pass on `Observer.failed` to those that were told of a beginning."""
        self._tell("failed", error, closes=True)


def preview_spacing(shape: tuple[int, int, int]) -> float:
    """Return the distance in voxels of the points on which a volume ``(z, y, x)`` is shown."""
    return max(1.0, max(shape) / PREVIEW_SIDE)


def log_power(image: torch.Tensor) -> torch.Tensor:
    """Return the log power spectrum of a ``(z, x)`` slice, zero frequency in the middle."""
    num_z, num_x = image.shape
    window = torch.hann_window(num_z, device=image.device)[:, None] * torch.hann_window(num_x, device=image.device)
    return torch.fft.fftshift(torch.fft.fft2(image * window).abs().square().clamp_min(1e-12).log10())


def field_previews(field: Field, box: FieldBox, device: torch.device, margin: int = 0) -> dict[str, Callable[[], torch.Tensor]]:
    """Return callables for the middle orthoslices, the log power spectrum of the middle (z, x) slice and a coarse volume.

    Parameters
    ----------
    margin
        Voxels of the box on either side in x that are no part of the volume.
    """

    def middle(which: int) -> tuple[float, float]:
        start = float((box.shape[which] - 1) // 2)
        return start, start + 1

    def evaluate(fixed: int) -> torch.Tensor:
        z, y, x = (box.axis(i, *(middle(i) if i == fixed else (0.0, float(box.shape[i]))), device=device) for i in range(3))
        with torch.no_grad():
            return field(Lattice(z, y, x)).select({0: 1, 1: 0, 2: 2}[fixed], 0)

    def volume() -> torch.Tensor:
        num_z, num_y, num_x = box.shape
        spacing = preview_spacing((num_z, num_y, num_x - 2 * margin))
        z, y, x = (
            box.axis(which, float(low), float(high), min(spacing, float(high - low)), device)
            for which, (low, high) in enumerate([(0, num_z), (0, num_y), (margin, num_x - margin)])
        )
        with torch.no_grad():
            return torch.cat([field(Lattice(z, part, x, (spacing, spacing, spacing))).cpu() for part in y.split(_PREVIEW_ROWS)])

    return {
        "volume": volume,
        "ortho_xy": lambda: evaluate(0),
        "ortho_xz": lambda: evaluate(1),
        "ortho_yz": lambda: evaluate(2).T,
        "spectrum_xz": lambda: log_power(evaluate(1)),
    }
