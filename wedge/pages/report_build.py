"""From volumes and what was measured of them to a report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wedge.data import TiltSeries, Volume
from wedge.errors import UsageError
from wedge.evaluate import Evaluation
from wedge.intensity import FitKind, IntensityFit, common_shape
from wedge.pages.report_charts import correlation_charts, slice_charts, view_charts
from wedge.pages.report_data import MOST_VOLUMES, Measured, Report, Section, ShownVolume, labels_of
from wedge.pages.report_halves import halves_section
from wedge.pages.report_made import made_of
from wedge.pages.report_previews import Pictures, alike, in_densities_of_first, shrink_to_fit, spectrum_of
from wedge.pages.report_resolution import resolution_table
from wedge.pages.report_spread import Calibration, spread_section
from wedge.pages.report_tables import metric_tables
from wedge.pages.report_views import ViewPictures


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Parameters
    ----------
    volumes
        Side by side; the first is what the others are shown beside. With a reference it is the reference.
    has_reference
        Whether the first volume is what the others were compared with.
    evaluations
        One for each volume, without the reference.
    better, units
        See `wedge.pages.report_tables.metric_tables`.
    halves, half_volumes
        Two independent halves and their evaluation.
    spread, spread_of, calibration
        A spread, the place of the volume that it belongs to, and how it compares with true errors.
    tilts, views
        The tilt series, and the pictures of its views.
    intensity_fit
        Whether pictures are brought to the densities of the first.
    """

    volumes: Sequence[Volume]
    has_reference: bool = False
    evaluations: Sequence[Evaluation] = ()
    better: Mapping[str, str | float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    halves: Evaluation | None = None
    half_volumes: Sequence[Volume] = ()
    spread: Volume | None = None
    spread_of: int | None = None
    calibration: Calibration | None = None
    tilts: TiltSeries | None = None
    views: ViewPictures | None = None
    intensity_fit: FitKind = "affine"

    @property
    def labels(self) -> list[str]:
        """Short names of the volumes."""
        return labels_of([volume.name for volume in self.volumes])

    @property
    def measured_labels(self) -> list[str]:
        """Short names of those that were measured."""
        return self.labels[1:] if self.has_reference else self.labels

    @property
    def fits(self) -> list[IntensityFit | None]:
        """How each volume was matched with the reference; None where nothing was."""
        if not self.has_reference:
            return [None] * len(self.volumes)
        return [IntensityFit("none"), *(each.intensity_fit for each in self.evaluations)]

    @property
    def voxel_size_angstrom(self) -> float | None:
        """The first size that is known."""
        return next((volume.voxel_size_angstrom for volume in self.volumes if volume.voxel_size_angstrom is not None), None)

    def angles_of(self, volume: Volume) -> tuple[float, ...] | None:
        """Return the angles that tell a volume's measured frequencies."""
        return volume.tilt_angles_deg or (None if self.tilts is None else self.tilts.geometry.tilt_angles_deg)


def refuse_unfit(volumes: Sequence[Volume]) -> None:
    """Refuse what cannot stand side by side.

    Raises
    ------
    UsageError
        If there is none, or more than six.
    InputError
        If shapes differ.
    """
    if not 1 <= len(volumes) <= MOST_VOLUMES:
        raise UsageError(f"{len(volumes)} volumes, the reference included: a report shows 1 to {MOST_VOLUMES} side by side; leave some out")
    common_shape(volumes)


def build_report(subject: Subject, title: str, about: Mapping[str, str]) -> Report:
    """Return everything but the pictures of volumes."""
    shape = common_shape(subject.volumes)
    size = subject.voxel_size_angstrom
    measured = [Measured(label, each) for label, each in zip(subject.measured_labels, subject.evaluations, strict=False)]
    sections = [Section("metrics", "Metrics", tables=metric_tables(measured, subject.better, subject.units))]
    frequency = correlation_charts(measured, size)
    sections.append(Section("resolution", "Resolution", tables=resolution_table(measured, shape, size), charts=frequency))
    if subject.halves is not None:
        sections.append(halves_section(subject.halves, labels_of([volume.name for volume in subject.half_volumes]), size))
    sections.append(Section("along-y", "Quality along y", charts=slice_charts(measured, subject.units)))
    if subject.spread is not None and subject.spread_of is not None:
        sections.append(spread_section(subject.labels[subject.spread_of], subject.calibration, _spread_notes(subject)))
    pictured = subject.views.section(subject.measured_labels) if subject.views else Section("views", "Views: measured and predicted")
    sections.append(Section(pictured.name, pictured.title, pictured.notes, charts=view_charts(measured), views=pictured.views))
    kept = tuple(each for each in sections if each.tables or each.charts or each.views or each.notes)
    made = tuple(made_of(label, volume) for label, volume in zip(subject.labels, subject.volumes, strict=True))
    if subject.spread is not None and all(subject.spread.provenance != volume.provenance for volume in subject.volumes):
        made = (*made, made_of(f"{labels_of([subject.spread.name])[0]} (spread)", subject.spread))
    shown = tuple(_shown(subject, place) for place in range(len(subject.volumes)))
    return Report(title, shown, kept, made, tuple(_notes(subject)), dict(about))


def _spread_notes(subject: Subject) -> tuple[str, ...]:
    assert subject.spread is not None
    of = subject.labels[subject.spread_of or 0]
    told = f"{labels_of([subject.spread.name])[0]} is taken for the standard deviation of each voxel of {of}."
    return (told, "A spread knows what chance does, and not what all that it was taken over have wrong alike.")


def _shown(subject: Subject, place: int) -> ShownVolume:
    volume, label = subject.volumes[place], subject.labels[place]
    size, angles = volume.voxel_size_angstrom, volume.tilt_angles_deg
    facts = {
        "shape (z, y, x)": " x ".join(str(count) for count in volume.array.shape) + " voxels",
        "voxel size": "unknown" if size is None else f"{size:.6g} angstrom",
        "made from": "not recorded" if angles is None else f"{len(angles)} views, {min(angles):.4g} to {max(angles):.4g} degrees",
    }
    if subject.has_reference and place == 0:
        facts["role"] = "reference"
    known = made_of(label, volume).facts
    facts |= {name: known[name] for name in ("time", "peak memory") if name in known}
    return ShownVolume(label, volume.name, facts, None if angles is None else (min(angles), max(angles)))


def _notes(subject: Subject) -> list[str]:
    known = {volume.voxel_size_angstrom for volume in subject.volumes} - {None}
    sizes = [size for size in known if size is not None]
    notes = []
    if sizes and not math.isclose(min(sizes), max(sizes), rel_tol=1e-3):
        each = ", ".join(
            f"{label} {volume.voxel_size_angstrom or 'unknown'}" for label, volume in zip(subject.labels, subject.volumes, strict=True)
        )
        notes.append(f"Voxel sizes differ ({each}, in angstrom): volumes are laid over each other voxel by voxel.")
    wanting = {
        "--reference: metrics and correlations with a truth": subject.has_reference,
        "--tilts: errors on views": subject.tilts is not None,
        "--halves: resolution without a truth": subject.halves is not None,
        "--std: uncertainty": subject.spread is not None,
    }
    missing = [what for what, there in wanting.items() if not there]
    notes.append(_densities_note(subject))
    return [*notes, *([f"Not asked for: {'; '.join(missing)}."] if missing else [])]


def _densities_note(subject: Subject) -> str:
    if len(subject.volumes) < 2 or subject.intensity_fit == "none":
        return "Pictures show densities as they are."
    first = subject.labels[0]
    if subject.has_reference:
        told = f"Pictures show all volumes in the densities of {first}, after the affine intensity fit that the metrics state"
        return f"{told}; spectra are relative to its peak."
    return f"Pictures show all volumes with the mean and the standard deviation of {first}; spectra are relative to each one's own peak."


def make_pictures(subject: Subject, room_bytes: int) -> Pictures:
    """Return what is drawn of the volumes, in the densities of the first, in at most ``room_bytes`` of the page."""
    spectra, peak, fits = [], None, subject.fits
    for volume, fit in zip(subject.volumes, fits, strict=True):
        scale = fit.scale if fit else 1.0
        spectrum, top = spectrum_of(volume, scale, peak if fit else None, subject.angles_of(volume))
        spectra.append(spectrum)
        peak = peak or top
    taken = sum(len(each.to_json()["deflated"]) for each in spectra)
    previews, spread, side = shrink_to_fit(subject.volumes, subject.spread, room_bytes - taken)
    unfitted = [IntensityFit("none") if subject.intensity_fit == "none" else alike(preview, previews[0]) for preview in previews]
    used = [fit or other for fit, other in zip(fits, unfitted, strict=True)]
    shown = [in_densities_of_first(*each) for each in zip(previews, used, strict=True)]
    if spread is not None and subject.spread_of is not None and (fit := fits[subject.spread_of]) is not None:
        spread = in_densities_of_first(spread, IntensityFit(fit.kind, abs(fit.scale), 0.0))
    whole = max(max(volume.array.shape) for volume in subject.volumes)
    turned = tuple(place for place, fit in enumerate(used) if fit.scale < 0)
    return Pictures(tuple(shown), tuple(spectra), spread, side, whole, turned)
