"""Pictures of views: measured, predicted by each volume, and the difference; of those that volumes have not seen, where there are any."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.held_out import Views, fit_on, unseen_views
from wedge.pages.png import block_means, coded, png_uri, signed_palette
from wedge.pages.report_data import Picture, Section, ViewRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_VIEWS = 4
_LONGEST_SIDE = 256
_SHOWN_PERCENTILES = 0.5, 99.5
_FITTED = "Intensities are fitted once for each volume, on the views that it has seen, as for the metrics."


@dataclass(frozen=True)
class ChosenViews:
    """Which views are shown, by place in the series, and why these."""

    places: tuple[int, ...]
    why: str


def choose_views(volumes: Sequence[Volume], tilts: TiltSeries, places: Sequence[int], unseen: Sequence[int] | None = None) -> ChosenViews:
    """Return up to four views that volumes have not seen, spread over their angles; the outermost of all where every view was seen.

    Parameters
    ----------
    places, unseen
        See `wedge.held_out.unseen_views`.
    """
    hidden = np.zeros(tilts.geometry.num_tilts, dtype=bool)
    unknown = []
    for volume in volumes:
        try:
            hidden |= unseen_views(volume, tilts, places, unseen)
        except InputError:
            unknown.append(volume.name)
    order = np.argsort(tilts.geometry.tilt_angles_deg, kind="stable")
    candidates = [int(view) for view in order if hidden[view]]
    if candidates:
        picked = np.unique(np.rint(np.linspace(0, len(candidates) - 1, min(MOST_VIEWS, len(candidates)))).astype(int))
        why = f"{len(picked)} of the {len(candidates)} views that a volume was not made from. {_FITTED}"
        return ChosenViews(tuple(candidates[place] for place in picked), why)
    told = "nobody says which views the volumes were made from" if unknown else "every view was seen: this is no test"
    return ChosenViews(tuple(dict.fromkeys((int(order[0]), int(order[-1])))), f"The two outermost views; {told}. {_FITTED}")


@dataclass
class ViewPictures:
    """Collects the pictures of chosen views while volumes are compared with them; called once for each volume, in their order."""

    tilts: TiltSeries
    chosen: ChosenViews
    _measured: "list[NDArray[np.float32]]" = field(default_factory=list)
    _predicted: "list[tuple[list[NDArray[np.float32]], list[str]]]" = field(default_factory=list)

    def __call__(self, volume: Volume, views: Views, unseen: "NDArray[np.bool_] | None") -> None:
        """Keep the chosen views, fitted as `wedge.held_out.errors_of` fits them, at the size of a picture."""
        hidden = np.zeros(self.tilts.geometry.num_tilts, bool) if unseen is None else unseen
        fit = fit_on(views, ~hidden if not hidden.all() else hidden)
        some = list(self.chosen.places)
        fitted = Views(views.measured[:, some], views.predicted[:, some], views.box[some]).fitted(*fit)
        if not self._measured:
            self._measured = [block_means(views.measured[:, view], _LONGEST_SIDE) for view in some]
        said = ["" if unseen is None else "not seen" if hidden[view] else "seen" for view in some]
        self._predicted.append(([block_means(fitted[:, place], _LONGEST_SIDE) for place in range(len(some))], said))

    def section(self, labels: Sequence[str]) -> Section:
        """Return the section of views, its charts still missing."""
        rows = [self._row(place, labels) for place in range(len(self._measured))]
        return Section("views", "Views: measured and predicted", (self.chosen.why,) if rows else (), views=tuple(rows))

    def _row(self, place: int, labels: Sequence[str]) -> ViewRow:
        measured = self._measured[place]
        angle = self.tilts.geometry.tilt_angles_deg[self.chosen.places[place]]
        low, high = (float(each) for each in np.percentile(measured, _SHOWN_PERCENTILES))
        differences = [predicted[place] - measured for predicted, _ in self._predicted]
        most = max(float(np.percentile(np.abs(each), _SHOWN_PERCENTILES[1])) for each in differences)
        title = f"view {self.chosen.places[place]} at {angle:.4g} degrees"
        shown = [
            (
                f"{label} ({said[place]})" if said[place] else label,
                _picture(predicted[place], low, high, f"{title}, predicted by {label}"),
                _picture(difference, -most, most, f"{title}, predicted by {label} minus measured", signed_palette()),
            )
            for label, (predicted, said), difference in zip(labels, self._predicted, differences, strict=True)
        ]
        ranges = f"black {low:.4g}, white {high:.4g}; differences from {-most:.4g} (blue) over 0 (white) to {most:.4g} (orange)"
        return ViewRow(title, _picture(measured, low, high, f"{title}, measured"), tuple(shown), ranges)


def _picture(image: np.ndarray, low: float, high: float, label: str, palette: np.ndarray | None = None) -> Picture:
    rows, columns = image.shape
    return Picture(png_uri(coded(image, low, high), palette), label, (rows, columns))
