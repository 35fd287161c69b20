"""What each kind of plugin must be. Structural types: a plugin inherits nothing, the laws in `wedge.testing` check it.

Everything here is imported without torch; annotations alone name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

    from wedge.geometry import TiltGeometry
    from wedge.lattice import FieldBox, Lattice

API_VERSION = (1, 0)
"""(major, minor) of these contracts. A plugin made for another major, or for a later minor, is refused."""


@dataclass(frozen=True)
class Component:
    """What a hook returns about one thing that a plugin offers; nothing of it is imported before it is chosen.

    Parameters
    ----------
    name
        What users type; ``[a-z0-9-]+``.
    summary
        One line for lists and help.
    target
        ``"package.module:Class"``, built with the arguments of its contract.
    options
        ``"package.module:Options"``, a pydantic model, or None where there are no options.
    requires
        Distributions that must be installed, as ``pip`` names them.
    probe
        ``"package.module:function"``; the function returns None, or why the component is not available here. Must be cheap and safe.
    """

    name: str
    summary: str
    target: str
    options: str | None = None
    requires: tuple[str, ...] = ()
    probe: str | None = None


@runtime_checkable
class Projector(Protocol):
    """Line integrals of slices and their transpose. Built as ``(geometry, options, device)``.

    Any number of slices, independent of one another; any order of tilts, repeats and single views; output on the input's device, float32.
    The core owns autograd: both methods see detached tensors and return new ones.
    """

    adjoint_tolerance: float
    """Bound on ``|<P a, b> - <a, P^T b>| / (|P a| |b|)``, for zero-mean random ``a`` and ``b``."""

    def __init__(self, geometry: TiltGeometry, options: Any, device: torch.device) -> None:
        """Prepare for one geometry on one device."""

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        ...

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`."""
        ...

    def memory_bytes(self, n_slices: int) -> int:
        """Bound on the bytes that projecting and backprojecting ``n_slices`` needs on the device, the operator itself included."""
        ...

    def close(self) -> None:
        """Free what the projector holds."""


class Network(Protocol):
    """A ``torch.nn.Module`` that is a field. Built as ``(field_box, options)`` inside a forked, seeded random generator.

    It may also have ``learning_rates() -> dict[str, float]``: for the beginning of parameters' names, the learning rate relative to the
    fit's; the longest beginning counts, 1 where there is none. ``begin_with(values)``: from now on give raw ``(y, z, x)`` values at the
    voxels' centres, as closely as it can; fits then begin with what coarser volumes show. And ``record() -> dict[str, str]``: once it was
    evaluated, how that was done, for the record of the output.
    """

    def __init__(self, field_box: FieldBox, options: Any) -> None:
        """Make the parameters."""

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return raw ``(y, z, x)`` values, dimensionless and unbounded; about 0 at the start. Scale and sign are the fit's."""
        ...

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound on the bytes that a forward and a backward pass over ``(y, z, x)`` points keeps, without parameters."""
        ...


@dataclass(frozen=True)
class RegularizerContext:
    """What a regularizer may know beside the slices.

    Parameters
    ----------
    interior
        Rows of the slices that count; the others are halo. An edge of the volume has no halo.
    spacing_voxels
        Distance of neighbouring points.
    step, num_steps
        Where the fit is.
    generator
        Random numbers, a function of seed and step alone.
    field
        The fitted field, normalized as the slices are, on any lattice; with gradients.
    """

    interior: slice
    spacing_voxels: float
    step: int
    num_steps: int
    generator: torch.Generator
    field: Callable[[Lattice], torch.Tensor]


class Regularizer(Protocol):
    """A penalty on slices. Built as ``(geometry, options)``. ``weight`` and its schedule are the fit's.

    One that remembers has ``state_dict`` and ``load_state_dict``, of tensors, which checkpoints keep. One that looks at nothing of its
    context but the interior and the spacing may say so by ``of_slices_alone = True``: steps with it can be recorded on a GPU.
    """

    halo_rows: int
    """Rows that it needs on either side of those that count."""

    def __init__(self, geometry: TiltGeometry, options: Any) -> None:
        """Prepare for one geometry."""

    def __call__(self, slices: torch.Tensor, context: RegularizerContext) -> torch.Tensor:
        """Return the unweighted mean over the interior rows of ``(y, z, x)`` normalized density, which may be negative."""
        ...


@dataclass(frozen=True)
class MetricContext:
    """What a metric is told once, before the first slab.

    Parameters
    ----------
    shape
        ``(z, y, x)`` of the volume.
    data_range
        The reference's range, stated by the evaluator.
    tilt_angles_deg
        Angles of the measured views, or None where unknown.
    voxel_size_angstrom
        Edge of a voxel, or None where unknown.
    """

    shape: tuple[int, int, int]
    data_range: float
    tilt_angles_deg: tuple[float, ...] | None = None
    voxel_size_angstrom: float | None = None


@dataclass(frozen=True)
class Curve:
    """A function of one variable, for tables and pictures; ``x`` and each of ``series`` have equal length."""

    x_label: str
    x: list[float]
    series: dict[str, list[float]]


@dataclass(frozen=True)
class MetricResult:
    """What a volume metric found.

    Parameters
    ----------
    values
        Named numbers; the one named ``""`` is the metric itself, others follow it in tables as ``metric.name``.
    per_slice
        One value per y-row, or None.
    curve
        A curve, or None.
    note
        How to read it: thresholds, bands, what was left out.
    """

    values: dict[str, float]
    per_slice: list[float] | None = None
    curve: Curve | None = None
    note: str = ""


class SliceMetric(Protocol):
    """A number for each y-slice. Built as ``(options)``; the evaluator averages and keeps the series.

    A metric of either scope may also have ``unit``, of its values, and ``ideal``, the value that is right where more is worse as well.
    Further values, ``metric.name``, are of its unit and better in its direction, but for names that begin with ``resolution-``, which end
    in their unit and are better the lower.
    """

    scope: Literal["slice"]
    better: Literal["higher", "lower"]

    def __init__(self, options: Any) -> None:
        """Keep the options."""

    def __call__(self, slices: torch.Tensor, references: torch.Tensor, data_range: float) -> torch.Tensor:
        """Map two ``(y, z, x)`` float32 stacks to ``(y,)`` values; NaN where the metric is not defined."""
        ...


class VolumeMetric(Protocol):
    """A number for a volume, from slabs. Built as ``(options)``."""

    scope: Literal["volume"]
    better: Literal["higher", "lower"]

    def __init__(self, options: Any) -> None:
        """Keep the options."""

    def start(self, context: MetricContext) -> None:
        """Forget everything and expect the slabs of one volume."""

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Take rows from ``y_start`` of both, ``(y, z, x)`` float32; slabs come in order and do not overlap."""

    def finish(self) -> MetricResult:
        """Answer, once all rows were given."""
        ...


@dataclass(frozen=True)
class RunInfo:
    """What an observer is told when a fit starts.

    Parameters
    ----------
    run_dir
        ``OUT.run``, where an observer may write into a folder of its own name.
    num_steps
        Steps of the whole fit.
    first_step
        0, or the step that a resumed fit continues at.
    geometry
        The fitted box and its views.
    config
        The resolved configuration as plain data.
    volume_shape
        ``(z, y, x)`` of the volume that the user gets: the fitted box without its margins.
    density_scale
        Density of the field's 1; negative where particles are dark.
    device
        Where the fit is computed.
    """

    run_dir: str
    num_steps: int
    first_step: int
    geometry: TiltGeometry
    config: dict[str, Any] = field(default_factory=dict)
    volume_shape: tuple[int, int, int] | None = None
    density_scale: float = 1.0
    device: str = ""


class Observer(Protocol):
    """Told of a fit as it goes. Built as ``(options)``. An error in it warns and never ends the fit.

    It may also have these, which are called where it has them: ``prepare(run_dir)`` before anything is measured; ``say(text)`` what is
    going on; ``stage(name, done, total)`` how far a part of the work is, total 0 where nobody knows; ``progress(done, total)`` of the whole
    fit; ``offer(step, previews)`` after every step, for who looks by the clock: as `preview`, valid while it is called.
    """

    def __init__(self, options: Any) -> None:
        """Keep the options."""

    def start(self, run: RunInfo) -> None:
        """Open what is needed."""

    def step(self, step: int, scalars: Mapping[str, torch.Tensor | float]) -> None:
        """Take named scalars; tensors stay on the device until asked for (``float(value)``). An adaptive field counts rows as steps."""

    def preview(self, step: int, previews: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        """Take callables, as many as the fit has: ``ortho_xy``, ``_xz``, ``_yz`` and ``spectrum_xz`` (log power) give 2-D float32 images.

        ``volume`` gives slices ``(y, z, x)`` float32 on the CPU, of the volume that the user gets, at most 192 points long; NaN where
        nothing is known yet. All are in the field's units, see `RunInfo.density_scale`.
        """

    def end(self, summary: Mapping[str, Any]) -> None:
        """Close after a finished fit."""

    def failed(self, error: BaseException) -> None:
        """Close after a fit that ended in an error or an interruption."""
