"""The folder of one case: the options that choose it, what it is called, and what is in it.

Every benchmark of a case takes the same options, for example ``proteins --snr 0.25 --shape 64 160 160`` or ``spheres --eta 0.1``.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases import FIRST_TUNING_SEED, REPORTED_DENSITIES, TUNING_DENSITIES, make_proteins
from commands import wedge

from wedge import store
from wedge.fit.background import estimate_offset
from wedge.fit.normalization import sample_rows
from wedge.slabs import read_sinograms

SHAPES = {"proteins": (64, 160, 160), "cryo": (64, 128, 128), "spheres": (32, 128, 128)}
NUM_SPHERE_TILTS = 60


@dataclass(frozen=True)
class Case:
    """What a case is made from, and where it is."""

    folder: Path
    case: str
    shape: tuple[int, int, int]
    snr: float | None = None
    eta: float = 0.0
    seed: int = 0
    contrast: float = 1.0
    offset: float = 0.0
    noise_at_nyquist: float = 1.0

    @property
    def truth(self) -> Path:
        return self.folder / ("volume.zarr" if self.case == "spheres" else "truth.zarr")

    @property
    def tilts(self) -> Path:
        return self.folder / "tilts.zarr"

    @property
    def halves(self) -> tuple[Path, Path] | None:
        """The two independent halves of a noisy series; None where there are none."""
        paths = self.folder / "half1.zarr", self.folder / "half2.zarr"
        return paths if self.case != "spheres" and self.snr is not None else None

    @property
    def noisy(self) -> bool:
        return self.snr is not None or self.eta > 0

    @property
    def positive(self) -> bool:
        """Whether the density has one sign."""
        return self.case != "cryo"

    @property
    def sign(self) -> float:
        """-1 where particles are dark; rivals that need positive density are told so."""
        return -1.0 if self.positive and self.contrast < 0 else 1.0

    @property
    def options(self) -> dict[str, Any]:
        told = {key: value for key, value in asdict(self).items() if key != "folder"} | {"shape": list(self.shape)}
        if self.noise_at_nyquist == 1:
            del told["noise_at_nyquist"]
        return told

    @property
    def words(self) -> list[str]:
        """The options as they are typed."""
        words = [self.case, "--shape", *map(str, self.shape)]
        words += ["--snr", f"{self.snr:g}"] if self.snr is not None else []
        words += ["--eta", f"{self.eta:g}"] if self.eta else []
        words += ["--contrast", f"{self.contrast:g}"] if self.contrast != 1 else []
        words += ["--offset", f"{self.offset:g}"] if self.offset else []
        words += ["--noise-at-nyquist", f"{self.noise_at_nyquist:g}"] if self.noise_at_nyquist != 1 else []
        return [*words, "--seed", str(self.seed)]

    def name(self, kind: str) -> str:
        """Return what the results of one kind are called; those for tuning never mix with the reported ones."""
        parts = [kind, self.case, "x".join(map(str, self.shape))]
        parts += [f"snr{self.snr:g}"] if self.snr is not None else []
        parts += [f"eta{self.eta:g}"] if self.eta else []
        parts += [f"contrast{self.contrast:g}"] if self.contrast != 1 else []
        parts += [f"offset{self.offset:g}"] if self.offset else []
        parts += [f"nyquist{self.noise_at_nyquist:g}"] if self.noise_at_nyquist != 1 else []
        parts += [f"seed{self.seed}"] if self.seed else []
        return "_".join(["tuning", *parts] if self.seed >= FIRST_TUNING_SEED else parts)

    @property
    def title(self) -> str:
        """Return a line that says what was measured on."""
        tuning = self.seed >= FIRST_TUNING_SEED
        parts = [f"{self.case} {'x'.join(map(str, self.shape))} (z, y, x)", f"{'tuning' if tuning else 'reporting'} seed {self.seed}"]
        if self.case == "spheres":
            parts.append(f"{NUM_SPHERE_TILTS} tilts in +-60, analytic chords")
            parts.append(f"Poisson noise {self.eta:g}" if self.eta else "no noise")
        else:
            parts.append("densities " + " ".join(TUNING_DENSITIES if tuning else REPORTED_DENSITIES) + ", 41 tilts in +-60")
            parts.append("no noise" if self.snr is None else f"signal-to-noise {self.snr:g}")
        parts += [f"contrast {self.contrast:g}, offset {self.offset:g}"] if self.contrast != 1 or self.offset else []
        parts += [f"power of the noise at Nyquist {self.noise_at_nyquist:g} times that at zero"] if self.noise_at_nyquist != 1 else []
        return ", ".join(parts)

    def make(self) -> None:
        """Make the case where its folder does not hold it.

        Raises
        ------
        SystemExit
            If the folder holds another case.
        """
        record = self.folder / "case.json"
        made = self.truth.exists() and self.tilts.exists()
        if made or record.exists():
            self._refuse_another(record)
        if made:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.case == "spheres":
            sizes = ["--shape", *self.shape, "--num-tilts", NUM_SPHERE_TILTS, "--tilt-range", -60, 60]
            noise = ["--noise", "poisson", "--eta", self.eta] if self.eta else []
            wedge("simulate-spheres", "-o", self.folder, *sizes, *noise, "--seed", self.seed, "--overwrite")
        else:
            given = {"snr": self.snr, "seed": self.seed, "contrast": self.contrast, "offset": self.offset}
            given["noise_at_nyquist"] = self.noise_at_nyquist
            make_proteins(self.folder, self.shape, cryo=self.case == "cryo", **given)
        record.write_text(json.dumps(self.options) + "\n")

    def _refuse_another(self, record: Path) -> None:
        told = json.loads(record.read_text()) if record.exists() else store.open_volume(self.truth).provenance
        there = {key: told[key] for key in self.options if key in told}
        if self.truth.exists():
            there["shape"] = list(store.open_volume(self.truth).array.shape)
        if any(self.options[key] != value for key, value in there.items()):
            raise SystemExit(f"{self.folder} holds another case, {there}: give another --work")

    def bright_tilts(self) -> Path:
        """Return the series as bright particles make it: for dark ones, a negative of it, made when first asked for."""
        path = self.folder / "bright.zarr"
        if self.sign > 0 or path.exists():
            return self.tilts if self.sign > 0 else path
        tilts = store.open_tilts(self.tilts)
        with store.create_tilts(path, tilts.geometry, simulated=tilts.simulated, overwrite=True) as writer:
            writer.write_rows(0, -read_sinograms(tilts, 0, tilts.geometry.detector_shape[0]))
            writer.commit({"negative_of": "tilts.zarr"})
        return path

    def background(self) -> float:
        """Return what rivals subtract from the bright series: nothing where zero is known or the mean is zero, else the most frequent."""
        tilts = store.open_tilts(self.bright_tilts())
        return 0.0 if tilts.simulated or not self.positive else estimate_offset(sample_rows(tilts))


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a case, and the folder to work in."""
    parser.add_argument("case", choices=list(SHAPES))
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"))
    parser.add_argument("--snr", type=float, help="signal-to-noise of proteins and cryo; by default no noise")
    parser.add_argument("--eta", type=float, default=0.0, help="level of Poisson noise of spheres")
    parser.add_argument("--seed", type=int, default=0, help=f"from {FIRST_TUNING_SEED} on for tuning")
    parser.add_argument("--contrast", type=float, default=1.0, help="-1: dark particles")
    parser.add_argument("--offset", type=float, default=0.0, help="added to the views, in their standard deviations")
    parser.add_argument("--noise-at-nyquist", type=float, default=1.0, help="power of the noise of proteins and cryo, relative to zero")
    parser.add_argument("--work", type=Path, help="folder of the case and of the volumes; kept")


def case_of(args: argparse.Namespace) -> Case:
    """Return the case that was asked for.

    Raises
    ------
    SystemExit
        If an option does not belong to it.
    """
    spheres = args.case == "spheres"
    if spheres and (args.snr is not None or args.contrast != 1 or args.offset or args.noise_at_nyquist != 1):
        raise SystemExit("spheres take --eta, not --snr, --contrast, --offset or --noise-at-nyquist")
    if not spheres and args.eta:
        raise SystemExit(f"{args.case} takes --snr, not --eta")
    folder = args.work or Path(tempfile.mkdtemp(prefix="wedge-bench-"))
    shape = tuple(args.shape or SHAPES[args.case])
    return Case(folder, args.case, shape, args.snr, args.eta, args.seed, args.contrast, args.offset, args.noise_at_nyquist)
