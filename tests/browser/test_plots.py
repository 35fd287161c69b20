"""Laws of spectra, charts and the theme of pages: lines where the data say, numbers that can be read, colours that stand out."""

import numpy as np
import pytest

from wedge.data import Volume
from wedge.picture import spectrum_zx

PARTS = [f"assets/{name}" for name in ("theme.css", "theme.js", "svg.js", "spectrum.js", "chart.js")]
BODY = "<div id=at-a class=panel></div>"


def show_spectrum(page, power: np.ndarray, tilt_range: list[float] | None) -> None:
    script = """([shape, codes, range]) => new Wedge.Spectrum(document.getElementById("at-a"), {label: "a"}).show(
      {shape, codes: Uint8Array.from(codes), low: -7, high: 0, tiltRangeDeg: range})"""
    page.evaluate(script, [list(power.shape), power.ravel().tolist(), tilt_range])


def test_the_wedge_is_drawn_where_power_ends(open_parts):
    """Noise seen from one side only; the lines of the spectrum must be those of the data, not of its mirror image."""
    z, x = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    angle = np.deg2rad(40)
    wave = np.cos(2 * np.pi * 0.3 * (z * np.sin(angle) + x * np.cos(angle)))
    power = spectrum_zx(Volume(wave[:, None].astype(np.float32)))
    codes = np.where(power > 0.5 * power.max(), 255, 0).astype(np.uint8)
    page = open_parts(*PARTS, body=BODY)
    show_spectrum(page, codes, [-20, 40])
    line = page.locator("#at-a line[data-angle='40']")
    x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    assert np.rad2deg(np.arctan2(y2 - y1, x2 - x1)) == pytest.approx(40)
    side = float(page.locator("#at-a image").get_attribute("width"))
    # The brightest pixels of the data lie on it.
    for row, column in np.argwhere(codes == 255):
        right, down = (column + 0.5) / 64 * side, (row + 0.5) / 64 * side
        distance = abs((x2 - x1) * (down - y1) - (y2 - y1) * (right - x1)) / np.hypot(x2 - x1, y2 - y1)
        assert distance < 2.5 * side / 64
    lines = page.locator("#at-a line[data-angle]")
    assert [lines.nth(i).get_attribute("data-angle") for i in range(lines.count())] == ["-20", "40"]
    assert "20.0° and 40.0°" in page.locator("#at-a ul").inner_text()


@pytest.mark.parametrize("shape", [(12, 40), (13, 40), (12, 41)])
def test_the_lines_of_views_go_through_frequency_zero(open_parts, shape):
    page = open_parts(*PARTS, body=BODY)
    codes = np.zeros(shape, np.uint8)
    codes[shape[0] // 2, shape[1] // 2] = 255
    show_spectrum(page, codes, [-60, 30])
    side = float(page.locator("#at-a image").get_attribute("width"))
    down, right = ((count // 2 + 0.5) / count * side for count in shape)
    for angle in (-60, 30):
        line = page.locator(f"#at-a line[data-angle='{angle}']")
        x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
        assert np.rad2deg(np.arctan2(y2 - y1, x2 - x1)) == pytest.approx(angle)
        assert np.rad2deg(np.arctan2(y2 - down, x2 - right)) == pytest.approx(angle)
        assert all(-1e-9 <= each <= side + 1e-9 for each in (x1, y1, x2, y2))
        assert np.hypot(x2 - x1, y2 - y1) > 0.9 * side


def test_without_angles_no_wedge_is_drawn(open_parts):
    page = open_parts(*PARTS, body=BODY)
    show_spectrum(page, np.zeros((4, 6), np.uint8), None)
    assert page.locator("#at-a line[data-angle]").count() == 0
    assert "views" not in page.locator("#at-a ul").inner_text()


def show_chart(page, series: list[dict], **options) -> None:
    page.evaluate("([series, options]) => { new Wedge.Chart(document.getElementById('at-a'), options).show(series); }", [series, options])


def path_points(page, name: str) -> np.ndarray:
    path = page.locator(f"#at-a path[data-series='{name}']").first.get_attribute("d")
    return np.array([[float(number) for number in point.split(",")] for point in path.replace("M", " ").replace("L", " ").split()])


def test_lines_are_where_the_axes_say(open_parts):
    page = open_parts(*PARTS, body=BODY)
    marks = [{"y": 0, "label": "zero"}, {"y": 10, "label": "ten"}, {"x": 4, "label": "four"}]
    show_chart(page, [{"name": "one", "x": [0, 2, 4], "y": [0, 10, 5]}], xLabel="step", yLabel="loss", marks=marks)
    mark = page.locator("#at-a line.mark")
    zero, ten = (float(mark.nth(i).get_attribute("y1")) for i in (0, 1))
    four = float(mark.nth(2).get_attribute("x1"))
    points = path_points(page, "one")
    assert points[:, 1] == pytest.approx([zero, ten, (zero + ten) / 2], abs=0.02)
    assert points[2, 0] == pytest.approx(four, abs=0.02)
    assert points[1, 0] == pytest.approx((points[0, 0] + four) / 2, abs=0.02)
    assert zero > ten


def test_decades_are_equally_far_and_what_has_no_logarithm_is_a_gap(open_parts):
    page = open_parts(*PARTS, body=BODY)
    show_chart(page, [{"name": "one", "x": [0, 1, 2, 3, 4, 5], "y": [1, 10, 100, 0, None, 1000]}], yLog=True)
    points = path_points(page, "one")
    assert len(points) == 4
    assert np.diff(points[:, 1]) == pytest.approx([np.diff(points[:2, 1])[0]] * 3, abs=0.03)
    path = page.locator("#at-a path[data-series='one']").first.get_attribute("d")
    assert path.count("M") == 2
    assert path.index("M", 1) > path.rindex("L")
    # A point with no neighbours would be no line: it has a marker.
    assert page.locator("#at-a path[data-series='one']").count() == 2


def test_series_differ_without_colour(open_parts):
    page = open_parts(*PARTS, body=BODY)
    data = {"x": [0, 1], "y": [1, 2]}
    show_chart(page, [{"name": f"line{i}", **data} for i in range(5)] + [{"name": f"dots{i}", "style": "points", **data} for i in range(2)])
    dashes = [page.locator(f"#at-a path[data-series=line{i}]").get_attribute("stroke-dasharray") for i in range(5)]
    assert len(set(dashes)) == 5
    shapes = [page.locator(f"#at-a path[data-series=dots{i}]").first.get_attribute("d") for i in range(2)]
    assert len(set(shapes)) == 2
    assert page.locator("#at-a ul li").all_inner_texts() == [*(f"line{i}" for i in range(5)), "dots0", "dots1"]


def test_the_table_holds_the_values(open_parts):
    page = open_parts(*PARTS, body=BODY)
    show_chart(page, [{"name": "one", "x": [0, 1], "y": [0.125, None]}, {"name": "two", "x": [1, 2], "y": [3e-9, -4]}], xLabel="step")
    page.get_by_text("values as a table").click()
    rows = [row.split("\t") for row in page.locator("#at-a table").inner_text().splitlines()[1:]]
    none, minus = "\u2013", "\u2212"
    assert rows == [["step", "one", "two"], ["0", "0.125", none], ["1", none, f"3e{minus}9"], ["2", none, f"{minus}4"]]


def test_keys_and_the_mouse_read_values(open_parts):
    page = open_parts(*PARTS, body=BODY)
    show_chart(page, [{"name": "one", "x": [0, 1, 2], "y": [5, 6, 7]}, {"name": "two", "x": [1], "y": [9]}], xLabel="step")
    svg, output = page.locator("#at-a figure > svg"), page.locator("#at-a output")
    svg.press("ArrowRight")
    assert output.inner_text() == "step 0: one 5"
    svg.press("ArrowRight")
    assert output.inner_text() == "step 1: one 6, two 9"
    svg.press("End")
    assert output.inner_text() == "step 2: one 7"
    svg.press("Escape")
    assert output.inner_text() == ""
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    assert output.inner_text() == "step 1: one 6, two 9"


def test_charts_of_hardly_anything_can_be_shown(open_parts):
    page = open_parts(*PARTS, body=BODY)
    for x, y in [([], []), ([3], [0]), ([1, 2], [None, None]), ([1, 2], [-3, 0])]:
        for log in (False, True):
            show_chart(page, [{"name": "a", "x": x, "y": y}], title="nothing", yLog=log)
    show_chart(page, [])
    page.evaluate("new Wedge.Chart(document.getElementById('at-a'), {})")  # its data are still to come
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    for figure in page.locator("#at-a figure > svg").all():
        figure.press("ArrowRight")
        assert "NaN" not in figure.inner_html()


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_lines_stand_out(open_parts):
    """By the figures of WCAG 2.2, level AA."""
    page = open_parts(*PARTS, body=BODY)
    read = "names => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim())"
    text = ["text", "muted", "accent", "ok", "warn", "error"]
    lines = ["line", "focus", *(f"series-{i}" for i in range(1, 7))]
    for theme, scheme, media in [
        ("light", "dark", "screen"),
        ("dark", "light", "screen"),
        ("auto", "dark", "screen"),
        ("dark", "dark", "print"),
    ]:
        page.evaluate("theme => Wedge.setTheme(theme)", theme)
        page.emulate_media(color_scheme=scheme, media=media)
        colours = page.evaluate(read, ["bg", "panel", *text, *lines, "on-accent"])
        assert (luminance(colours[0]) < 0.1) == (theme != "light" and media == "screen")
        for ground in colours[:2]:
            assert min(contrast(ground, colour) for colour in colours[2 : 2 + len(text)]) >= 4.5
            assert min(contrast(ground, colour) for colour in colours[2 + len(text) : -1]) >= 3
        assert contrast(colours[-1], colours[4]) >= 4.5


def test_the_theme_is_switched_and_remembered(open_parts):
    page = open_parts(*PARTS, body="<div id=at-a></div>")
    make = "new Wedge.ThemeSwitch(document.getElementById('at-a'));"
    make += "document.addEventListener('wedge-theme', (event) => { window.told = event.detail; })"
    page.evaluate(make)
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate("[document.documentElement.dataset.theme, told]") == ["dark", "dark"]
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate(make)
    assert page.get_by_label("Theme").input_value() == "dark"
    page.get_by_label("Theme").select_option("auto")
    page.reload()
    assert page.evaluate("Wedge.theme()") == "auto"
