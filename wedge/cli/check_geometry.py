"""``wedge check-geometry``: what is wrong with the geometry of a series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    ProjectorOption,
    ProjectorOptOption,
    emit,
    resolve_device,
    say,
)
from wedge.cli.reading import reads_tilts
from wedge.cli.table import table
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.align.check import Check, Fit
    from wedge.align.correct import HandFit

_HARDLY_EXPLAINED = 0.8
_UNTOLD = (
    "the views alone cannot tell: the sign of all angles (mirrors the volume in z), all views mirrored in x (turns it by 180 degrees "
    "about the axis), all views mirrored in y (mirrors it in y)"
)


@reads_tilts
def command(
    tilts: Annotated[Path, typer.Argument(help="Tilt series: .zarr, or .mrc/.st/.ali with its angles.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the series with what was found corrected, .zarr or .mrc.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="A volume of the same specimen: tells the hand and the mirrors.")
    ] = None,
    max_offset: Annotated[
        float | None, typer.Option("--max-offset", min=0.0, metavar="PIXELS", help="Farthest tilt axis; default: an eighth of the width.")
    ] = None,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Try other places and directions of the tilt axis, mirrored views and other orders of the angles, and tell which fits.

    Each is judged by how well views are predicted from the others. A reference volume tells what the views cannot.
    """
    from wedge import formats
    from wedge.align.check import check_geometry
    from wedge.align.correct import compare_hands, corrected
    from wedge.convert import copy_tilts
    from wedge.defaults import load_defaults
    from wedge.options import parse_settings
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock
    from wedge.registry import Registry

    clock = RunClock()
    if output is not None:
        refuse_same(output, tilts, *([reference] if reference else []))
        refuse_existing(output, overwrite=overwrite)
    chosen = Registry.load().resolve("projector", projector or load_defaults()["projector"], parse_settings(projector_opt or []))
    target = resolve_device(device)
    series = formats.open_tilts(tilts, **reading.options(), on_note=say)
    known = formats.open_volume(reference, on_note=say) if reference else None
    check = check_geometry(series, chosen.build, max_offset_pixels=max_offset, device=target, say=say)
    by_hand = compare_hands(check, known) if known is not None else []
    result = _result(check, by_hand)
    if output is not None:
        if series.weights is not None:
            say(f"the weights of {series.name} are left out of {output}: find gold and mask it after the geometry is right")
        fixed = corrected(series, check.chosen, by_hand[0].hand if by_hand else None)
        with formats.create_tilts(output, fixed.geometry, simulated=series.simulated, overwrite=overwrite) as writer:
            copy_tilts(fixed, writer)
            used = [path for path in (tilts, formats.angles_path(tilts, reading.angles), reference) if path is not None]
            config = {"max_offset_pixels": max_offset, **reading.options()}
            record = clock.record(sys.argv, config, inputs=used, device=str(target), distributions=[chosen.entry.distribution])
            writer.commit(record | {"geometry_check": result} | ({"source": series.provenance} if series.provenance else {}))
    emit({"output": output, **result}, as_json=json, text=_text(result, output))


def _row(fit: Fit, name: str | None = None) -> dict[str, Any]:
    return {
        "geometry": name or fit.candidate.name + (", turned" if fit.axis_turn_deg else ""),
        "axis_offset_pixels": round(fit.axis_offset_pixels, 3),
        "axis_turn_deg": round(fit.axis_turn_deg, 3),
        "unexplained": round(fit.error, 5),
        "sharpness": round(fit.sharpness, 4),
    }


def _result(check: Check, by_hand: list[HandFit]) -> dict[str, Any]:
    """Return what was found as plain data."""
    given, fit = check.given, check.chosen
    others = [each.error for each in check.fits if each.candidate is not fit.candidate]
    advice = [fit.candidate.advice] if fit.candidate.advice else []
    if fit.axis_turn_deg:
        advice.append(f"turn the views by {-fit.axis_turn_deg:.2f} degrees, from x to y")
    if fit is not given:
        advice.append(f"put the tilt axis at {fit.axis_offset_pixels:.2f} pixels from the middle of the views")
    if by_hand and by_hand[0].hand.name != "as it is":
        advice.append(f"for the hand of the reference: {by_hand[0].hand.name}")
    if fit.error > _HARDLY_EXPLAINED:
        advice.append("hardly anything is explained: where that is not noise, views are not aligned; run wedge align first, and this again")
    return {
        "fits_as_given": fit is given,
        "given": _row(given, "as given"),
        "chosen": _row(fit, "as given" if fit is given else None),
        "margin": round(1 - fit.error / min(others), 4) if others else None,
        "candidates": [_row(each) for each in check.fits],
        "hands": [{"reading": each.hand.name, "correlation": round(each.correlation, 4)} for each in by_hand],
        "hand_margin": round(by_hand[0].correlation - by_hand[1].correlation, 4) if by_hand else None,
        "not_told_by_the_views": _UNTOLD,
        "advice": advice,
    }


def _text(result: dict[str, Any], output: Path | None) -> str:
    """Return the tables and what they mean."""
    header = ["geometry", "axis at / pixels", "turn / deg", "unexplained", "sharpness"]
    rows = [list(row.values()) for row in (result["given"], *result["candidates"])]
    parts = [table(header, rows)]
    if result["hands"]:
        parts.append(table(["reading", "correlation"], [list(row.values()) for row in result["hands"]]))
    verdict = "the geometry fits as given" if result["fits_as_given"] else f"what fits: {result['chosen']['geometry']}"
    gain = 1 - result["chosen"]["unexplained"] / result["given"]["unexplained"]
    if not result["fits_as_given"]:
        verdict += f", which leaves {100 * gain:.1f} % less of the views unexplained than the geometry as given"
    parts.append("\n".join([verdict, *(f"- {each}" for each in result["advice"])]))
    parts.append(_UNTOLD if not result["hands"] else f"hand and mirrors are the reference's, by {result['hand_margin']:.3f} of correlation")
    return "\n\n".join([*parts, *([str(output)] if output else [])])
