"""What is known of a fit before it begins: its units, its box, the noise, and so the kind of field."""

from collections.abc import Callable

import torch

from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit import team
from wedge.fit.borne_out import is_borne_out
from wedge.fit.build import Plugins
from wedge.fit.checkpoint import Progress
from wedge.fit.config import FitConfig, RestoreConfig
from wedge.fit.halves import Halves, pair_halves
from wedge.fit.hold_out import views_to_hold_out, without_held_out
from wedge.fit.job import Job
from wedge.fit.margin import fitted_margin, needed_margin
from wedge.fit.memory import memory_limit
from wedge.fit.normalization import Normalization, normalize, sample_rows, sample_weights
from wedge.fit.restore_halves import left_to_a_network
from wedge.fit.sample import busiest_rows, rows_of
from wedge.fit.spectrum import NOISE_FREE, Spectrum, measure
from wedge.fit.trials import views_to_judge_by
from wedge.fit.tuning import SAMPLE_ROWS
from wedge.formats.window import trimmed
from wedge.slabs import read_weights, slab_ranges

_NOISY = 100.0
"""Signal to noise below which one fit is not enough."""


def begin(
    tilts: TiltSeries,
    half: TiltSeries | None,
    plugins: Plugins,
    config: FitConfig,
    device: torch.device,
    max_memory: int | None,
    saved: Progress | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Job:
    """Return the fit of a series as far as it is known before its first step.

    Parameters
    ----------
    half
        An independent second half of the same views; their mean is fitted.
    max_memory
        Bytes; None for four fifths of what is free.
    saved
        Where an earlier run was that is to go on: it has settled all this.

    Raises
    ------
    InputError
        If ``half`` is not of the same views, a row has no weight in any, or a stack is wanted and no views are left to judge by.
    """
    # From here on there is nothing of the held-out views in what is fitted: neither in its units nor in what is chosen.
    fitted, held, halves = _without_held_out(tilts, half, config)
    if saved is None:
        _refuse_empty_rows(fitted)
    if saved is not None:
        settled, units, chosen = FitConfig.model_validate(saved.settled) if saved.settled else config, saved.normalization, saved.chosen
        margin = int(settled.margin)
    else:
        units, margin = _units(fitted, halves, plugins, config, device, say)
        settled, chosen = config.model_copy(update={"margin": margin, "restore": _sign_as_told(config)}), {}
    if margin:
        # Rays that miss the volume ask for a wider field only to tell of what is beside it.
        tilts, half = trimmed(tilts), trimmed(half) if half is not None else None
        fitted, held, halves = _without_held_out(tilts, half, config)
        if config.margin == "auto" and saved is None:
            margin = needed_margin(tilts.geometry)
            settled = settled.model_copy(update={"margin": margin})
    job = Job(fitted, halves, plugins, settled, units, margin, device, 0, chosen, held_out=held)
    job.limit = memory_limit(device, max_memory)
    units = job.units
    sign = "both signs" if not units.positive else "positive" if units.scale > 0 else "negative"
    say(f"intensity offset {units.offset:.6g} ({config.offset}), density of {sign}, scale {abs(units.scale):.4g}")
    if fitted.weights is not None:
        share = float((sample_weights(fitted) == 0).mean())
        say(f"weights: {share:.2%} of the rays of some rows have weight 0 and are left out of the fit")
    if job.margin:
        say(f"the specimen goes on beyond the volume: the field is {job.margin} voxels wider on either side in x (--margin)")
    if saved is None:
        job.config = job.config.model_copy(update={"method": _kind(job, say)})
    return job


def _without_held_out(tilts: TiltSeries, half: TiltSeries | None, config: FitConfig) -> tuple[TiltSeries, TiltSeries | None, Halves | None]:
    """Return the series that is fitted, the views held out or None, and the fitted ones of both halves or None."""
    out = views_to_hold_out(tilts, config.hold_out, config.hold_out_views)
    if half is None:
        return *without_held_out(tilts, out), None
    pair = pair_halves(tilts, half)
    (first, first_held), (second, second_held) = (without_held_out(series, out) for series in (pair.first, pair.second))
    halves = Halves(first, second)
    held = Halves(first_held, second_held).mean if first_held is not None and second_held is not None else None
    return halves.mean, held, halves


def _refuse_empty_rows(tilts: TiltSeries) -> None:
    """Refuse rows of which no view tells anything."""
    if tilts.weights is None:
        return
    for rows in slab_ranges(tilts.geometry.detector_shape[0], 16):
        weights = read_weights(tilts, rows.start, rows.stop)
        if weights is not None and (empty := [rows.start + y for y, row in enumerate(weights) if not row.any()]):
            raise InputError(f"row {empty[0]} of {tilts.name} has weight 0 in all views that are fitted: leave it out with --crop-y")


def _sign_as_told(config: FitConfig) -> RestoreConfig:
    """Return how a network restores, which finds no sign where the user has told that there are both."""
    return config.restore.model_copy(update={"other_side": 0.0}) if config.positivity == "off" else config.restore


def _units(
    tilts: TiltSeries,
    halves: Halves | None,
    plugins: Plugins,
    config: FitConfig,
    device: torch.device,
    say: Callable[[str], None],
) -> tuple[Normalization, int]:
    """Find the units of a fit and the margin of its box."""
    projector = plugins.projector.build(tilts.geometry, device)
    try:
        units = normalize(tilts, projector, device, config.offset, config.positivity)
        if units.positive and _may_find_sign_later(Job(tilts, halves, plugins, config, units, 0, device, 0)):
            build = plugins.projector.build
            # One decision for all devices.
            if not team.least(int(is_borne_out(tilts, units.offset, units.scale, build, device)), device):
                say("noise hides whether density has one sign: it is told once it is restored (--positivity on or off, --offset)")
                units = normalize(tilts, projector, device, config.offset, "off")
    finally:
        projector.close()
    weights = sample_weights(tilts)
    noise = None if halves is None else halves.noise_variance(sample_rows, weights)
    return units, fitted_margin(config.margin, sample_rows(tilts) - units.offset, tilts.geometry, weights, noise)


def _may_find_sign_later(job: Job) -> bool:
    """Return whether sign and background were estimated from noisy views, and a network that restores density would show the sign."""
    config = job.config
    told = config.positivity != "auto" or config.offset != "auto" or job.tilts.simulated or config.method not in ("auto", "restore")
    return not told and left_to_a_network(job) and _spectrum(job).signal_to_noise < _NOISY


def _kind(job: Job, say: Callable[[str], None]) -> str:
    """Measure the noise, unless the adaptive field does so itself, and return the kind of field: as told, or as the views ask for."""
    told = job.config.method
    if told == "adaptive" or (told == "auto" and not job.units.positive and not left_to_a_network(job)):
        return "adaptive"
    spectrum = _spectrum(job)
    ratio = spectrum.signal_to_noise
    job.noise_std = spectrum.noise_variance**0.5 if ratio < NOISE_FREE else 0.0
    job.chosen = {"signal_to_noise": ratio, "noise_std": job.noise_std}
    say(f"signal to noise in the views about {ratio:.3g}")
    can_judge = bool(views_to_judge_by(job.wide.geometry.tilt_angles_deg))
    if told == "stack" and not can_judge:
        raise InputError(f"{job.tilts.name}: a stack needs views to judge by, and too few are left; give --method network")
    if told != "auto":
        return told
    if not job.units.positive:
        job.chosen["method"] = "restore"
        return "restore"
    return "stack" if ratio < _NOISY and can_judge and "stack" in job.config.tune else "network"


def _spectrum(job: Job) -> Spectrum:
    """Measure signal and noise on some rows: halves show noise of any colour, without them it is taken to be white."""
    sample = sample_of(job)
    views = sample_rows(sample) - job.units.offset
    if job.halves is None:
        return measure(views, sample.geometry)
    second = rows_of(job.halves.second, busiest_rows(job.wide, SAMPLE_ROWS))
    return measure(views, sample.geometry, views + job.units.offset - sample_rows(second))


def sample_of(job: Job) -> TiltSeries:
    """Return some rows of the views that are fitted."""
    return rows_of(job.wide, busiest_rows(job.wide, SAMPLE_ROWS))
