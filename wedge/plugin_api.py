"""The only names that a plugin may import from wedge. Importing it loads neither torch nor zarr."""

from importlib import import_module
from typing import Any

from wedge.contracts import (
    API_VERSION,
    Component,
    Curve,
    MetricContext,
    MetricResult,
    Network,
    Observer,
    Projector,
    Regularizer,
    RegularizerContext,
    RunInfo,
    SliceMetric,
    VolumeMetric,
)
from wedge.errors import DeviceError, InputError, PluginError, UsageError
from wedge.geometry import TiltGeometry
from wedge.hookspecs import hookimpl

_LAZY = {
    "FieldBox": "wedge.lattice",
    "Lattice": "wedge.lattice",
    "BANDS": "wedge.fourier",
    "band_means": "wedge.fourier",
    "crowther_frequency": "wedge.fourier",
    "first_crossing": "wedge.fourier",
    "frequency_grid": "wedge.fourier",
    "friedel_weight": "wedge.fourier",
    "half_bit_threshold": "wedge.fourier",
    "missing_mask": "wedge.fourier",
    "otsu_threshold": "wedge.threshold",
    "shell_index": "wedge.fourier",
    "Banded": "wedge.banded",
    "cache_dir": "wedge.cache",
    "preview_of_slices": "wedge.preview",
    "RunFiles": "wedge.pages.run_files",
    "spectrum_message": "wedge.pages.spectrum",
    "process_place": "wedge.pages.process_place",
    "resident_bytes": "wedge.provenance",
}

__all__ = [
    "API_VERSION",
    "Component",
    "Curve",
    "DeviceError",
    "InputError",
    "MetricContext",
    "MetricResult",
    "Network",
    "Observer",
    "PluginError",
    "Projector",
    "Regularizer",
    "RegularizerContext",
    "RunInfo",
    "SliceMetric",
    "TiltGeometry",
    "UsageError",
    "VolumeMetric",
    "hookimpl",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    """Import the heavy names when they are first used."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
