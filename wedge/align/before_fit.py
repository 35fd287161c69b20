"""Alignment as the first step of a fit: found once, before anything is measured on the views, told, and kept beside the fit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wedge.align.levels import BuildProjector
from wedge.align.refine import align
from wedge.align.resample import moved_series
from wedge.align.transforms import ViewTransforms
from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit.halves import pair_halves
from wedge.formats.views import places_in_stack

ALIGNMENT_NAME = "alignment.json"
_FIELDS = ("dx_pixels", "dy_pixels", "rotation_deg")


@dataclass(frozen=True)
class FitAlignment:
    """How the views of a fit move. Whoever takes part in it, goes on with it or fits half of its views moves them alike.

    Parameters
    ----------
    places
        Where each view stands in the stack.
    transforms
        Of these views.
    summary
        What was found, for records.
    """

    places: tuple[int, ...]
    transforms: ViewTransforms
    summary: dict[str, Any]

    @classmethod
    def find(
        cls, tilts: TiltSeries, half: TiltSeries | None, build_projector: BuildProjector, device: torch.device, say: Callable[[str], None]
    ) -> "FitAlignment":
        """Compare the views of a series, with a second half on the mean of both, and tell how far they move.

        Raises
        ------
        InputError
            If a value is not finite, the views are constant, or the halves are not of the same views.
        """
        whole = tilts if half is None else pair_halves(tilts, half).mean
        found = align(whole, build_projector, device=device, say=say)
        say(("views aligned: " if found.applied else "views left as they are: ") + found.reason)
        return cls(places_in_stack(tilts.array), found.transforms, found.summary())

    @classmethod
    def read(cls, run_dir: Path) -> "FitAlignment":
        """Return what a fit has left in its folder.

        Raises
        ------
        InputError
            If it is missing or damaged.
        """
        path = run_dir / ALIGNMENT_NAME
        try:
            return cls.of_record(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is missing or damaged: it says how the views were aligned; start again with --overwrite") from error

    @classmethod
    def of_record(cls, data: dict[str, Any]) -> "FitAlignment":
        """Return what `record` gave."""
        transforms = ViewTransforms(*(np.asarray(data[name], dtype=np.float64) for name in _FIELDS))
        return cls(tuple(int(place) for place in data["places"]), transforms, dict(data["summary"]))

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        numbers = {name: getattr(self.transforms, name).tolist() for name in _FIELDS}
        return {"places": list(self.places), **numbers, "summary": self.summary}

    def write(self, run_dir: Path) -> None:
        """Keep it in the folder of a fit.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        path = run_dir / ALIGNMENT_NAME
        try:
            path.write_text(json.dumps(self.record(), default=str))
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; free some disk space") from error

    def move(self, tilts: TiltSeries) -> TiltSeries:
        """Return these views, or some of them, where the others want them; what moves is held in main memory.

        Raises
        ------
        InputError
            If the series has a view that was not aligned.
        """
        index_of = {place: index for index, place in enumerate(self.places)}
        places = places_in_stack(tilts.array)
        if unknown := [place for place in places if place not in index_of]:
            raise InputError(f"view {unknown[0]} of {tilts.name} has no part in the alignment of this fit; start again with --overwrite")
        return moved_series(tilts, self.transforms.of_views([index_of[place] for place in places]))
