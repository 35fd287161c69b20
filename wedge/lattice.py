"""Regular lattices of points inside the box that a field is defined on."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Lattice:
    """Three coordinate axes whose outer product are the points.

    Parameters
    ----------
    z, y, x
        1-D float32 coordinates of voxel centres; [-1, 1] spans the voxel edges of the field box's longest side.
    spacing_voxels
        ``(z, y, x)`` distance of neighbouring points in voxels of the box.
    """

    z: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    spacing_voxels: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(y, z, x)`` of the slices that a field returns here."""
        return len(self.y), len(self.z), len(self.x)

    def points(self) -> torch.Tensor:
        """Return all points as ``(n, 3)`` float32, columns z, y, x, rows in the order of raveled ``(y, z, x)`` slices."""
        y, z, x = torch.meshgrid(self.y, self.z, self.x, indexing="ij")
        return torch.stack([z, y, x], dim=-1).reshape(-1, 3)


@dataclass(frozen=True)
class FieldBox:
    """The box that a field is defined on.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels.
    """

    shape: tuple[int, int, int]

    @property
    def half_extents(self) -> tuple[float, float, float]:
        """Coordinates ``(z, y, x)`` of the box's upper edges; the largest is 1."""
        longest = max(self.shape)
        return self.shape[0] / longest, self.shape[1] / longest, self.shape[2] / longest

    def axis(self, which: int, start: float, stop: float, spacing: float = 1.0, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return coordinates of cell centres along axis 0 (z), 1 (y) or 2 (x).

        Cells of ``spacing`` voxels tile the range from ``start`` to ``stop``, both in voxels from the box's lower edge; they may lie
        outside the box.
        """
        count = round((stop - start) / spacing)
        edges = start + (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) * spacing
        return ((edges - self.shape[which] / 2) * (2 / max(self.shape))).to(dtype=torch.float32).to(device)

    def lattice(
        self, y_start: float = 0.0, y_stop: float | None = None, spacing: float = 1.0, device: torch.device | str = "cpu"
    ) -> Lattice:
        """Return the lattice of all z and x and rows ``y_start`` to ``y_stop``, in voxels from the lower edge, every ``spacing`` voxels."""
        stop = float(self.shape[1]) if y_stop is None else y_stop
        return Lattice(
            self.axis(0, 0.0, self.shape[0], spacing, device),
            self.axis(1, y_start, stop, spacing, device),
            self.axis(2, 0.0, self.shape[2], spacing, device),
            (spacing, spacing, spacing),
        )
