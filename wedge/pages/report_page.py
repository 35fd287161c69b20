"""A report as one HTML file that needs nothing else: styles, scripts, data and pictures are inlined, and the page may ask for nothing."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from wedge.errors import InputError
from wedge.pages import report_html
from wedge.pages.assets import SCENE_SCRIPTS, SCENE_STYLES, asset_text
from wedge.pages.png import block_means, coded, png_uri
from wedge.pages.report_build import Subject, build_report, make_pictures
from wedge.pages.report_data import Picture, Report
from wedge.pages.report_previews import Pictures
from wedge.preview import Preview

LARGEST_BYTES = 15_000_000
_STILLS_BYTES = 600_000
_STILL_SIDE = 128
_STYLES = ("theme.css", *SCENE_STYLES, "report.css")
_FIRST_SCRIPT = "theme.js"
_PARTS = ("preview.js", "svg.js", "plane.js", "slices.js", "spectrum.js", "chart.js")
_SCRIPTS = (*_PARTS, *SCENE_SCRIPTS, "report_pictures.js", "report_scene.js", "report.js")
_LICENCES = ("vendor/LICENSE-vtk.js", "vendor/LICENSE-gl-matrix", "vendor/LICENSE-fast-deep-equal")
_DIGITS = 7
_PLACE = re.compile(r"\{\{([a-z]+)\}\}")


def report_page(subject: Subject, title: str, about: Mapping[str, str]) -> tuple[str, Pictures]:
    """Return the file's text, under 15 MB: previews are as fine as there is room for.

    Parameters
    ----------
    about
        How the report itself was made, by name.

    Raises
    ------
    InputError
        If a volume cannot be read, or all else than the previews is too large.
    """
    report = build_report(subject, title, about)
    without = len(page_text(report, None).encode())
    pictures = make_pictures(subject, max(0, LARGEST_BYTES - without - _STILLS_BYTES))
    page = page_text(report, pictures)
    if len(page.encode()) > LARGEST_BYTES:
        raise InputError(f"the report would take {len(page.encode()) / 1e6:.1f} MB, more than {LARGEST_BYTES / 1e6:g}: leave volumes out")
    return page, pictures


def page_text(report: Report, pictures: Pictures | None) -> str:
    """Return the page; without pictures it is as long as everything else is."""
    scripts = [_script(asset_text(name)) for name in _SCRIPTS]
    theme = _script(asset_text(_FIRST_SCRIPT))
    packed = pictures.packed if pictures else []
    previews = [f'<script type="application/octet-stream;base64" id="preview-{place}">{text}</script>' for place, text in enumerate(packed)]
    parts = {
        "policy": _policy([theme, *scripts]),
        "title": escape(report.title),
        "styles": "\n".join(asset_text(name) for name in _STYLES),
        "theme": theme,
        "contents": "".join(f'<li><a href="#{name}">{escape(words)}</a></li>' for name, words in _contents(report)),
        "body": _body(report, pictures),
        "about": report_html.facts(report.about) + _licences(),
        "data": _json(_data(report, pictures)),
        "previews": "\n".join(previews),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # One pass over the template alone: what is filled in is never looked at again.
    page = _PLACE.sub(lambda found: parts[found[1]], asset_text("report.html"))
    # Names of files may hold bytes that are no text.
    return page.encode("utf-8", "replace").decode()


def _licences() -> str:
    """Return the licences of what the file holds that others wrote: they ask for it."""
    texts = "".join(report_html.tag("pre", escape(asset_text(name)), tabindex="0", aria_label=name.partition("-")[2]) for name in _LICENCES)
    return report_html.tag("details", report_html.tag("summary", "Licences of the parts of this file that others wrote") + texts)


def _contents(report: Report) -> list[tuple[str, str]]:
    differences = [("differences", "Differences")] if len(report.volumes) > 1 else []
    pictures = [("volumes", "Volumes"), ("slices", "Slices"), *differences, ("spectra", "Spectra"), ("scene", "3-D")]
    return [*pictures, *((each.name, each.title) for each in report.sections), ("made", "How each was made")]


def _body(report: Report, pictures: Pictures | None) -> str:
    framed, cells = report_html.framed, report_html.cells
    labels = [volume.label for volume in report.volumes]
    body = framed("volumes", "Volumes", report_html.volumes_table(report) + report_html.paragraphs(report.notes, "muted"))
    controls = report_html.tag("div", id="controls")
    body += framed("slices", "Slices", _pictures_note(labels, pictures) + controls + cells("slices", labels, _stills(labels, pictures)))
    if len(labels) > 1:
        told = f"Each volume minus {labels[0]}, both in the densities above, from their 8-bit pictures."
        shown = report_html.paragraphs([told], "muted") + cells("difference", labels[1:], first=1)
        body += framed("differences", f"Differences to {labels[0]}", shown)
    body += framed("spectra", "Spectra in the plane of the beam", cells("spectrum", labels))
    scene = report_html.tag("div", id="scene-controls", kind="toolbar") + report_html.tag("div", id="scene-view")
    body += framed("scene", "3-D", scene)
    for section in report.sections:
        body += report_html.section(section, cells("spread", ["Spread"]) if section.name == "uncertainty" else "")
    return body + framed("made", "How each was made", "".join(report_html.made(each, place) for place, each in enumerate(report.made)))


def _pictures_note(labels: Sequence[str], pictures: Pictures | None) -> str:
    if pictures is None:
        return ""
    notes = []
    if pictures.longest_side < pictures.full_side:
        told = f"Pictures are binned to {pictures.longest_side} voxels along the longest side of {pictures.full_side}; "
        notes.append(told + "metrics are of all voxels.")
    if pictures.turned:
        turned = ", ".join(labels[place] for place in pictures.turned)
        notes.append(f"Turned over, since their high densities go with low ones of {labels[0]}: {turned}.")
    return report_html.paragraphs(notes, "muted")


def _stills(labels: Sequence[str], pictures: Pictures | None) -> list[str]:
    """Return the planes in the middle of each volume, for who has no scripts."""
    if pictures is None:
        return []
    first = pictures.previews[0]
    pairs = zip(labels, pictures.previews, strict=True)
    found = ["".join(report_html.picture(*each) for each in still_pictures(preview, first, label)) for label, preview in pairs]
    return [report_html.tag("noscript", each) for each in found]


def still_pictures(preview: Preview, first: Preview, label: str) -> list[tuple[Picture, str]]:
    """Return the planes ``(y, x)`` and ``(z, x)`` in the middle, in the contrast of the first, with captions."""
    found = []
    for plane, name in ((preview.codes[preview.codes.shape[0] // 2], "y, x"), (preview.codes[:, preview.codes.shape[1] // 2], "z, x")):
        density = preview.low + plane.astype(np.float32) * ((preview.high - preview.low) / 255)
        image = coded(block_means(density, _STILL_SIDE), *first.window)
        rows, columns = image.shape
        found.append((Picture(png_uri(image), f"{label}, plane ({name}) in the middle", (rows, columns)), f"({name}) in the middle"))
    return found


def _data(report: Report, pictures: Pictures | None) -> dict[str, Any]:
    return {
        "labels": [volume.label for volume in report.volumes],
        "charts": {section.name: [chart.to_json() for chart in section.charts] for section in report.sections if section.charts},
        "spectra": [spectrum.to_json() for spectrum in pictures.spectra] if pictures else [],
        "spread": bool(pictures and pictures.spread),
        "figures": [
            {"name": row.name, "unit": row.unit, "better": row.better, "values": row.values, "columns": table.columns}
            for section in report.sections
            for table in section.tables
            for row in table.rows
        ],
    }


def _json(data: Any) -> str:
    """Return JSON that nothing can end before its time: of ``<`` only the escape is written."""
    text = json.dumps(_short(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _short(data: Any, exact: bool = False) -> Any:
    """Cut numbers of charts to seven digits; figures keep all of theirs."""
    if isinstance(data, dict):
        return {key: _short(value, exact or key == "figures") for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_short(value, exact) for value in data]
    return float(f"{data:.{_DIGITS}g}") if isinstance(data, float) and not exact else data


def _script(text: str) -> str:
    """Return a script that may stand in a page: no text of it can end it."""
    return re.sub(r"<(/script|!--)", r"<\\\1", text, flags=re.IGNORECASE)


def _policy(scripts: Sequence[str]) -> str:
    """Return what the page may do: run these scripts, show its own pictures, and nothing over a network."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    rest = "style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:; form-action 'none'; base-uri 'none'"
    return f"default-src 'none'; script-src {hashes}; {rest}"
