"""The cases that benchmarks run on. Those for tuning and those for reporting share no seed, no noise and not all densities.

    python examples/benchmarks/cases.py proteins --snr 0.25 --seed 0 -o DIR [--shape Z Y X]
    python examples/benchmarks/cases.py cryo --snr 0.1 --seed 0 -o DIR [--noise-at-nyquist 0.1]

Each writes ``truth.zarr``, ``tilts.zarr`` and, where there is noise, the independent halves ``half1.zarr`` and ``half2.zarr`` whose mean
``tilts.zarr`` is. Seeds below 100 are for reporting, from 100 on for tuning.

``spheres``
    Hollow spheres, views from analytic chords, Poisson noise (``wedge simulate-spheres``).
``proteins``
    Densities in random places and orientations, drawn twice as fine as the voxels and projected from there, so that no method is handed the
    lattice of the truth; the truth is the mean over each voxel. Density is positive, the largest of each particle is 1.
``cryo``
    The same, going on beyond the field of view along x, filtered by a phase-flipped contrast transfer function: both signs, views of zero
    mean. The truth is filtered alike.

Signal-to-noise is the variance of the noise-free views over that of the noise, which is white unless ``--noise-at-nyquist`` says how strong
its power is there, relative to that at zero: detectors and interpolation let it fall, counting lets it rise.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import torch

from wedge import store
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

DENSITIES = Path(__file__).parents[1] / "data" / "densities"
REPORTED_DENSITIES = ("ribosome_4v4r_5A", "apoferritin_6pxm_10A", "proteasome_3j9i_10A")
TUNING_DENSITIES = ("apoferritin_6pxm_10A", "proteasome_3j9i_10A")
FIRST_TUNING_SEED = 100
VOXEL_ANGSTROM = 10.0
FINE = 2  # points of the drawn density per voxel along each axis
FILLING = 0.22  # share of the slab that the particles' boxes' inscribed balls take


@dataclass(frozen=True)
class Microscope:
    """What the contrast transfer function depends on; 300 kV, 2.7 mm spherical aberration."""

    defocus_angstrom: float = 30_000.0
    amplitude_contrast: float = 0.07
    wavelength_angstrom: float = 0.0197
    spherical_aberration_angstrom: float = 2.7e7

    def flipped_ctf(self, frequency: torch.Tensor) -> torch.Tensor:
        """Return the absolute contrast transfer at ``frequency`` in 1/angstrom."""
        squared = frequency.square()
        wavelength = self.wavelength_angstrom
        phase = torch.pi * wavelength * self.defocus_angstrom * squared
        phase = phase - 0.5 * torch.pi * self.spherical_aberration_angstrom * wavelength**3 * squared.square()
        return torch.sin(phase + np.arcsin(self.amplitude_contrast)).abs()


def load_density(name: str) -> torch.Tensor:
    """Return a density on points ``VOXEL_ANGSTROM / FINE`` apart, positive, its largest value 1, in an odd cube with room to turn."""
    with mrcfile.open(DENSITIES / f"{name}.mrc") as file:
        density = torch.from_numpy(np.array(file.data, dtype=np.float32))
        spacing = float(file.voxel_size.x)
    size = round(max(density.shape) * spacing * FINE / VOXEL_ANGSTROM)
    fine = torch.nn.functional.interpolate(density[None, None], size=(size, size, size), mode="trilinear", align_corners=False)[0, 0]
    return (fine / fine.max()).clamp_min(0)


def turned(density: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Return a density in a random orientation, uniform over all rotations."""
    matrix = np.linalg.qr(random.normal(size=(3, 3)))[0]
    matrix *= np.sign(np.linalg.det(matrix))
    affine = torch.from_numpy(np.concatenate([matrix, np.zeros((3, 1))], axis=1).astype(np.float32))[None]
    grid = torch.nn.functional.affine_grid(affine, [1, 1, *density.shape], align_corners=False)
    return torch.nn.functional.grid_sample(density[None, None], grid, mode="bilinear", align_corners=False)[0, 0]


def draw_slab(shape: tuple[int, int, int], names: tuple[str, ...], seed: int) -> torch.Tensor:
    """Return ``(z, y, x)`` fine density of particles that do not overlap and lie wholly inside."""
    random = np.random.default_rng([seed, 1])
    densities = [load_density(name) for name in names]
    # A particle reaches as far as its density does, from the middle of its cube.
    radii = [_reach(density) for density in densities]
    fine_shape = tuple(FINE * n for n in shape)
    slab = torch.zeros(fine_shape)
    placed: list[tuple[np.ndarray, float]] = []
    taken, wanted = 0.0, FILLING * float(np.prod(fine_shape))
    for _ in range(20_000):
        if taken >= wanted:
            break
        which = int(random.integers(len(densities)))
        radius = radii[which]
        low, high = np.full(3, radius), np.array(fine_shape) - radius
        if (high <= low).any():
            continue
        centre = random.uniform(low, high)
        if any(np.sum((centre - other) ** 2) < (radius + reach) ** 2 for other, reach in placed):
            continue
        _add(slab, turned(densities[which], random), centre)
        placed.append((centre, radius))
        taken += 4 / 3 * np.pi * radius**3
    return slab


def _reach(density: torch.Tensor) -> float:
    axes = [torch.arange(n) - (n - 1) / 2 for n in density.shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    distance = (z.square() + y.square() + x.square()).sqrt()
    return float(distance[density > 0.05].max())


def _add(slab: torch.Tensor, particle: torch.Tensor, centre: np.ndarray) -> None:
    """Add a particle at the nearest fine point; what hangs out of the slab is empty by construction."""
    start = np.round(centre - np.array(particle.shape) / 2).astype(int)
    into = tuple(slice(max(s, 0), min(s + n, size)) for s, n, size in zip(start, particle.shape, slab.shape, strict=True))
    out_of = tuple(slice(i.start - s, i.stop - s) for i, s in zip(into, start, strict=True))
    slab[into] += particle[out_of]


def binned(fine: torch.Tensor) -> torch.Tensor:
    """Return means over voxels of a fine ``(z, y, x)`` density."""
    return torch.nn.functional.avg_pool3d(fine[None], FINE)[0]


def filtered(fine: torch.Tensor, microscope: Microscope) -> torch.Tensor:
    """Return a fine density as the phase-flipped microscope shows it."""
    spacing = VOXEL_ANGSTROM / FINE
    axes = [torch.fft.fftfreq(n, spacing) for n in fine.shape[:2]] + [torch.fft.rfftfreq(fine.shape[2], spacing)]
    squared = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    spectrum = torch.fft.rfftn(fine) * microscope.flipped_ctf(squared.sqrt())
    return torch.fft.irfftn(spectrum, s=fine.shape)


def project_fine(fine: torch.Tensor, geometry: TiltGeometry) -> torch.Tensor:
    """Return ``(tilt, y, x)`` views of a fine density that is centred on the tilt axis, summed over the two fine rows of a pixel."""
    nz, _, nx = fine.shape
    fine_geometry = geometry.with_volume((nz, geometry.detector_shape[0], nx), 1 / FINE)
    projector = Registry.load().resolve("projector", "torch", {"cache": False}).build(fine_geometry, torch.device("cpu"))
    rows = fine.reshape(nz, -1, FINE, nx).mean(dim=2).permute(1, 0, 2).contiguous()
    views = torch.cat([projector.project(part) for part in rows.split(8)])
    projector.close()
    return views.permute(1, 0, 2).contiguous()


def noise_of(shape: tuple[int, ...], at_nyquist: float, random: np.random.Generator) -> np.ndarray:
    """Return ``(tilt, y, x)`` normal noise of variance 1 whose power changes geometrically up to ``at_nyquist`` times that at zero."""
    white = random.normal(size=shape)
    if at_nyquist == 1:
        return white
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2]))
    amplitude = at_nyquist ** np.minimum(frequency, 0.5)
    found = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=shape[1:])
    return found / found.std()


def make_proteins(
    directory: Path,
    shape: tuple[int, int, int] = (64, 160, 160),
    *,
    snr: float | None = None,
    seed: int = 0,
    num_tilts: int = 41,
    contrast: float = 1.0,
    offset: float = 0.0,
    cryo: bool = False,
    noise_at_nyquist: float = 1.0,
) -> None:
    """Write the case ``proteins``, or ``cryo``, into ``directory``.

    Parameters
    ----------
    snr
        Of the mean of both halves; None for no noise.
    contrast, offset
        What views are multiplied by, and then what is added to them in units of their standard deviation: -1 for dark particles.
    cryo
        Three times as wide as the detector, with the contrast transfer function and views of zero mean.
    noise_at_nyquist
        Power of the noise at Nyquist relative to that at zero frequency.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = REPORTED_DENSITIES if seed < FIRST_TUNING_SEED else TUNING_DENSITIES
    wide = (shape[0], shape[1], 3 * shape[2]) if cryo else shape
    fine = draw_slab(wide, names, seed)
    if cryo:
        fine = filtered(fine, Microscope())
    angles = tuple(float(a) for a in np.linspace(-60, 60, num_tilts))
    geometry = TiltGeometry(angles, shape[1:], shape, pixel_size_angstrom=VOXEL_ANGSTROM)
    views = project_fine(fine, geometry).numpy()
    truth = binned(fine).numpy()
    if cryo:
        views -= views.mean()
        truth = truth[:, :, shape[2] : 2 * shape[2]]
    views = contrast * views + offset * views.std()
    record = {"case": "cryo" if cryo else "proteins", "seed": seed, "snr": snr, "densities": list(names)}
    with store.create_volume(
        directory / "truth.zarr", shape, voxel_size_angstrom=VOXEL_ANGSTROM, tilt_angles_deg=angles, overwrite=True
    ) as out:
        out.write_rows(0, contrast * truth.transpose(1, 0, 2))
        out.commit(record)
    series = {"tilts": views}
    if snr is not None:
        # The mean of two halves has half the variance of either.
        sigma = float(np.sqrt(2 * views.var() / snr))
        for half in (1, 2):
            noise = noise_of(views.shape, noise_at_nyquist, np.random.default_rng([seed, 2, half]))
            series[f"half{half}"] = (views + sigma * noise).astype(np.float32)
        series["tilts"] = (series["half1"] + series["half2"]) / 2
    for name, array in series.items():
        with store.create_tilts(directory / f"{name}.zarr", geometry, simulated=not (cryo or offset), overwrite=True) as tilts:
            tilts.write_rows(0, array.transpose(1, 0, 2))
            tilts.commit(record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["proteins", "cryo"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--shape", type=int, nargs=3)
    parser.add_argument("--snr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contrast", type=float, default=1.0)
    parser.add_argument("--offset", type=float, default=0.0)
    parser.add_argument("--noise-at-nyquist", type=float, default=1.0)
    args = parser.parse_args()
    shape = tuple(args.shape or ((64, 128, 128) if args.case == "cryo" else (64, 160, 160)))
    given = {name: getattr(args, name) for name in ("snr", "seed", "contrast", "offset", "noise_at_nyquist")}
    make_proteins(args.output, shape, cryo=args.case == "cryo", **given)
    print(args.output)


if __name__ == "__main__":
    main()
