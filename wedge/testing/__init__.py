"""Conformance classes for plugins: subclass the one of your kind in a test module, say what to build, and run pytest.

Examples
--------
>>> from wedge.testing import ProjectorLaws  # doctest: +SKIP
>>> class TestMyProjector(ProjectorLaws): ...  # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

_LAWS = {
    "ProjectorLaws": "wedge.testing.projector_laws",
    "NetworkLaws": "wedge.testing.network_laws",
    "RegularizerLaws": "wedge.testing.regularizer_laws",
    "MetricLaws": "wedge.testing.metric_laws",
}

__all__ = ["MetricLaws", "NetworkLaws", "ProjectorLaws", "RegularizerLaws"]


def __getattr__(name: str) -> Any:
    """Import the laws of a kind when they are first used; they need pytest and torch."""
    if name in _LAWS:
        return getattr(import_module(_LAWS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
