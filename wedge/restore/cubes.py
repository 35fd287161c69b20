"""Cubes cut out of volumes in random orientations, and what of their spectra was measured.

A particle that lies in many orientations is seen from many sides, though each one misses a wedge. Turned by ``R``, a cube ``c(o) = v(R o +
centre)`` has the spectrum of the volume at ``R k``: what views measured of it lies elsewhere than what a volume is measured of.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from wedge.draws import generator_for
from wedge.fourier import frequency_grid, is_missing


def random_turn(random: torch.Generator) -> torch.Tensor:
    """Return a rotation ``(3, 3)``, uniform over all, by a unit quaternion."""
    w, x, y, z = (lambda q: q / q.norm())(torch.randn(4, generator=random)).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Cubes:
    """Cubes of one size, axes ``(y, z, x)``; what is drawn depends on the seed and the index alone."""

    def __init__(self, size: int, tilt_angles_deg: Sequence[float], seed: int, device: torch.device) -> None:
        self.size, self._angles, self._seed, self._device = size, tilt_angles_deg, seed, device
        axis = torch.arange(size, device=device) - (size - 1) / 2
        self._offsets = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
        self._frequencies = torch.stack(torch.broadcast_tensors(*frequency_grid((size,) * 3, real=True, device=device)))
        self._inside = self._frequencies.square().sum(0) <= 0.25
        self.measured = self.measured_of(torch.eye(3))
        """What views measure of a cube that is not turned."""

    def draw(self, shape: tuple[int, ...], index: int) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Return a rotation, a centre in voxels within a box of a shape, and the toss of a coin."""
        random = generator_for(self._seed, "cube", index)
        turn = random_turn(random)
        places = torch.rand(3, generator=random).tolist()
        half = self.size / 2
        centre = [(n - 1) / 2 if n <= self.size else half - 0.5 + place * (n - self.size) for n, place in zip(shape, places, strict=True)]
        return turn, torch.tensor(centre), bool(torch.rand((), generator=random) < 0.5)

    def cut(self, volumes: Sequence[torch.Tensor], turn: torch.Tensor, centre: torch.Tensor) -> list[torch.Tensor]:
        """Return the same turned cube of volumes ``(y, z, x)`` of one shape, interpolated linearly; beyond them is nothing."""
        places = self._offsets @ turn.to(self._device).T + centre.to(self._device)
        size = torch.tensor(volumes[0].shape, device=self._device)
        grid = ((2 * places + 1) / size - 1).flip(-1)[None]
        # One by one: stacked they would be copied whole for every cube.
        return [_sampled(volume, grid) for volume in volumes]

    def spectra(self, volumes: Sequence[torch.Tensor], turn: torch.Tensor, centre: torch.Tensor) -> list[torch.Tensor]:
        """Return the spectra of turned cubes, in ``rfftn``'s layout: detail is as strong as in the volumes, beyond half a cycle is none.

        Linear interpolation takes away fine detail, as much as a triangle from voxel to voxel does on average over places between them.
        That is given back: a network that learned without it would not know the volumes that it is given later.
        """
        kept = torch.stack([torch.sinc(along).square() for along in self._turned(turn, (0, 1, 2))]).prod(0)
        given_back = self._inside / kept
        return [torch.fft.rfftn(cube) * given_back for cube in self.cut(volumes, turn, centre)]

    def seen(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the cube of a spectrum, less what views miss of one that stands as it does."""
        return torch.fft.irfftn(spectrum * self.measured, s=(self.size,) * 3)

    def measured_of(self, turn: torch.Tensor) -> torch.Tensor:
        """Return the frequencies of a turned cube that views measured, in ``rfftn``'s layout."""
        kz, kx = self._turned(turn, (1, 2))
        return ~is_missing(kz, kx, self._angles)

    def _turned(self, turn: torch.Tensor, axes: Sequence[int]) -> list[torch.Tensor]:
        """Return where a turned cube's frequencies are in the volume, in cycles per voxel along some of its axes."""
        turn = turn.to(self._device)
        return [torch.einsum("a,a...->...", turn[axis], self._frequencies) for axis in axes]


def _sampled(volume: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return functional.grid_sample(volume[None, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0, 0]
