"""What a report holds: plain data, numbers before they are rounded, pictures apart."""

from dataclasses import dataclass, field
from typing import Any

from wedge.evaluate import Evaluation

MOST_VOLUMES = 6


@dataclass(frozen=True)
class ShownVolume:
    """One of the volumes side by side.

    Parameters
    ----------
    label, path
        What it is called in the report, and where it came from.
    facts
        Shape, voxel size, views and how its densities were brought to those of the first, in words, by name.
    tilt_range_deg
        Lowest and highest angle of its views, or None where unknown.
    """

    label: str
    path: str
    facts: dict[str, str]
    tilt_range_deg: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """One figure of several volumes.

    Parameters
    ----------
    name
        As ``wedge evaluate --json`` calls it.
    unit
        Of the values, or "".
    better
        "higher", "lower", a number that is right where more is worse as well, or None where no value is better than another.
    values
        One for each volume; None where there is none.
    """

    name: str
    unit: str
    better: str | float | None
    values: tuple[float | None, ...]

    @property
    def best(self) -> tuple[int, ...]:
        """The places of the best values, several where they are equal; none where all are equal, or nothing is better."""
        known = {place: value for place, value in enumerate(self.values) if value is not None}
        if self.better is None or len(set(known.values())) < 2:
            return ()
        cost = {place: self._cost(value) for place, value in known.items()}
        least = min(cost.values())
        return tuple(place for place, each in cost.items() if each == least)

    def _cost(self, value: float) -> float:
        if isinstance(self.better, str):
            return -value if self.better == "higher" else value
        return abs(value - (self.better or 0.0))


@dataclass(frozen=True)
class Table:
    """Rows of figures, a column for each volume, and what must be known to read them; folded ones are shown when asked for."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a chart; ``style`` is line, points or dashed; lines of one ``colour`` belong together. None where there is no value."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    style: str = "line"
    colour: int | None = None


@dataclass(frozen=True)
class Chart:
    """Lines over one variable. ``marks`` are levels of y with their names."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    marks: tuple[tuple[float, str], ...] = ()
    y_log: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the options and the series of the page's chart."""
        options = {
            "title": self.title, "xLabel": self.x_label, "yLabel": self.y_label, "xRange": self.x_range, "yRange": self.y_range,
            "yLog": self.y_log, "marks": [{"y": level, "label": label} for level, label in self.marks],
        }  # fmt: skip
        series = [
            {"name": each.name, "x": each.x, "y": each.y, "style": each.style, "colour": place if each.colour is None else each.colour}
            for place, each in enumerate(self.lines)
        ]
        return {"options": options, "series": series}


@dataclass(frozen=True)
class Picture:
    """An image that needs no script: its address, what it shows, and its size in pixels ``(row, column)``."""

    uri: str
    label: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class ViewRow:
    """One view: measured, and by volume predicted and the difference; ``ranges`` says what black, white and the colours mean."""

    title: str
    measured: Picture
    predicted: tuple[tuple[str, Picture, Picture], ...]
    ranges: str


@dataclass(frozen=True)
class Made:
    """How a volume was made: its command, facts by name, and its configuration as JSON; empty where nobody recorded it."""

    label: str
    command: str
    facts: dict[str, str]
    config: str


@dataclass(frozen=True)
class Section:
    """A part of the report: sentences, tables, charts and pictures of views."""

    name: str
    title: str
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    views: tuple[ViewRow, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is said; the volumes' pictures come with `wedge.pages.report_previews.Pictures`."""

    title: str
    volumes: tuple[ShownVolume, ...]
    sections: tuple[Section, ...]
    made: tuple[Made, ...]
    notes: tuple[str, ...] = ()
    about: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """An evaluation with the label of its volume; what is compared with nothing has an empty one."""

    label: str
    evaluation: Evaluation


def labels_of(paths: "list[str]") -> list[str]:
    """Return short names: of the file without suffix, with its folder where two would be alike, numbered where they still are."""
    parts = [path.replace("\\", "/").rstrip("/").split("/") for path in paths]
    short = [each[-1].rsplit(".", 1)[0] or each[-1] for each in parts]
    found = ["/".join([*each[-2:-1], name]) if short.count(name) > 1 else name for each, name in zip(parts, short, strict=True)]
    return [f"{name} ({place + 1})" if found.count(name) > 1 else name for place, name in enumerate(found)]
