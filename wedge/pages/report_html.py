"""The parts of a report as HTML: everything that comes from outside is escaped, and nothing needs a script to be read."""

from collections.abc import Iterable, Mapping
from html import escape

from wedge.pages.report_data import Made, Picture, Report, Row, Section, Table, ViewRow

_NAMES = {"higher": "higher is better", "lower": "lower is better"}
_CLASS = "kind"  # the keyword that gives the attribute class


def tag(name: str, body: str = "", **attributes: str) -> str:
    """Return an element around a body of HTML; attributes are escaped. ``kind`` is the attribute class, ``_`` in names stands for ``-``."""
    named = {("class" if key == _CLASS else key.replace("_", "-")): value for key, value in attributes.items()}
    written = "".join(f' {key}="{escape(value)}"' for key, value in named.items())
    return f"<{name}{written}>{body}</{name}>"


def table(content: Table) -> str:
    """Return a table: a row for each figure, a column for each volume, the best in bold; full digits in ``data-value``."""
    head = "".join(tag("th", escape(column), scope="col") for column in ("metric", *content.columns))
    common = {_told(row) for row in content.rows}
    of_all = common.pop() if len(common) == 1 else ""
    caption = "; ".join(filter(None, [content.caption, of_all, "the best of each row in bold, with ★" if _any_best(content) else ""]))
    rows = "".join(_row(row, "" if of_all else _told(row)) for row in content.rows)
    body = tag("caption", escape(caption)) + tag("thead", tag("tr", head)) + tag("tbody", rows)
    found = _scrolled(tag("table", body), content.caption) + listed(content.notes)
    return tag("details", tag("summary", escape(content.caption)) + found, kind="report-fold") if content.folded else found


def _any_best(content: Table) -> bool:
    return any(row.best for row in content.rows)


def _told(row: Row) -> str:
    """Return unit and direction of a row, in words."""
    better = f"{row.better:g} is right" if isinstance(row.better, int | float) else _NAMES.get(row.better or "", "")
    return ", ".join(each for each in (row.unit, better) if each)


def _scrolled(body: str, label: str) -> str:
    """Return what may be wider than the page, which itself is not: to be scrolled by keyboard too."""
    return tag("div", body, kind="table-scroll", role="region", tabindex="0", aria_label=label)


def _row(row: Row, told: str) -> str:
    head = tag("code", escape(row.name)) + (" " + tag("span", escape(told), kind="muted") if told else "")
    return tag("tr", tag("th", head, scope="row") + "".join(_cell(row, place) for place in range(len(row.values))))


def _cell(row: Row, place: int) -> str:
    value = row.values[place]
    if value is None:
        return tag("td", tag("span", "-", role="img", aria_label="no value"))
    shown = f"{value:.4g}"
    if place in row.best:
        shown = tag("strong", shown + tag("span", " ★", aria_hidden="true") + tag("span", " (best)", kind="visually-hidden"))
    return tag("td", shown, data_value=repr(value))


def paragraphs(notes: Iterable[str], kind: str = "") -> str:
    """Return sentences, one paragraph each."""
    return "".join(tag("p", escape(note), **({_CLASS: kind} if kind else {})) for note in notes)


def listed(notes: Iterable[str]) -> str:
    """Return what must be known to read a table, one line each."""
    found = "".join(tag("li", escape(note)) for note in notes)
    return tag("ul", found, kind="muted report-notes") if found else ""


def facts(pairs: Mapping[str, str]) -> str:
    """Return facts by name."""
    return tag("dl", "".join(tag("div", tag("dt", escape(name)) + tag("dd", escape(value))) for name, value in pairs.items()))


def section(content: Section, more: str = "") -> str:
    """Return one part of the report; its charts are filled in by the page's script, ``more`` stands at its end."""
    charts = "".join(
        tag("div", kind="panel report-chart", data_section=content.name, data_place=str(place)) for place in range(len(content.charts))
    )
    body = paragraphs(content.notes) + "".join(map(table, content.tables))
    body += tag("div", charts, kind="columns") if charts else ""
    return framed(content.name, content.title, body + "".join(map(view, content.views)) + more)


def framed(name: str, title: str, body: str) -> str:
    """Return a section with its heading."""
    return tag("section", tag("h2", escape(title), id=f"{name}-title") + body, id=name, aria_labelledby=f"{name}-title")


def cells(kind: str, labels: Iterable[str], bodies: Iterable[str] = (), first: int = 0) -> str:
    """Return a place for the pictures of each volume, to be filled in by the page's script."""
    still = list(bodies)
    found = ""
    for place, label in enumerate(labels):
        body = tag("h3", escape(label)) + (still[place] if still else "")
        found += tag("div", body, kind=f"panel report-{kind}", data_volume=str(first + place))
    return tag("div", found, kind="report-volumes")


def picture(content: Picture, caption: str) -> str:
    """Return an image with its caption."""
    rows, columns = content.shape
    image = f'<img src="{content.uri}" alt="{escape(content.label)}" width="{columns}" height="{rows}">'
    return tag("figure", image + tag("figcaption", escape(caption)))


def view(content: ViewRow) -> str:
    """Return the pictures of a view."""
    images = tag("div", picture(content.measured, "measured"))
    for label, predicted, difference in content.predicted:
        images += tag("div", picture(predicted, label) + picture(difference, f"{label}, minus measured"))
    return tag("h3", escape(content.title)) + tag("div", images, kind="report-views") + paragraphs([content.ranges], "muted")


def volumes_table(report: Report) -> str:
    """Return what stands side by side."""
    names = list(dict.fromkeys(name for volume in report.volumes for name in volume.facts))
    head = "".join(tag("th", escape(name), scope="col") for name in ("volume", "file", *names))
    rows = ""
    for volume in report.volumes:
        words = [volume.path, *(volume.facts.get(name, "") for name in names)]
        rows += tag("tr", tag("th", escape(volume.label), scope="row") + "".join(tag("td", escape(word)) for word in words))
    return _scrolled(tag("table", tag("thead", tag("tr", head)) + tag("tbody", rows), kind="report-words"), "Volumes")


def made(content: Made, place: int) -> str:
    """Return how a volume was made, with a button that copies its command."""
    body = tag("h3", escape(content.label))
    if content.command:
        name = f"command-{place}"
        body += tag("pre", tag("code", escape(content.command)), id=name, tabindex="0", aria_label=f"command of {content.label}")
        label = f"Copy the command of {content.label}"
        button = tag("button", "Copy", type="button", kind="report-copy", data_copy=name, aria_label=label)
        body += tag("p", button, kind="no-print")
    body += facts(content.facts) if content.facts else ""
    if content.config:
        told = f"configuration of {content.label}"
        lines = tag("pre", tag("code", escape(content.config)), tabindex="0", aria_label=told)
        body += tag("details", tag("summary", escape(told[0].upper() + told[1:])) + lines, kind="report-fold")
    if not (content.command or content.facts or content.config):
        body += paragraphs(["Nobody recorded how it was made."], "muted")
    return tag("article", body, kind="panel")
