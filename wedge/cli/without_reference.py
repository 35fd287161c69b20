"""What ``wedge evaluate`` tells where nobody knows the truth: unseen views, halves, seeds; ranks, and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wedge.errors import UsageError

if TYPE_CHECKING:
    from wedge.data import TiltSeries, Volume
    from wedge.evaluate import Evaluation
    from wedge.halves_fsc import HalvesFsc

HALVES = "halves"
_MASKED = ("masked", "random", "corrected")


def named_views(text: str | None, tilts: Path | None) -> tuple[int, ...] | None:
    """Return the places that ``--unseen-views`` names, ``none`` of them or None where it was not given.

    Raises
    ------
    UsageError
        If it cannot be read, or there are no views to name.
    """
    from wedge.formats.views import parse_views

    if text is None:
        return None
    if tilts is None:
        raise UsageError("--unseen-views names views of a tilt series: give --tilts too")
    return () if text == "none" else parse_views(text)


def refuse_unknown(unseen: Sequence[int] | None, series: TiltSeries | None) -> None:
    """Refuse places that no view in use has."""
    from wedge.formats.views import places_in_stack

    if unseen is not None and series is not None and (unknown := set(unseen) - set(places_in_stack(series.array))):
        raise UsageError(f"--unseen-views names view {min(unknown)}, which is not among the views in use of {series.name}")


def halves_evaluation(first: Volume, second: Volume, mask: Volume | None = None) -> Evaluation:
    """Return the shell correlation of two halves, whole and by direction, with its resolutions; with a mask, within it too."""
    from wedge.contracts import Curve
    from wedge.evaluate import Evaluation
    from wedge.halves_fsc import fsc_between
    from wedge.intensity import IntensityFit

    found = fsc_between(first, second)
    values, series = _shell_values(found, "")
    note = "mean shell correlation up to 0.5 cycles/voxel; z, y, x: frequencies within 30 degrees of the axes; edges tapered; "
    note += "both halves assume the same, so what they make up alike, as in the wedge, correlates without being right"
    if mask is not None:
        from wedge.masked_fsc import within_mask

        within = within_mask(first, second, mask, found)
        for kind, one in (("masked", within.masked), ("random", within.random), ("corrected", within.corrected)):
            more_values, more_series = _shell_values(one, kind)
            values, series = values | more_values, series | more_series
        note += f"; {within.note}"
    return Evaluation(
        first.name, second.name, IntensityFit("none"), values=values, notes={HALVES: note},
        curves={HALVES: Curve("cycles per voxel", found.frequency[1:].tolist(), series)},
    )  # fmt: skip


def _shell_values(found: HalvesFsc, kind: str) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return means and resolutions of all regions, and their curves; ``kind`` goes in front of their names."""
    values: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for region, curve in found.curves.items():
        words = [kind] if kind else []
        values[".".join([HALVES, *words, *([] if region == "whole" else [region])])] = curve.mean
        for threshold in ("0.143", "half-bit") if kind != "random" else ():
            values[f"{HALVES}.{'-'.join([*words, region])}-resolution-{threshold}-{found.unit}"] = found.resolution(region, threshold)
        series[kind if kind and region == "whole" else "-".join([*words, region])] = curve.correlation[1:].tolist()
    if kind in ("", "masked"):
        end = f"-{kind}" if kind else ""
        series |= {f"half-bit{end}{'' if name == 'whole' else f'-{name}'}": c.half_bit[1:].tolist() for name, c in found.curves.items()}
    return values, series


def halves_text(found: Evaluation) -> str:
    """Return the table of halves: a row for each direction, and for what a mask makes of them."""
    from wedge.cli.table import table

    unit = next(name.rpartition("-")[2] for name in found.values if "-resolution-" in name)
    names = [name for name in found.curves[HALVES].series if not name.startswith("half-bit")]
    rows: list[list[str | float | None]] = []
    for name in names:
        kind, _, region = name.partition("-") if name.partition("-")[0] in _MASKED else ("", "", name)
        if region and kind in ("masked", "random"):
            continue  # by direction only what they come to
        words = [kind] if kind else []
        keys = [".".join([HALVES, *words, *([] if region in ("", "whole") else [region])])]
        keys += [f"{HALVES}.{'-'.join([*words, region or 'whole'])}-resolution-{threshold}-{unit}" for threshold in ("0.143", "half-bit")]
        rows.append([name.replace("-", " "), *(found.values.get(key) for key in keys)])
    listed = table(["direction", "fsc", f"{unit} at .143", f"{unit} at half-bit"], rows)
    return f"{found.volume} with {found.reference}\n{listed}\n\n{found.notes[HALVES]}"


def with_spread(evaluations: list[Evaluation], volumes: Sequence[Volume]) -> list[Evaluation]:
    """Add to volumes that differ by their seed alone how far they are apart."""
    from wedge.seed_spread import relative_spread, seed_groups

    found = list(evaluations)
    for group in seed_groups(volumes):
        spread = relative_spread([volumes[place] for place in group])
        for place in group:
            note = f"root mean square deviation over {len(group)} seeds, over the density's own"
            found[place] = replace(
                found[place], values=found[place].values | {"spread": spread}, notes=found[place].notes | {"spread": note}
            )
    return found


def with_ranks(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Put the rank of each volume's score first, among those of several volumes that have not seen the same views."""
    from wedge.view_scores import SCORE, VIEWS

    scored = [each for each in evaluations if SCORE in each.values]
    unseen = {tuple(each.curves[VIEWS].series["unseen"]) for each in scored}
    if len(scored) < 2 or len(unseen) != 1:
        note = {"": "scores of volumes with other unseen views do not compare: make all with the same views held out"}
        return [replace(each, notes=each.notes | note) if len(unseen) > 1 else each for each in evaluations]
    order = sorted(each.values[SCORE] for each in scored)
    return [
        replace(each, values={"rank": float(1 + order.index(each.values[SCORE])), **each.values}) if SCORE in each.values else each
        for each in evaluations
    ]


def write_picture(path: Path, evaluations: Sequence[Evaluation], halves: Evaluation | None, overwrite: bool) -> None:
    """Write the curves as a picture, whole or not at all."""
    from wedge.curves_picture import trust_picture
    from wedge.output import PendingOutput

    output = PendingOutput(path, overwrite=overwrite)
    try:
        trust_picture(evaluations, halves, output.partial)
        output.replace()
    except BaseException:
        output.discard()
        raise


def refuse_picture(path: Path | None, inputs: Sequence[Path], overwrite: bool, others: Sequence[Path | None]) -> None:
    """Refuse before the work a picture that would be no picture, or in the place of something else."""
    from wedge.errors import OutputExistsError
    from wedge.output import refuse_existing, refuse_same

    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise UsageError(f"--picture {path}: expected a name that ends in .png")
    if any(other is not None and other.resolve() == path.resolve() for other in others):
        raise UsageError(f"two outputs are one file: {path}; choose another name for one")
    refuse_same(path, *inputs)
    refuse_existing(path, overwrite=overwrite)
    if path.is_dir():
        raise OutputExistsError(f"output is a folder and is not replaced by a file: {path}; choose another name")
