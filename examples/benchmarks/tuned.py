"""The rival that is handed every advantage: a plain voxel grid with total variation, tuned with the truth and run to convergence."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casefolder import Case
from commands import cost, wedge

from wedge import store
from wedge.evaluate import evaluate
from wedge.slabs import read_slices

NOISE_FREE_WEIGHTS, NOISE_FREE_PASSES = (0.0003, 0.001, 0.003, 0.01), (300, 1000)
ROLLOFFS = (0.15, "ramp", "plain")
START_WEIGHT, START_ROLLOFF = 1.0, 0.08
SEARCH_PASSES, LONG_PASSES = 150, 500
FAINT_NOISE = 0.1
LADDER = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Setting:
    """What is tuned: ``rolloff`` is that of the ramp in cycles per pixel, "ramp" where there is none, or "plain" without a ramp."""

    weight: float
    rolloff: float | str
    passes: float

    def __str__(self) -> str:
        rolloff = self.rolloff if isinstance(self.rolloff, str) else f"roll-off {self.rolloff:g}"
        return f"TV {self.weight:g}, {rolloff}, {self.passes:g} passes"


def fixed_settings(case: Case, setting: Setting) -> dict[str, Any]:
    """Return the whole configuration of a fit of the voxel grid, so that nothing hangs on the tool's defaults."""
    # Where noise is strong, a finer lattice shows nothing more and costs four times the time.
    clean = case.snr is None and case.eta <= FAINT_NOISE
    rolloff = None if isinstance(setting.rolloff, str) else setting.rolloff
    weighting = "plain" if setting.rolloff == "plain" else "ramp"
    return {
        "method": "network",
        "tune": [],
        "margin": "auto",
        "perturbation": 0.0,
        "network": {"name": "voxel"},
        "projector": {"name": "torch"},
        "regularizers": [{"name": "tv", "weight": setting.weight}],
        "data_term": {"loss": "l2", "weighting": weighting, "ramp_floor": 0.005, "rolloff": rolloff},
        "passes": setting.passes,
        "batch_rows": 16,
        "oversampling": 2 if clean else 1,
        "oversampling_start": 0.6,
        "learning_rate": 0.01,
        "schedule": "cosine",
        "final_learning_rate": 0.02,
        "decay": 0.2,
        "warmup": 0.02,
        "adam_betas": [0.9, 0.99],
        "gradient_floor": 0.0,
        "positivity": "on" if case.positive else "off",
        "offset": case.background(),
        "hold_out": 0.0,
        "seed": 0,
    }


def fit_voxel(case: Case, setting: Setting, out: Path) -> dict[str, float]:
    """Fit with one setting, to the bright series; return seconds and peak memory."""
    config = out.with_suffix(".settings.json")
    config.write_text(json.dumps(fixed_settings(case, setting)))
    return cost(wedge("reconstruct", case.bright_tilts(), "-o", out, "--config", config, "--overwrite"))


def copy_signed(case: Case, source: Path, out: Path) -> None:
    """Write a volume of the bright series with the sign of the case."""
    volume = store.open_volume(source)
    shape, angles = tuple(volume.array.shape), volume.tilt_angles_deg
    with store.create_volume(out, shape, voxel_size_angstrom=volume.voxel_size_angstrom, tilt_angles_deg=angles, overwrite=True) as writer:
        writer.write_rows(0, case.sign * read_slices(volume, 0, shape[1]))
        writer.commit(volume.provenance)


def correlation(volume: Path, truth: Path) -> float:
    """Return Pearson's correlation over all voxels."""
    return evaluate(store.open_volume(volume), store.open_volume(truth), []).values["correlation"]


class Search:
    """Finished fits by setting, each kept in the folder, and the best of them."""

    def __init__(self, case: Case, folder: Path, reuse: bool) -> None:
        self._case, self._folder = case, folder
        if folder.exists() and not reuse:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.runs: dict[Setting, dict[str, float]] = {}

    def volume(self, setting: Setting) -> Path:
        return self._folder / (str(setting).replace(",", "").replace(" ", "_") + ".zarr")

    def run(self, settings: Iterable[Setting]) -> Setting:
        """Fit what is not fitted yet, and return the best of all so far."""
        for setting in settings:
            if setting in self.runs:
                continue
            out = self.volume(setting)
            record = out.with_suffix(".json")
            if not record.exists():
                spent = fit_voxel(self._case, setting, out)
                record.write_text(json.dumps(spent | {"correlation": self._case.sign * correlation(out, self._case.truth)}))
            self.runs[setting] = json.loads(record.read_text())
        return max(self.runs, key=lambda setting: self.runs[setting]["correlation"])


def search(case: Case, runs: Search) -> Setting:
    """Return the setting with the best correlation with the truth.

    Without noise the weights of the grid, then the best of them with many more passes. With noise coordinate by coordinate: from a start,
    neighbouring weights for as long as that gains, then roll-offs, no roll-off and no ramp, then weights again, then more passes.
    """
    if not case.noisy:
        best = runs.run(Setting(weight, "ramp", NOISE_FREE_PASSES[0]) for weight in NOISE_FREE_WEIGHTS)
        return runs.run([Setting(best.weight, "ramp", NOISE_FREE_PASSES[1])])
    best = climb(runs, runs.run([Setting(START_WEIGHT, START_ROLLOFF, SEARCH_PASSES)]))
    # Without the roll-off, data weigh more at low frequencies, and less smoothing is right.
    place = LADDER.index(best.weight)
    best = runs.run(Setting(LADDER[max(place - step, 0)], rolloff, SEARCH_PASSES) for rolloff in ROLLOFFS for step in (0, 2))
    best = climb(runs, best)
    return runs.run([Setting(best.weight, best.rolloff, LONG_PASSES)])


def climb(runs: Search, best: Setting) -> Setting:
    """Try neighbouring weights for as long as that gains."""
    before = None
    while best != before:
        before, place = best, LADDER.index(best.weight)
        best = runs.run(Setting(weight, best.rolloff, SEARCH_PASSES) for weight in LADDER[max(place - 1, 0) : place + 2])
    return best


def tune(case: Case, out: Path, reuse: bool) -> dict[str, Any]:
    """Write the volume of the best setting; return its own cost, the setting, and all that was tried with the time of it.

    With ``reuse``, fits that an interrupted search has finished are not repeated.
    """
    runs = Search(case, out.with_suffix(".runs"), reuse)
    best = search(case, runs)
    copy_signed(case, runs.volume(best), out)
    tried = [{**vars(setting), **told} for setting, told in runs.runs.items()]
    tuning = {"chosen": vars(best), "seconds": round(sum(told["seconds"] for told in tried), 1), "tried": tried}
    spent = {key: runs.runs[best][key] for key in ("seconds", "peak_mib")}
    return spent | {"note": f"{best}; best of {len(tried)} in {tuning['seconds']:.0f} s", "tuning": tuning}
