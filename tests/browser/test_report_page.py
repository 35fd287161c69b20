"""A report in a browser: opened from disk, without a network, by mouse, by keyboard, on paper, on a phone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wedge.contracts import Curve
from wedge.data import TiltSeries, Volume
from wedge.evaluate import Evaluation
from wedge.geometry import TiltGeometry
from wedge.held_out import Views
from wedge.intensity import IntensityFit
from wedge.pages.report_build import Subject
from wedge.pages.report_page import report_page
from wedge.pages.report_spread import calibrate_spread
from wedge.pages.report_views import ChosenViews, ViewPictures

SHAPE = (16, 24, 32)
ANGLES = (-60.0, 0.0, 60.0)
COMMAND = "wedge fbp 'my tilts.zarr' -o a.zarr"
LONG = "a-name-so-long-that-no-telephone-has-room-for-it-in-a-single-line-of-text"


def subject() -> Subject:
    random = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = (z**2 + y**2 + x**2 < 0.5).astype(np.float32)
    record = {"command": ["wedge", "fbp", "my tilts.zarr", "-o", "a.zarr"], "config": {"filter": "ramp"}, "seconds": 2.0}
    truth = Volume(ball, 5.0, "truth.zarr", ANGLES)
    noisy = Volume(2 * ball + 1 + 0.1 * random.standard_normal(SHAPE).astype(np.float32), 5.0, "a.zarr", ANGLES, record)
    other = replace(noisy, array=np.asarray(noisy.array)[::-1].copy(), name=f"{LONG}.zarr", provenance={})
    spread = Volume(random.random(SHAPE).astype(np.float32), 5.0, "spread.zarr", ANGLES)
    fit = IntensityFit("affine", 0.5, -0.5)
    frequency = [0.1, 0.2, 0.3, 0.4, 0.5]
    curve = Curve("cycles per voxel", frequency, {"whole": [1.0, 0.9, 0.7, 0.4, 0.1], "half-bit": [0.5] * 5})
    values = {"psnr": 20.0, "score": 0.1, "fsc.resolution-0.5-angstrom": 14.0}
    found = [Evaluation("v", "r", fit, 1.0, {**values, "psnr": 20.0 + i}, {"psnr": [20.0] * SHAPE[1]}, {"fsc": curve}) for i in (0, 1)]
    geometry = TiltGeometry(ANGLES, (SHAPE[1], SHAPE[2]), SHAPE, 5.0)
    tilts = TiltSeries(random.random((3, SHAPE[1], SHAPE[2])).astype(np.float32), geometry)
    views = ViewPictures(tilts, ChosenViews((0, 2), "Two views."))
    rows = np.asarray(tilts.array).swapaxes(0, 1)
    for volume in (noisy, other):
        views(volume, Views(rows, rows + 0.1 * random.random(rows.shape).astype(np.float32), np.ones((3, SHAPE[2]), np.float32)), None)
    return Subject(
        [truth, noisy, other], True, found, {"psnr": "higher"}, {"psnr": "dB"}, spread=spread, spread_of=1,
        calibration=calibrate_spread(noisy, spread, truth, fit), tilts=tilts, views=views,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "my report.html"
    path.write_text(report_page(subject(), "A report", {"made": "today"})[0], encoding="utf-8")
    return path


@pytest.fixture
def opened(page: Any, report: Path) -> Callable[..., Any]:
    """Open it from disk, without a network, and wait until all is drawn."""

    def open_(width: int = 1200, **media: str) -> Any:
        page.context.set_offline(True)
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(**media)
        page.goto(report.as_uri())
        page.evaluate("Wedge.report.ready")
        return page

    return open_


def pixels(page: Any, selector: str) -> list[int]:
    """Return a number for what each of these canvases shows."""
    data = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    return page.locator(selector).evaluate_all(f"list => list.map(c => {data}.reduce((sum, v, i) => (31 * sum + v * (i % 7)) % 1e9, 7))")


def look_at_scene(page: Any) -> None:
    """Scroll to the 3-D view, and wait for it; the page's policy lets playwright's own waiting evaluate nothing."""
    page.locator("#scene-view").scroll_into_view_if_needed()
    page.evaluate("async () => { while (!Wedge.report.scene.scene) await new Promise((done) => setTimeout(done, 20)) }")
    page.evaluate("Wedge.report.scene.scene.ready")


def test_it_opens_from_disk_without_a_network(opened, page_log) -> None:
    page = opened()
    assert page.title() == "A report"
    assert page_log.requests[0].startswith("file:")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page_log.requests)
    assert not page.locator("#problem").is_visible()
    assert page.locator(".wedge-slices").count() == 3 + 2 + 1
    assert page.locator(".wedge-spectrum svg image").count() == 3
    assert page.locator(".report-chart .wedge-chart").count() == page.locator(".report-chart").count() > 2
    assert page.locator(".report-views img").evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0)")


def test_one_slider_and_any_volume_moves_all_volumes(opened) -> None:
    page = opened()
    shown, signed = "#slices [data-plane=yx] canvas", "#differences [data-plane=yx] canvas"
    before = pixels(page, shown) + pixels(page, signed)
    slider = page.get_by_label("z of all volumes")
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert "voxel 14" in slider.get_attribute("aria-valuetext")
    assert all(a != b for a, b in zip(before, pixels(page, shown) + pixels(page, signed), strict=True))
    page.locator(signed).first.focus()
    page.keyboard.press("ArrowDown")
    assert "voxel 13" in page.get_by_label("y of all volumes").get_attribute("aria-valuetext")
    for axis in "zyx":
        places = page.evaluate(f"Wedge.report.pictures.all.map(each => each.cursor().{axis})")
        assert places == [places[0]] * 6


def test_differences_have_their_sign_and_few_large_ones_hide_no_others(opened) -> None:
    found = opened().evaluate("""() => {
      const preview = (codes) => ({shape: [1, 1, 1000], spacing: [1, 1, 1], codes, low: 0, high: 255, window: [0, 255]});
      const codes = new Uint8Array(1000).fill(30);
      codes[999] = 230;
      const [map] = Wedge.differences([preview(new Uint8Array(1000).fill(20)), preview(codes)]);
      return [Wedge.density(map, map.codes[0]), Wedge.density(map, map.codes[999]), map.low, map.high, ...map.window];
    }""")
    assert found == pytest.approx([10, 210, -210, 210, -10, 10], abs=1)


def test_contrast_is_shared_in_densities_of_the_first(opened) -> None:
    page = opened()
    slider = page.get_by_label("white of all volumes")
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    windows = page.evaluate("Wedge.report.pictures.greys.map(each => each.window())")
    assert windows == [windows[0]] * 3
    assert windows[0] != page.evaluate("Wedge.report.pictures.previews[0].window")
    page.get_by_label("Densities").select_option("own")
    own = page.evaluate("Wedge.report.pictures.greys.map(each => each.window())")
    assert own[0] == pytest.approx(windows[0])
    assert own[1] != pytest.approx(windows[1], rel=1e-3)
    page.get_by_role("button", name="Reset contrast").click()
    assert page.evaluate("Wedge.report.pictures.greys[0].window()") == page.evaluate("Wedge.report.pictures.previews[0].window")
    before = pixels(page, "#slices [data-plane=yx] canvas")
    page.locator("#controls").get_by_label("invert").check()
    assert all(a != b for a, b in zip(before, pixels(page, "#slices [data-plane=yx] canvas"), strict=True))
    # Differences are those of the densities: 0.5 v - 0.5 of the second volume is the first with a little noise.
    found = page.evaluate(
        """() => { const [first, second] = Wedge.report.pictures.previews, difference = Wedge.differences([first, second])[0];
        const place = 1234, at = (p) => Wedge.density(p, p.codes[place]);
        return [at(difference), at(second) - at(first), (difference.high - difference.low) / 255]; }"""
    )
    assert abs(found[0] - found[1]) <= found[2] < 0.01


def test_the_button_copies_the_command(opened) -> None:
    page = opened()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy the command of a", exact=True)
    button.click()
    page.locator("#told:text('Copied')").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == COMMAND
    assert page.evaluate("document.activeElement.textContent") == "Copied"
    # Where a page from disk may not use the clipboard.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: { writeText: () => Promise.reject(new Error('no')) } })")
    page.evaluate("document.execCommand = () => { Wedge.copied = document.activeElement.value; return true; }")
    assert page.evaluate(f"Wedge.report.copy({COMMAND!r}).then(() => Wedge.copied)") == COMMAND


NAMELESS = """() => {
  const worded = (e) => ["BUTTON", "A", "SUMMARY"].includes(e.tagName) && e.textContent.trim();
  const labelled = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || (e.labels && e.labels.length);
  return Array.from(document.querySelectorAll("a, button, input, select, summary, img, [tabindex]"))
    .filter((e) => e.checkVisibility() && e.id !== "main" && !(labelled(e) || worded(e) || e.alt)).map((e) => e.outerHTML.slice(0, 120));
}"""
FOCUSED = "(e => e.getAttribute('aria-label') || e.textContent.trim() || e.tagName)(document.activeElement)"


def test_it_is_worked_by_keyboard_and_read_aloud(opened) -> None:
    page = opened()
    assert page.evaluate("Wedge.report.scene.scene === null")
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    assert seen[0] == "Skip to the report"
    told = page.evaluate("Array.from(document.querySelectorAll('#slices canvas[tabindex]'), c => c.getAttribute('aria-label'))")
    assert [label for label in seen if label in told] == told
    names = ["truth", "a", LONG]
    groups = [*names, *(f"{name} minus truth" for name in names[1:]), "spread"]
    assert page.locator(".wedge-slices").evaluate_all("all => all.map(each => each.getAttribute('aria-label'))") == [
        f"orthoslices of {name}" for name in groups
    ]
    look_at_scene(page)
    assert page.evaluate(NAMELESS) == []
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0
    page.locator(".report-skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_label("Volume in 3-D").select_option("truth")
    assert page.evaluate("Wedge.report.scene.scene.preview === Wedge.report.scene.previews[0]")


# Parts are laid out anew a little after their containers change.
SETTLED_WIDTH = """async (width) => {
  for (let i = 0; i < 100 && document.documentElement.scrollWidth > width; i++) await new Promise((done) => setTimeout(done, 50));
  return document.documentElement.scrollWidth;
}"""


def test_it_needs_no_horizontal_scrolling(opened) -> None:
    page = opened(1200)
    look_at_scene(page)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for width in (1200, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(SETTLED_WIDTH, width) <= width


def test_all_is_on_paper(opened) -> None:
    page = opened(700, media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    hidden = "all => all.filter(e => !e.checkVisibility() || e.getBoundingClientRect().height < 20).map(e => e.id)"
    assert page.locator("main > section").evaluate_all(hidden) == []
    assert page.locator(".report-fold").evaluate_all("all => all.length > 1 && all.every(e => e.open)")
    still = page.locator("#scene canvas.report-still")
    assert still.is_visible()
    colours = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert still.evaluate(colours) > 20
    assert not page.get_by_role("button", name="Copy the command of a", exact=True).is_visible()
    assert not page.locator("#controls").is_visible()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator(".report-fold").evaluate_all("all => all.every(e => !e.open)")
    assert page.pdf().startswith(b"%PDF")


CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => numbers(colour).slice(0, 3).reduce((sum, c, i) => sum + linear(c) * [0.2126, 0.7152, 0.0722][i], 0);
  const filled = (e) => (numbers(getComputedStyle(e).backgroundColor)[3] ?? 1) > 0;
  const ground = (e) => (!e ? "rgb(255, 255, 255)" : filled(e) ? getComputedStyle(e).backgroundColor : ground(e.parentElement));
  return Array.from(document.querySelectorAll("h1, h2, h3, p, td, th, li, dt, dd, summary, button, figcaption, label, a, code"))
    .filter((e) => e.checkVisibility() && e.textContent.trim() && !e.closest(".wedge-scene-picture")).map((e) => {
      const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 80)];
    }).filter(([ratio]) => ratio < 4.5);
}"""


def test_text_stands_out_in_dark_and_light(opened) -> None:
    page = opened()
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
        grounds.append(page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"))
    assert grounds[0] > 200 > 60 > grounds[1]
    page.get_by_label("Theme").select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_scripts_tables_and_still_pictures_remain(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("noscript p").first.is_visible()
    assert page.locator("#slices img").count() == 6
    assert page.locator("#slices img").first.is_visible()
    assert page.locator("td[data-value='21.0']").is_visible()
    assert page.locator(".report-views img").count() == 2 * 5
    context.close()
