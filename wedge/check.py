"""A quick look at a plugin: imports it, builds it with its default options, and tries the first of its laws on a tiny problem.

The full laws are the pytest classes of `wedge.testing`; these here take a fraction of a second and need nothing but the plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from wedge.errors import PluginError, UsageError
from wedge.manifest import Entry
from wedge.registry import Registry, load_target, one_line, option_model, unavailable


@dataclass(frozen=True)
class Finding:
    """What became of one component.

    Parameters
    ----------
    entry
        The component.
    status
        ``ok``; ``unavailable``, sound but not for this machine; or ``broken``.
    detail
        What was checked, or what is wrong and what to do.
    """

    entry: Entry
    status: Literal["ok", "unavailable", "broken"]
    detail: str


def check_component(registry: Registry, entry: Entry) -> Finding:
    """Import one component, build it and try it; never fails because of it."""
    try:
        registry.find(entry.kind, entry.component.name)
        if reason := unavailable(entry):
            return Finding(entry, "unavailable", reason)
        return Finding(entry, "ok", _try(entry, registry))
    except PluginError as error:
        return Finding(entry, "broken", str(error))
    except Exception as error:
        return Finding(entry, "broken", f"{one_line(error)}; {entry.mend}")


def _try(entry: Entry, registry: Registry) -> str:
    """Check options and target, then the first law of the kind; return what was checked."""
    model = option_model(entry)
    if model is not None:
        if model.model_config.get("extra") != "forbid":
            raise PluginError(f"{entry.component.options} accepts unknown options: set extra='forbid' in its model_config")
        if "weight" in model.model_fields and entry.kind == "regularizer":
            raise PluginError(f"{entry.component.options} has an option 'weight': the fit applies it, rename it")
    if entry.kind == "command":
        target = load_target(entry, entry.component.target)
        if not callable(target):
            raise PluginError(f"{entry.component.target} is neither a function nor a Typer app")
        return "imported"
    try:
        resolved = registry.resolve(entry.kind, entry.component.name)
    except UsageError as error:
        load_target(entry, entry.component.target)
        return f"imported; not built: {error}"
    return _LAW_OF_KIND[entry.kind](resolved)


def _geometry() -> Any:
    """Return a small problem: 5 views of a box of 6 x 2 x 8 voxels."""
    from wedge.geometry import TiltGeometry

    return TiltGeometry(tilt_angles_deg=(-50.0, -20.0, 0.0, 25.0, 55.0), detector_shape=(2, 8), volume_shape=(6, 2, 8))


def _check_projector(resolved: Any) -> str:
    """Compare ``<P a, b>`` with ``<a, P^T b>`` within the tolerance that the projector declares."""
    import torch

    geometry = _geometry()
    projector = resolved.build(geometry, torch.device("cpu"))
    try:
        generator = torch.Generator().manual_seed(0)
        slices = torch.randn((2, 6, 8), generator=generator)
        sinograms = torch.randn((2, 5, 8), generator=generator)
        slices -= slices.mean()
        sinograms -= sinograms.mean()
        projected, backprojected = projector.project(slices), projector.backproject(sinograms)
        for found, expected in ((projected, sinograms), (backprojected, slices)):
            if found.shape != expected.shape or found.dtype != torch.float32:
                raise PluginError(f"returned {tuple(found.shape)} {found.dtype}: expected {tuple(expected.shape)} torch.float32")
        scale = float(projected.norm() * sinograms.norm())
        error = abs(float((projected * sinograms).sum() - (slices * backprojected).sum())) / scale
    finally:
        projector.close()
    if not error <= projector.adjoint_tolerance:
        raise PluginError(f"backproject is not the transpose of project: off by {error:.1e}, declared {projector.adjoint_tolerance:.1e}")
    return f"built; transpose right within {error:.0e}"


def _check_network(resolved: Any) -> str:
    """Evaluate on a small lattice and run backward."""
    import torch

    from wedge.lattice import FieldBox

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        box = FieldBox((6, 4, 8))
        network = resolved.build(box)
        values = network(box.lattice(0.0, 2.0))
    if values.shape != (2, 6, 8) or not bool(torch.isfinite(values).all()):
        raise PluginError(f"returned {tuple(values.shape)}: expected (2, 6, 8) finite values")
    values.square().sum().backward()
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"built; forward and backward run; {count} parameters for 6 x 4 x 8"


def _check_regularizer(resolved: Any) -> str:
    """Penalize noise and ask for a finite, differentiable number."""
    import torch

    from wedge.contracts import RegularizerContext
    from wedge.geometry import TiltGeometry

    rows = 16
    geometry = TiltGeometry(tuple(float(angle) for angle in range(-60, 61, 10)), (rows, 24), (20, rows, 24))
    regularizer = resolved.build(geometry)
    slices = torch.randn((rows, 20, 24), generator=torch.Generator().manual_seed(0)).requires_grad_()

    def field(lattice: Any) -> torch.Tensor:
        return slices.new_zeros(lattice.shape) + slices.mean()

    penalty = regularizer(slices, RegularizerContext(slice(0, rows), 1.0, 0, 10, torch.Generator().manual_seed(0), field))
    if penalty.ndim != 0 or not bool(torch.isfinite(penalty)):
        raise PluginError(f"returned shape {tuple(penalty.shape)}: expected one finite number")
    penalty.backward()  # type: ignore[no-untyped-call, unused-ignore]
    return f"built; penalty of noise {penalty.item():.2g}; halo of {regularizer.halo_rows} rows"


def _check_metric(resolved: Any) -> str:
    """Measure noise against itself."""
    import torch

    from wedge.contracts import MetricContext

    metric = resolved.build()
    if metric.scope not in ("slice", "volume") or metric.better not in ("higher", "lower"):
        raise PluginError(f"scope is {metric.scope!r} and better is {metric.better!r}: expected slice or volume, higher or lower")
    slices = torch.randn((48, 48, 48), generator=torch.Generator().manual_seed(0))
    if metric.scope == "slice":
        values = metric(slices[:2], slices[:2], float(slices.max() - slices.min()))
        if values.shape != (2,):
            raise PluginError(f"returned shape {tuple(values.shape)}: expected one value for each of 2 rows")
        return "built; measures slices"
    metric.start(MetricContext((48, 48, 48), float(slices.max() - slices.min()), tuple(float(a) for a in range(-60, 61, 5))))
    metric.update(0, slices[:24], slices[:24])
    metric.update(24, slices[24:], slices[24:])
    if not metric.finish().values:
        raise PluginError("finish returned no value")
    return "built; measures volumes"


def _check_observer(resolved: Any) -> str:
    """Build it and look for its five methods; nothing is written."""
    observer = resolved.build()
    missing = [name for name in ("start", "step", "preview", "end", "failed") if not inspect.ismethod(getattr(observer, name, None))]
    if missing:
        raise PluginError(f"lacks {', '.join(missing)}")
    return "built"


_LAW_OF_KIND: dict[str, Callable[[Any], str]] = {
    "projector": _check_projector,
    "network": _check_network,
    "regularizer": _check_regularizer,
    "metric": _check_metric,
    "observer": _check_observer,
}
