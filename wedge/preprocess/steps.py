"""All that is done to the views of one series, in one order, each step told in a line."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wedge.data import TiltSeries
from wedge.errors import InputError, UsageError
from wedge.formats.window import window
from wedge.output import Writer
from wedge.preprocess.dose import doses_of, weight_by_dose
from wedge.preprocess.gold_fill import fill_beads, hidden_by
from wedge.preprocess.gold_find import bead_sign, find_candidates
from wedge.preprocess.gold_track import track_beads
from wedge.preprocess.hot_pixels import replace_bad_pixels
from wedge.preprocess.intensity import NormalizeMode, invert, normalize_views, to_logarithm, undo_ice
from wedge.preprocess.spool import Spool
from wedge.preprocess.taper import taper_edges

Say = Callable[[str], Any]
_LEAST_DIAMETER = 3.0


@dataclass(frozen=True)
class Steps:
    """What is to be done. It is done in the order in which it stands here.

    Parameters
    ----------
    hot_pixels
        Replace dead and hot pixels and spikes.
    gold
        ``erase`` beads, or ``mask`` them: the same, and their rays get weight 0.
    gold_diameter_pixels
        Of a bead.
    ice_thickness
        Give back what ice absorbs the more, the more it is tilted.
    log
        Take the negative logarithm of the intensities over that of the beam.
    beam
        The beam's intensity for ``log``.
    invert
        Change the sign.
    normalize
        See `wedge.preprocess.intensity.normalize_views`.
    dose_weight
        Attenuate what the dose before each view has destroyed.
    doses
        A list of those doses; by default what the series knows.
    taper_pixels
        Width of a soft border, or 0.
    seed
        Of the noise that fills beads.
    """

    hot_pixels: bool = False
    gold: Literal["erase", "mask"] | None = None
    gold_diameter_pixels: float | None = None
    ice_thickness: bool = False
    log: bool = False
    beam: float | None = None
    invert: bool = False
    normalize: NormalizeMode | None = None
    dose_weight: bool = False
    doses: Path | None = None
    taper_pixels: int = 0
    seed: int = 0

    def check(self, tilts: TiltSeries) -> None:
        """Refuse what can't be done, before anything is.

        Raises
        ------
        UsageError
            If nothing is to be done, steps contradict each other, or what one needs is not known.
        """
        if not (
            self.hot_pixels
            or self.gold
            or self.ice_thickness
            or self.log
            or self.invert
            or self.normalize
            or self.dose_weight
            or self.taper_pixels
        ):
            raise UsageError("nothing to do: name a step, as --hot-pixels or --normalize mass; wedge preprocess --help lists them")
        if self.log and self.ice_thickness:
            raise UsageError("--log and --ice-thickness contradict each other: the logarithm makes the ice part of the density; give one")
        rows, width = tilts.geometry.detector_shape
        if self.gold:
            diameter = self.gold_diameter_pixels
            if diameter is None:
                raise UsageError(f"--gold {self.gold} needs the size of the beads: give --gold-diameter-nm or --gold-diameter-pixels")
            if not _LEAST_DIAMETER <= diameter <= min(rows, width) / 4:
                raise UsageError(
                    f"beads of {diameter:.3g} pixels: expected {_LEAST_DIAMETER:g} to {min(rows, width) / 4:g}, a quarter of a view; "
                    "correct the diameter or --voxel-size"
                )
        if not 0 <= self.taper_pixels <= min(rows, width) // 2:
            raise UsageError(f"--taper {self.taper_pixels}: expected at most half of a view, {min(rows, width) // 2} pixels")
        if self.dose_weight:
            doses_of(tilts.geometry, self.doses)


def preprocess(
    tilts: TiltSeries,
    writer: Writer,
    steps: Steps,
    *,
    unbinned: tuple[TiltSeries, int] | None = None,
    say: Say = lambda line: None,
    on_step: Say = lambda name: None,
) -> dict[str, Any]:
    """Write a tilt series with all steps done; the caller commits the writer.

    The views are copied to an unnamed file beside the output first: one view at a time is in memory.

    Parameters
    ----------
    tilts
        The series.
    unbinned
        The same before squares of so many pixels along a side were averaged: bad pixels are looked for in it, for in averages they hide.
    writer
        Takes the rows, and the weights where it is `Writer.weighted`.
    steps
        What to do.
    say
        Told each step in a line.
    on_step
        Called with the name of each step before it.

    Returns
    -------
    dict[str, Any]
        What each step found, by its name, for the record.

    Raises
    ------
    UsageError, InputError
        If a step can't be done with these views.
    """
    steps.check(tilts)
    record: dict[str, Any] = {}
    plan = _PLAN

    def go_through(part: Sequence[tuple[str, Step]], spool: Spool) -> None:
        _refuse_not_finite(spool.views, tilts.name)
        for name, do in part:
            on_step(name)
            told = do(spool, steps)
            if told is not None:
                line, found = told
                say(f"{name}: {line}")
                record[name] = found

    with ExitStack() as finer:
        if unbinned is not None and steps.hot_pixels:
            series, factor = unbinned
            whole = finer.enter_context(Spool(series, writer.path.parent))
            go_through(plan[:1], whole)
            plan = plan[1:]
            coarse = window(replace(series, array=whole.views, weights=whole.weights), factor=factor)
            tilts = replace(tilts, array=coarse.array, weights=coarse.weights)
        with Spool(tilts, writer.path.parent, weighted=steps.gold == "mask") as spool:
            finer.close()
            go_through(plan, spool)
            spool.write(writer)
    return record


def _refuse_not_finite(views: np.ndarray, name: str) -> None:
    for index, view in enumerate(views):
        if bad := int(view.size - np.isfinite(view).sum()):
            raise InputError(f"view {index} of {name} holds {bad} values that are NaN or infinite: leave it out by --exclude-views")


Told = tuple[str, dict[str, Any]] | None
Step = Callable[["Spool", "Steps"], Told]


def _hot_pixels(spool: Spool, steps: Steps) -> Told:
    if not steps.hot_pixels:
        return None
    found = replace_bad_pixels(spool.views)
    share = found.in_views / found.num_pixels
    line = f"{found.in_views} pixels in single views ({share:.2g} of all) and {found.of_detector} of the detector replaced by local medians"
    return line, {"in_views": found.in_views, "of_detector": found.of_detector}


def _gold(spool: Spool, steps: Steps) -> Told:
    if steps.gold is None or steps.gold_diameter_pixels is None:
        return None
    radius = steps.gold_diameter_pixels / 2
    sign = bead_sign(spool.views, radius)
    candidates = [find_candidates(np.asarray(view), radius, sign) for view in spool.views]
    beads = track_beads(candidates, spool.tilts.geometry, radius)
    pixels = 0
    for tilt, view in enumerate(spool.views):
        hidden = hidden_by(beads, spool.shape[1:], tilt, radius)
        fill_beads(view, hidden, tilt, noise=steps.gold == "erase", seed=steps.seed)
        if steps.gold == "mask" and spool.weights is not None:
            spool.weights[tilt][hidden] = 0
        pixels += int(hidden.sum())
    found = sum(int(bead.found.sum()) for bead in beads)
    looked = sum(len(each.y) for each in candidates)
    done = "masked, weight 0" if steps.gold == "mask" else "filled with their surroundings and noise"
    line = (
        f"{len(beads)} beads of {steps.gold_diameter_pixels:.3g} pixels, {'brighter' if sign > 0 else 'darker'} than what is around them, "
        f"from {found} of {looked} places like beads in {spool.shape[0]} views; {pixels} pixels ({pixels / spool.views.size:.2%}) {done}"
    )
    places = [{"y": bead.y, "x": bead.x, "z": bead.z, "height": bead.height, "views": int(bead.found.sum())} for bead in beads]
    return line, {"sign": sign, "candidates": looked, "pixels": pixels, "diameter_pixels": steps.gold_diameter_pixels, "beads": places}


def _ice(spool: Spool, steps: Steps) -> Told:
    if not steps.ice_thickness:
        return None
    tau, factors = undo_ice(spool.views, spool.tilts.geometry)
    line = f"optical thickness {tau:.4g} at 0 degrees; views times {factors.min():.4g} to {factors.max():.4g}"
    return line, {"optical_thickness": tau, "factors": factors.tolist()}


def _log(spool: Spool, steps: Steps) -> Told:
    if not steps.log:
        return None
    beam, dark = to_logarithm(spool.views, spool.tilts.geometry, steps.beam)
    line = f"-log(I / {beam:.6g}): what is dark becomes bright; {dark} pixels that were not positive put to the smallest positive value"
    return line, {"beam": beam, "not_positive": dark}


def _invert(spool: Spool, steps: Steps) -> Told:
    if not steps.invert:
        return None
    invert(spool.views)
    return "intensities times -1: what was dark is bright now", {"factor": -1}


def _normalize(spool: Spool, steps: Steps) -> Told:
    if steps.normalize is None:
        return None
    found = normalize_views(spool.views, spool.tilts.geometry, steps.normalize)
    line = (
        f"{steps.normalize}: {found.offsets.min():.6g} to {found.offsets.max():.6g} taken from the views, "
        f"then times {found.factors.min():.4g} to {found.factors.max():.4g}"
    )
    crowded = np.flatnonzero(found.crowded).tolist()
    if crowded:
        done = "that of the others is taken for theirs" if found.borrowed else "they are not multiplied"
        line += f"; in {len(crowded)} views ({', '.join(map(str, crowded))}) the background is hardly visible: {done}"
    return line, {"mode": steps.normalize, "offsets": found.offsets.tolist(), "factors": found.factors.tolist(), "crowded": crowded}


def _dose(spool: Spool, steps: Steps) -> Told:
    geometry = spool.tilts.geometry
    if not steps.dose_weight or geometry.pixel_size_angstrom is None:
        return None
    doses = doses_of(geometry, steps.doses)
    weight_by_dose(spool.views, doses, geometry.pixel_size_angstrom)
    return f"doses of {min(doses):.4g} to {max(doses):.4g} electrons per square angstrom before the views", {"doses": list(doses)}


def _taper(spool: Spool, steps: Steps) -> Told:
    if not steps.taper_pixels:
        return None
    taper_edges(spool.views, steps.taper_pixels)
    return f"{steps.taper_pixels} pixels at every border led over to each view's mean", {"pixels": steps.taper_pixels}


_PLAN: tuple[tuple[str, Step], ...] = (
    ("hot pixels", _hot_pixels),
    ("gold", _gold),
    ("ice thickness", _ice),
    ("log", _log),
    ("invert", _invert),
    ("normalize", _normalize),
    ("dose weight", _dose),
    ("taper", _taper),
)
