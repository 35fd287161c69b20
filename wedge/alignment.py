"""How raw views are brought onto one tilt axis: the neutral form of what every alignment program writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from wedge.errors import InputError
from wedge.listed_views import Listed

_PER_VIEW = ("tilt_angles_deg", "x_tilts_deg", "dose_e_per_square_angstrom", "acquisition_order")


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the views of a raw stack are brought onto one tilt axis along y.

    A point at ``(x, y)`` of raw view ``k``, in raw pixels from the raw view's centre (index ``(n - 1) / 2``), goes to
    ``matrices[k] @ (x, y) + shifts_pixels[k]``, in raw pixels from the aligned view's centre. ``y`` counts the rows of the stack as they
    are stored. Everything is in wedge's conventions (see `wedge.geometry`), whatever the file's were.

    Parameters
    ----------
    matrices
        ``(tilt, 2, 2)`` float64, rows and columns ``(x, y)``.
    shifts_pixels
        ``(tilt, 2)`` float64 ``(x, y)``, in raw pixels.
    tilt_angles_deg
        As refined, one per raw view; None where the file doesn't say. `tilt_angle_offset_deg` is not in them.
    pixel_size_angstrom
        Edge of a raw pixel, where the file says.
    excluded_views
        Places in the raw stack, from 0, of views that the file leaves out.
    binning
        Of the aligned stack that the file describes. Everything else here in pixels is unbinned.
    output_shape
        ``(y, x)`` pixels of the aligned view after binning, where said.
    thickness_pixels
        The volume's size in z, in unbinned pixels, where said.
    axis_offset_pixels
        Position in x of the tilt axis relative to the aligned view's centre, in unbinned pixels.
    volume_shift_pixels
        ``(z, x)`` of the volume's centre relative to the tilt axis, in unbinned pixels.
    tilt_angle_offset_deg
        To be added to every tilt angle (pre-tilt).
    x_axis_tilt_deg
        Rotation of the whole specimen about x that the file asks for; wedge does not apply it.
    x_tilts_deg
        The same for every view, where said.
    acquisition_order
        For each raw view its place in the order of acquisition, from 0; None where unknown.
    dose_e_per_square_angstrom
        Accumulated before each view, where said.
    listed
        Which views of the raw stack these are, where the file lists some alone or in an order of its own.
    notes
        What was read and is not used, one line each: for the user.
    source
        What was read, for messages.

    Raises
    ------
    InputError
        If the parts disagree about the number of views, a number is not finite, a matrix cannot be inverted, or an excluded view is not
        there.
    """

    matrices: np.ndarray
    shifts_pixels: np.ndarray
    tilt_angles_deg: tuple[float, ...] | None = None
    pixel_size_angstrom: float | None = None
    excluded_views: tuple[int, ...] = ()
    binning: int = 1
    output_shape: tuple[int, int] | None = None
    thickness_pixels: float | None = None
    axis_offset_pixels: float = 0.0
    volume_shift_pixels: tuple[float, float] = (0.0, 0.0)
    tilt_angle_offset_deg: float = 0.0
    x_axis_tilt_deg: float = 0.0
    x_tilts_deg: tuple[float, ...] | None = None
    acquisition_order: tuple[int, ...] | None = None
    dose_e_per_square_angstrom: tuple[float, ...] | None = None
    listed: Listed | None = None
    notes: tuple[str, ...] = ()
    source: str = "an alignment"

    def __post_init__(self) -> None:
        """Refuse what no alignment can be."""
        matrices, shifts = (np.asarray(a, dtype=np.float64) for a in (self.matrices, self.shifts_pixels))
        object.__setattr__(self, "matrices", matrices)
        object.__setattr__(self, "shifts_pixels", shifts)
        count = len(matrices) if matrices.ndim else 0
        if not count or matrices.shape != (count, 2, 2) or shifts.shape != (count, 2):
            raise InputError(f"no alignment of views in {self.source}: matrices {matrices.shape}, shifts {shifts.shape}")
        self._refuse_numbers(matrices, shifts)
        for name in _PER_VIEW:
            values = getattr(self, name)
            if values is not None and len(values) != count:
                raise InputError(f"{len(values)} values of {name}, but {count} views in {self.source}; correct the file")
        if self.acquisition_order is not None and sorted(self.acquisition_order) != list(range(count)):
            raise InputError(f"acquisition order in {self.source} is not a permutation of its {count} views; correct the file")
        object.__setattr__(self, "excluded_views", tuple(sorted({int(view) for view in self.excluded_views})))
        if beyond := [view for view in self.excluded_views if not 0 <= view < count]:
            raise InputError(f"view {beyond[0]} is excluded in {self.source}, which has views 0 to {count - 1}; correct the file")

    @classmethod
    def identity(cls, num_views: int, **fields: Any) -> "Alignment":
        """Return the alignment that leaves ``num_views`` views where they are; other fields as given."""
        return cls(np.tile(np.eye(2), (num_views, 1, 1)), np.zeros((num_views, 2)), **fields)

    @property
    def num_views(self) -> int:
        """Number of raw views, excluded ones among them."""
        return len(self.matrices)

    @property
    def is_identity(self) -> bool:
        """Whether every view stays where it is, unbinned and whole."""
        unmoved = np.allclose(self.matrices, np.eye(2), atol=1e-6) and np.allclose(self.shifts_pixels, 0, atol=1e-3)
        return self.binning == 1 and bool(unmoved)

    @property
    def used_views(self) -> tuple[int, ...]:
        """Places in the raw stack of the views that are not excluded."""
        excluded = set(self.excluded_views)
        return tuple(view for view in range(self.num_views) if view not in excluded)

    @property
    def rotations_deg(self) -> np.ndarray:
        """Angle by which each view is turned, from x towards y, as ``(tilt,)`` float64 in degrees."""
        return np.rad2deg(np.arctan2(self.matrices[:, 1, 0] - self.matrices[:, 0, 1], self.matrices[:, 0, 0] + self.matrices[:, 1, 1]))

    def with_views(self, indices: Iterable[int]) -> "Alignment":
        """Return the alignment of the raw views at ``indices``, in that order."""
        kept = [int(view) for view in indices]
        changed: dict[str, Any] = {"listed": None} | {
            name: tuple(values[view] for view in kept) for name in _PER_VIEW if (values := getattr(self, name)) is not None
        }
        if (order := changed.get("acquisition_order")) is not None:
            changed["acquisition_order"] = tuple(int(rank) for rank in np.argsort(np.argsort(order)))
        excluded = tuple(place for place, view in enumerate(kept) if view in self.excluded_views)
        return replace(self, matrices=self.matrices[kept], shifts_pixels=self.shifts_pixels[kept], excluded_views=excluded, **changed)

    def in_stack(self, places: Sequence[int], num_views: int) -> "Alignment":
        """Return the alignment of a stack of ``num_views`` in which these views have ``places``; the stack's others are excluded."""
        # What stands at an excluded view counts nowhere: it repeats the first.
        origins = [places.index(view) if view in places else 0 for view in range(num_views)]
        left_out = [view for view in range(num_views) if view not in places or origins[view] in self.excluded_views]
        changed: dict[str, Any] = {
            name: tuple(values[row] for row in origins) for name in _PER_VIEW if (values := getattr(self, name)) is not None
        }
        if self.acquisition_order is not None:
            changed["acquisition_order"] = tuple(int(rank) for rank in np.argsort(np.argsort(changed["acquisition_order"], kind="stable")))
        changed |= {"matrices": self.matrices[origins], "shifts_pixels": self.shifts_pixels[origins]}
        return replace(self, excluded_views=tuple(left_out), listed=None, **changed)

    def _refuse_numbers(self, matrices: np.ndarray, shifts: np.ndarray) -> None:
        for view in range(len(matrices)):
            if not (np.isfinite(matrices[view]).all() and np.isfinite(shifts[view]).all() and abs(shifts[view]).max() < 1e6):
                raise InputError(f"view {view} of {self.source} has a transform that is no finite number of pixels; correct the file")
            if not 1e-3 < abs(np.linalg.det(matrices[view])) < 1e3 or abs(matrices[view]).max() > 1e3:
                raise InputError(f"view {view} of {self.source} has a matrix that no alignment makes; correct the file")
        numbers = [value for f in fields(self) for value in np.atleast_1d(getattr(self, f.name)) if isinstance(value, float)]
        if not np.isfinite(numbers).all():
            raise InputError(f"a number in {self.source} is not finite; correct the file")
        if self.binning < 1:
            raise InputError(f"binning {self.binning} in {self.source}: expected 1 or more; correct the file")
        if self.pixel_size_angstrom is not None and not self.pixel_size_angstrom > 0:
            raise InputError(f"pixel size {self.pixel_size_angstrom} angstrom in {self.source} is not positive; correct the file")
