"""Settings that the data choose, by trial fits of some rows.

Views with little noise and noisy ones are fitted in other ways. With little noise the fit is to converge: many small steps, each on some
rows, and a lattice finer than the voxels. In noise what has converged is worse, and steps on some rows add noise of their own: few and
large steps on all rows, and no finer lattice than what the noise leaves.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from wedge.data import TiltSeries
from wedge.fit.batches import steps_per_pass
from wedge.fit.build import Plugins
from wedge.fit.coarse_start import relative_cost
from wedge.fit.config import FitConfig
from wedge.fit.normalization import Normalization
from wedge.fit.sample import rows_of
from wedge.fit.search import Search
from wedge.fit.trials import Trials, views_to_judge_by, with_setting

SAMPLE_ROWS = 16
_FINE_ROWS = 8
_STEPS_PER_PASS = 8  # that the passes of trials are meant for
_COARSE_PASSES, _FINE_PASSES, _NOISY_PASSES = 30.0, 60.0, 120.0
_FINE = 20.0  # signal to noise from which on the fit is to converge
_ROLLED_OFF, _NOISE_FREE = 100.0, 1000.0  # below, the ramp is rolled off at first; above, never
_ROLLOFF = 0.15
_LARGER_STEPS = 2.5
_BAND_LIMITED = 0.65  # blur in voxels from which on a finer lattice shows little more
_BLURS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3)
_USUAL: dict[bool | None, dict[str, int]] = {
    False: {"blur_voxels": 6},
    True: {"blur_voxels": 3, "regularizer": 5, "weighting": 1, "steps": 1},
    None: {"blur_voxels": 6, "regularizer": 5, "weighting": 2},
}
"""Trials that a name usually asks for: on the voxels' lattice and on the finer one, and, last, in noise."""
_USUAL_WHOLE = 2  # trials as long as the fit
_FIRST_BLURS = (0.0, 0.5, 0.8, 1.2)
_WEIGHTS = tuple(float(f"{10 ** (power / 2):.2g}") for power in range(-8, 5))
_FINE_WEIGHTS = tuple(float(f"{10 ** (power / 4):.2g}") for power in range(-12, 5))
_RATES = (0.85, 0.6, 0.42, 0.3)  # of the learning rate: a fit that begins with what coarser volumes show has less far to go


def tune_network(
    sample: TiltSeries,
    plugins: Plugins,
    config: FitConfig,
    normalization: Normalization,
    signal_to_noise: float,
    noise_std: float,
    device: torch.device,
    limit: int,
    full_rows: int,
    go_on: Callable[[], bool] = lambda: True,
    on_trial: Callable[[int, int], None] = lambda done, usual: None,
) -> tuple[FitConfig, dict[str, Any]]:
    """Choose the settings that ``config.tune`` names.

    Parameters
    ----------
    sample
        Some rows, see `wedge.fit.sample`, in the geometry of the fitted box.
    signal_to_noise
        Of the views: it decides which of both ways is taken.
    full_rows
        Rows of the whole series.
    go_on
        Asked before every trial; once it is False the best so far is taken.
    on_trial
        Told before every trial how many are done, and how many there usually are.

    Returns
    -------
    tuple
        The configuration with ``tune`` empty, and what was chosen, for the record.
    """
    names = _names(config)
    if not names or not views_to_judge_by(sample.geometry.tilt_angles_deg):
        return config.model_copy(update={"tune": ()}), {}
    fine = signal_to_noise > _FINE
    settled, steps = _settled(config, fine, full_rows)
    rows = min(_FINE_ROWS, sample.geometry.detector_shape[0])
    start = (sample.geometry.detector_shape[0] - rows) // 2
    sample = rows_of(sample, range(start, start + rows)) if fine else sample
    sample_rows = sample.geometry.detector_shape[0]
    num_z, _, num_x = sample.geometry.volume_shape
    if not relative_cost(settled, (num_z, full_rows, num_x), 1):
        settled = settled.model_copy(update={"coarse_start": 0.0})
    alike = _for_trials(settled, sample_rows, full_rows)
    trials = Trials(sample, plugins, alike, normalization, device, limit, full_rows, go_on)

    usual = sum(count for *_, count in expected_trials(config, signal_to_noise, full_rows))

    def error(setting: dict[str, Any]) -> float:
        on_trial(len(search.tried), usual)
        passes = alike.passes if setting.get("whole") else _passes(alike, sample_rows, fine, setting.get("oversampling", 1) > 1)
        return trials.error(setting, passes)

    search = Search(error, (noise_std / normalization.scale) ** 2)
    if not config.regularizers:
        names -= {"regularizer"}
    try:
        setting = choose_fine(search, settled, names, signal_to_noise) if fine else choose_noisy(search, settled, names)
    finally:
        trials.close()
    of = {"rolloff": "weighting", "learning_rate": "steps"}
    chosen: dict[str, Any] = {key: value for key, value in setting.items() if of.get(key, key) in names}
    finite = [(tried, value) for tried, value in search.tried if np.isfinite(value)]
    record = {"trials": [{**tried, "held_out_error": value} for tried, value in finite]}
    return with_setting(settled, chosen), chosen | steps | record


def _names(config: FitConfig) -> set[str]:
    return {name for name in config.tune if name not in ("strength", "stack")}


def _settled(config: FitConfig, fine: bool, full_rows: int) -> tuple[FitConfig, dict[str, Any]]:
    """Return the configuration without what is to be chosen, and the steps of a noisy fit where they are left to the data."""
    steps: dict[str, Any] = {}
    if "steps" in config.tune and not fine:
        steps = {"batch_rows": full_rows, "learning_rate": _LARGER_STEPS * config.learning_rate, "coarse_start": 0.0}
    return config.model_copy(update={"tune": (), **steps}), steps


def _for_trials(settled: FitConfig, rows: int, full_rows: int) -> FitConfig:
    """Let trials of some rows take as many steps a pass as the fit that they stand for."""
    per_pass = steps_per_pass(full_rows, settled.rows_per_step(full_rows))
    return settled.model_copy(update={"batch_rows": math.ceil(rows / per_pass)})


def _passes(alike: FitConfig, rows: int, fine: bool, finer_lattice: bool) -> float:
    """Return the passes of a trial of some rows: with few steps a pass it takes more of them, or it would not converge."""
    if not fine:
        return _NOISY_PASSES
    per_pass = steps_per_pass(rows, alike.rows_per_step(rows))
    return (_FINE_PASSES if finer_lattice else _COARSE_PASSES) * max(1.0, _STEPS_PER_PASS / per_pass)


def expected_trials(config: FitConfig, signal_to_noise: float, full_rows: int) -> list[tuple[FitConfig, int, int]]:
    """Return the trials that a search usually makes: a configuration, its rows, and how many of the kind."""
    names, fine = _names(config), signal_to_noise > _FINE
    if not names:
        return []
    settled, _ = _settled(config, fine, full_rows)
    rows = min(_FINE_ROWS if fine else SAMPLE_ROWS, full_rows)
    alike, kinds = _for_trials(settled, rows, full_rows), []
    for finer in (False, True):
        count = sum(_USUAL[finer if fine else None].get(name, 0) for name in names)
        passes = min(settled.passes, _passes(alike, rows, fine, finer))
        update = {"oversampling": config.oversampling if finer else 1, "passes": passes}
        if count and (fine or not finer):
            kinds.append((alike.model_copy(update=update), rows, count))
    if fine and "regularizer" in names:
        kinds.append((alike.model_copy(update={"oversampling": config.oversampling}), rows, _USUAL_WHOLE))
    return kinds


def expected_config(config: FitConfig, signal_to_noise: float, full_rows: int) -> FitConfig:
    """Return the fit that a search usually ends in, but for what it chooses of blur and weights, which ``tune`` still names."""
    fine = signal_to_noise > _FINE
    settled = _settled(config, fine, full_rows)[0].model_copy(update={"tune": config.tune})
    coarse = not fine and "oversampling" in config.tune
    return settled.model_copy(update={"oversampling": 1}) if coarse else settled


def _told(config: FitConfig) -> dict[str, Any]:
    setting: dict[str, Any] = {"blur_voxels": config.blur_voxels, "weighting": config.data_term.weighting}
    return setting | ({"regularizer": config.regularizers[0].weight} if config.regularizers else {})


def choose_fine(search: Search, config: FitConfig, names: set[str], signal_to_noise: float) -> dict[str, Any]:
    """Return the best setting of a fit that is to converge: blur, weight and roll-off of the ramp, steps, then the smoothest weight alike.

    At last whole fits tell whether that is too much: the shorter a fit, the more smoothing does it good.
    """
    rates = [config.learning_rate * share for share in _RATES]
    setting = _told(config)
    if "steps" in names and config.coarse_start:
        setting["learning_rate"] = rates[0]
    noisy = signal_to_noise < _ROLLED_OFF
    if "weighting" in names:
        setting |= {"weighting": "ramp", "rolloff": _ROLLOFF if noisy else None}
    if "regularizer" in names:
        setting["regularizer"] = _nearest(_WEIGHTS, 0.3 / signal_to_noise**0.5 if noisy else 0.0032)
    if "blur_voxels" in names:
        # Few and far apart at first: the error has local minima.
        setting = min(({**setting, "blur_voxels": blur} for blur in _FIRST_BLURS), key=search.of)
        setting = search.along(setting, "blur_voxels", _BLURS)
    # Judged as it will be fitted: what a coarse lattice cannot explain hides what a weight does.
    setting["oversampling"] = config.oversampling
    if "blur_voxels" in names and setting["blur_voxels"] < _BAND_LIMITED:
        setting = search.along(setting, "blur_voxels", _BLURS)
    if "regularizer" in names:
        setting = search.along(setting, "regularizer", _FINE_WEIGHTS[::2])
    if "weighting" in names and signal_to_noise < _NOISE_FREE:
        other = {**setting, "rolloff": None if setting["rolloff"] else _ROLLOFF}
        setting = other if search.better(other, setting) else setting
    if "blur_voxels" in names and setting["blur_voxels"] < _BAND_LIMITED:
        # With too little smoothing a blur had to do for it.
        setting = search.along(setting, "blur_voxels", _BLURS)
    if "regularizer" in names:
        setting = search.along(setting, "regularizer", _FINE_WEIGHTS[::2])
    if "learning_rate" in setting:
        setting = search.along(setting, "learning_rate", rates)
    if "regularizer" in names:
        setting = search.largest_alike(setting, "regularizer", _FINE_WEIGHTS)
        setting = search.lowered({**setting, "whole": True}, "regularizer", _FINE_WEIGHTS)
    return setting


def _nearest(values: Sequence[float], to: float) -> float:
    return min(values, key=lambda value: abs(np.log(value / to)))


def choose_noisy(search: Search, config: FitConfig, names: set[str]) -> dict[str, Any]:
    """Return the best setting of a fit to noisy views: blur, weight and weighting, each in turn, twice."""
    setting = _told(config)
    if "blur_voxels" in names:
        setting["blur_voxels"] = 1.2
    if "weighting" in names:
        setting["weighting"] = "plain"
    if "regularizer" in names:
        setting["regularizer"] = 0.1
    setting["oversampling"] = 1
    for _ in range(2):
        before = dict(setting)
        if "blur_voxels" in names:
            setting = search.along(setting, "blur_voxels", _BLURS)
        if "regularizer" in names:
            setting = search.along(setting, "regularizer", _WEIGHTS)
        if "weighting" in names:
            other = {**setting, "weighting": "plain" if setting["weighting"] == "ramp" else "ramp"}
            setting = other if search.better(other, setting) else setting
        # The second round judges on the lattice that will be fitted.
        coarse = "oversampling" in names and setting["blur_voxels"] >= _BAND_LIMITED
        setting = {**setting, "oversampling": 1 if coarse else config.oversampling}
        if setting == before:
            break
    return setting
