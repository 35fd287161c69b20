"""Linear interpolation in regular grids, one axis after another.

A lattice is an outer product of three axes, so a grid is interpolated by a slice or a small matrix per axis instead of gathers per point.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from wedge.plugin_api import Banded

_SNAP = 1e-3
"""Positions this near to a node, in nodes, are taken as on it: float32 coordinates of a 4096-voxel side are good to about 1e-4."""


@dataclass(frozen=True)
class AxisPlan:
    """How one axis of a grid is read: nodes ``start`` to ``stop``, through a ``(points, nodes)`` matrix unless they are the points."""

    start: int
    stop: int
    weights: torch.Tensor | None

    def along(self, grid: torch.Tensor, dim: int) -> torch.Tensor:
        """Return ``grid`` with axis ``dim`` (0, or one of the last two as -2, -1) replaced by the points."""
        nodes = grid.narrow(dim, self.start, self.stop - self.start)
        if self.weights is None:
            return nodes
        if dim == 0:
            # Rows change with every step: no time to look for blocks.
            return (self.weights @ nodes.flatten(1)).unflatten(1, nodes.shape[1:])
        return self._banded.along(nodes, dim)

    @cached_property
    def _banded(self) -> Banded:
        if self.weights is None:
            raise AssertionError("a plan without weights is a slice")
        return Banded(self.weights)


class GridAxis:
    """One axis of nodes, centred in the box, from the first voxel's centre (or before it) to the last one's (or beyond it).

    Points outside the nodes see the outermost node.

    Parameters
    ----------
    num_voxels
        Voxels of the box along this axis.
    longest
        Voxels along the box's longest side, which the coordinates -1..1 span.
    spacing
        Distance of the nodes in voxels.
    """

    def __init__(self, num_voxels: int, longest: int, spacing: float) -> None:
        self.num_nodes = math.ceil((num_voxels - 1) / spacing - _SNAP) + 1
        self._nodes_per_unit = longest / (2 * spacing)
        self._last: tuple[torch.Tensor, AxisPlan] | None = None

    def positions(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Map ``(points,)`` float32 coordinates to float32 positions in nodes, within 0..num_nodes - 1."""
        positions = coordinates.double() * self._nodes_per_unit + (self.num_nodes - 1) / 2
        nearest = positions.round()
        snapped = torch.where((positions - nearest).abs() < _SNAP, nearest, positions)
        return snapped.clamp(0, self.num_nodes - 1).float()

    def plan(self, coordinates: torch.Tensor) -> AxisPlan:
        """Return how these ``(points,)`` coordinates are read.

        Notes
        -----
        The last plan is kept, as most lattices of a fit share their axes. On a GPU a new axis costs one synchronisation, and an axis is
        known again only by the identity of its tensor.
        """
        if self._last is not None and _same(self._last[0], coordinates):
            return self._last[1]
        plan = self._make_plan(self.positions(coordinates))
        # On a CPU by its values: other ones may be put into the same tensor.
        self._last = (coordinates.clone() if coordinates.device.type == "cpu" else coordinates, plan)
        return plan

    def _make_plan(self, positions: torch.Tensor) -> AxisPlan:
        """Choose a slice where the points are successive nodes, else the matrix of hat functions over the nodes in reach."""
        on_host = positions.tolist()
        first, last = math.floor(min(on_host)), math.ceil(max(on_host))
        if on_host == [float(node) for node in range(first, last + 1)]:
            return AxisPlan(first, last + 1, None)
        nodes = torch.arange(first, last + 1, device=positions.device)
        return AxisPlan(first, last + 1, (1 - (positions[:, None] - nodes).abs()).clamp_min(0))

    def rows(self, grid: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """Interpolate axis 0 of ``grid``, touching only the nodes in reach.

        Notes
        -----
        Rows change with every step of a fit, so on a GPU they are gathered without asking the device where they are. ``embedding`` adds
        its gradients in a fixed order there, ``index_select`` doesn't.
        """
        if coordinates.device.type == "cpu":
            return self.plan(coordinates).along(grid, 0)
        positions = self.positions(coordinates)
        lower = positions.floor().long()
        upper = (lower + 1).clamp_max(self.num_nodes - 1)
        table = grid.flatten(1)
        fraction = (positions - lower)[:, None]
        below, above = functional.embedding(lower, table), functional.embedding(upper, table)
        return torch.lerp(below, above, fraction).unflatten(1, grid.shape[1:])


def grid_axes(shape: tuple[int, int, int], spacing: float) -> tuple[GridAxis, GridAxis, GridAxis]:
    """Return the axes ``(z, y, x)`` of a grid with nodes every ``spacing`` voxels of a ``(z, y, x)`` box."""
    longest = max(shape)
    z, y, x = (GridAxis(count, longest, spacing) for count in shape)
    return z, y, x


def _same(known: torch.Tensor, coordinates: torch.Tensor) -> bool:
    """Tell whether two axes are surely the same, without a synchronisation."""
    if coordinates.device.type == "cpu":
        return known.device.type == "cpu" and torch.equal(known, coordinates)
    return known is coordinates
