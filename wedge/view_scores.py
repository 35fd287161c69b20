"""The evaluation of a volume by views alone: those that it has not seen first, and one score to rank volumes by."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from wedge.contracts import Curve, Projector
from wedge.data import TiltSeries, Volume
from wedge.evaluate import Evaluation, Progress
from wedge.held_out import ViewErrors, Views, errors_of, measured_noise, predict_views, unseen_views
from wedge.intensity import IntensityFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE = "score"
VIEWS, RINGS = "views", "view-frc"


def evaluate_views(
    volume: Volume,
    tilts: TiltSeries,
    projector: Projector,
    places: Sequence[int],
    *,
    unseen: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    on_progress: Progress | None = None,
    on_views: "Callable[[Volume, Views, NDArray[np.bool_]], None] | None" = None,
) -> Evaluation:
    """Score a volume by the views of a series, seen and unseen apart.

    Parameters
    ----------
    projector
        Built for `wedge.agreement.agreement_geometry`.
    places, unseen
        See `wedge.held_out.unseen_views`.
    on_views
        Called with the volume, what it predicts beside what was measured, and which views it has not seen: for whoever wants to look.

    Returns
    -------
    Evaluation
        ``unseen.error`` and further values of views that the volume was not made from, the same of ``inner`` ones between those it was made
        from, of ``outermost`` ones beyond them, and of ``seen`` ones; ``score``, lower is better; curves over tilt angle and frequency.

    Raises
    ------
    InputError
        If a value is not finite, the views are constant, or nobody says which views the volume was made from.
    """
    hidden = unseen_views(volume, tilts, places, unseen)
    noise = measured_noise(tilts)
    views = predict_views(volume, tilts, projector, device=device, on_progress=on_progress)
    if on_views is not None:
        on_views(volume, views, hidden)
    errors = errors_of(views, tilts, hidden, float(noise["power"]))
    groups = view_groups(errors)
    values = {SCORE: score_of(errors)}
    for name, chosen in groups.items():
        if name == "inner" and not groups["outermost"].any():
            continue
        values |= {f"{name}.{key}": value for key, value in errors.summary(chosen).items() if math.isfinite(value)}
    values["views.signal-to-noise"] = float(noise["signal_to_noise"])
    notes = {SCORE: score_note(errors, groups)}
    if errors.noise_power == 0:
        notes["unseen"] = "no noise was found in the views: nothing is taken off for it"
    curves = {VIEWS: _over_angle(errors), RINGS: _over_frequency(errors, groups)}
    return Evaluation(volume.name, tilts.name, IntensityFit("none"), values=values, curves=curves, notes=notes)


def view_groups(errors: ViewErrors) -> "dict[str, NDArray[np.bool_]]":
    """Return masks of the views by what the volume knew of them: all unseen, inner and outermost unseen, seen."""
    angles, unseen = errors.tilt_angles_deg, errors.unseen
    seen = angles[~unseen]
    beyond = unseen & ((angles < seen.min()) | (angles > seen.max())) if seen.size else np.zeros_like(unseen)
    return {"unseen": unseen, "outermost": beyond, "inner": unseen & ~beyond, "seen": ~unseen}


def score_of(errors: ViewErrors) -> float:
    """Return the figure that volumes are ranked by, lower is better: the error on unseen views; on seen ones where all were seen.

    Each unseen view counts for the angle between its unseen neighbours, the outermost for the missing wedge beside them as well, which they
    are the nearest thing to. Frequencies count by their power: what is missing in the wedge is low frequencies most of all. Weighted by
    their share of the volume, errors ranked tuning phantoms less well.
    """
    if errors.unseen.any():
        return errors.error(errors.unseen, angular=True)
    return errors.error(~errors.unseen)


def score_note(errors: ViewErrors, groups: "dict[str, NDArray[np.bool_]]") -> str:
    """Return how the score is to be read."""
    count = {name: int(chosen.sum()) for name, chosen in groups.items()}
    if not count["unseen"]:
        return (
            f"all {count['seen']} views were seen: this is no test, a volume that copies the noise scores best; "
            "make it anew with --hold-out 0.1 --hold-out-views extremes"
        )
    said = f"relative error of {count['unseen']} unseen views of {len(errors.unseen)}, {count['outermost']} of them beyond those seen; "
    if not count["outermost"]:
        said += "none is, so it says little of the missing wedge: --hold-out-views extremes; "
    if errors.noise_power > 0:
        said += f"noise alone makes about {errors.noise_error(errors.unseen):.4g}; "
    return said + "lower is better, for volumes with the same unseen views"


def _over_angle(errors: ViewErrors) -> Curve:
    order = np.argsort(errors.tilt_angles_deg, kind="stable")
    each = [np.arange(len(order)) == view for view in order]
    series = {"error": [errors.error(one) for one in each], "unseen": errors.unseen[order].astype(float).tolist()}
    series["noise"] = [errors.noise_error(one) for one in each]
    return Curve("tilt angle in degrees", errors.tilt_angles_deg[order].tolist(), series)


def _over_frequency(errors: ViewErrors, groups: "dict[str, NDArray[np.bool_]]") -> Curve:
    series = {name: errors.correlation(chosen)[1:].tolist() for name, chosen in groups.items() if chosen.any()}
    limit = errors.limit(errors.unseen if errors.unseen.any() else ~errors.unseen)
    return Curve("cycles per pixel", errors.rings.frequency[1:].tolist(), {**series, "limit": limit[1:].tolist()})
