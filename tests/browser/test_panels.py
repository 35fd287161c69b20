"""Laws of the orthoslices of pages: the right voxels at the right places, and hands that move what they should."""

import numpy as np
import pytest

from wedge.preview import Preview

PARTS = [f"assets/{name}" for name in ("theme.css", "preview.js", "svg.js", "plane.js", "slices.js")]
SHAPE = (8, 12, 10)
CODES = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
BODY = "<div id=at-a class=panel></div><div id=at-b class=panel></div>"
# Axes (normal, down, right) of each plane, z first.
PLANES = {"yx": (0, 1, 2), "zx": (1, 0, 2), "zy": (2, 0, 1)}

SHOW = """async ([name, file, options]) => {
  const slices = window[name] || new Wedge.Slices(document.getElementById(`at-${name}`), {label: name});
  window[name] = slices;
  slices.show(Wedge.decodePreview(await (await fetch(file)).arrayBuffer()), options);
}"""
# Colours in the middle of every voxel of a plane, as they are on the canvas that people see.
VOXELS = """([name, plane, rows, columns]) => {
  const canvas = document.querySelector(`#at-${name} [data-plane=${plane}] canvas`);
  const context = canvas.getContext("2d");
  const at = (i, count, size) => Math.floor(((i + 0.5) / count) * size);
  return [...Array(rows).keys()].map((row) => [...Array(columns).keys()].map((column) =>
    [...context.getImageData(at(column, columns, canvas.width), at(row, rows, canvas.height), 1, 1).data].slice(0, 3)));
}"""


def preview(codes=CODES, low=0.0, high=255.0, window=(0.0, 255.0), spacing=(1.0, 1.0, 1.0), voxel=None) -> bytes:
    return Preview(codes, low, high, window, spacing, voxel).to_bytes()


def until(page, condition: str) -> None:
    """Wait for what a frame or two later is true."""
    for _ in range(1000):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never: {condition}")


@pytest.fixture
def slices(open_parts):
    """Open a page with orthoslices of previews, ``slices(a=..., b=...)``."""

    def open_(**previews: bytes):
        page = open_parts(*PARTS, body=BODY, files={f"/{name}.bin": message for name, message in previews.items()})
        for name in previews:
            page.evaluate(SHOW, [name, f"/{name}.bin", {}])
        return page

    return open_


def voxels(page, plane: str, name: str = "a", shape=SHAPE) -> np.ndarray:
    _, down, right = PLANES[plane]
    return np.array(page.evaluate(VOXELS, [name, plane, shape[down], shape[right]]))


def cursor(page, name: str = "a") -> list[float]:
    return page.evaluate(f"[{name}.cursor().z, {name}.cursor().y, {name}.cursor().x]")


def index(page, name: str = "a", shape=SHAPE) -> list[int]:
    return [min(n - 1, int(fraction * n)) for fraction, n in zip(cursor(page, name), shape, strict=True)]


def canvas(page, plane: str, name: str = "a"):
    return page.locator(f"#at-{name} [data-plane={plane}] canvas")


def test_every_voxel_is_at_its_place_first_row_on_top(slices):
    page = slices(a=preview())
    place = (3, 7, 2)
    page.evaluate("([z, y, x]) => a.setCursor({z, y, x})", [(i + 0.5) / n for i, n in zip(place, SHAPE, strict=True)])
    for plane, (normal, down, right) in PLANES.items():
        expected = np.take(CODES, place[normal], axis=normal)
        shown = voxels(page, plane)
        clear = np.ones(expected.shape, bool)
        clear[place[down]], clear[:, place[right]] = False, False
        clear[place[down], place[right]] = True  # the cross-hair leaves what it points at visible
        if plane == "yx":
            assert np.array_equal(shown[clear], np.repeat(expected[clear][:, None], 3, axis=1))
        assert np.array_equal(shown[clear][:, 0], expected[clear]), plane


def test_middle_planes_are_those_of_the_pictures(slices):
    assert index(slices(a=preview())) == [n // 2 for n in SHAPE]


def test_voxels_keep_their_aspect_and_are_as_large_in_every_plane(slices):
    spacing = (2.0, 1.0, 3.0)
    page = slices(a=preview(spacing=spacing))
    sizes = [n * step for n, step in zip(SHAPE, spacing, strict=True)]
    scales = []
    for plane, (_, down, right) in PLANES.items():
        box = canvas(page, plane).bounding_box()
        scales += [box["height"] / sizes[down], box["width"] / sizes[right]]
    assert max(scales) / min(scales) < 1.05


def test_a_click_moves_the_cursor_and_the_other_planes(slices):
    page = slices(a=preview())
    box = canvas(page, "yx").bounding_box()
    page.evaluate("a.onCursor = (cursor) => { window.told = cursor; }")
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.click(box["x"] + 5, box["y"] + 5, button="right")  # opens the browser's menu, and moves nothing
    z, y, x = cursor(page)
    assert (y, x) == pytest.approx((0.8, 0.25), abs=0.02)
    assert z == 0.5
    assert page.evaluate("told") == {"z": z, "y": y, "x": x}
    assert voxels(page, "zx")[0, 0, 0] == CODES[0, int(y * 12), 0]
    assert voxels(page, "zy")[0, 0, 0] == CODES[0, 0, int(x * 10)]


def test_a_drag_follows_the_hand_and_hovering_does_not(slices):
    page = slices(a=preview())
    box = canvas(page, "zx").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert cursor(page) == [0.5, 0.5, 0.5]
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"], steps=3)
    page.mouse.up()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert cursor(page) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)


KEYS = [
    ("yx", "ArrowRight", (0, 0, 1)),
    ("yx", "ArrowUp", (0, -1, 0)),
    ("yx", "PageUp", (1, 0, 0)),
    ("zx", "ArrowDown", (1, 0, 0)),
    ("zx", "PageDown", (0, -1, 0)),
    ("zy", "ArrowLeft", (0, -1, 0)),
    ("zy", "PageUp", (0, 0, 1)),
    ("yx", "Shift+ArrowRight", (0, 0, 2)),  # ten, as far as there are voxels
]


def test_keys_move_by_voxels(slices):
    page = slices(a=preview())
    for plane, key, moved in KEYS:
        before = index(page)
        canvas(page, plane).press(key)
        assert np.subtract(index(page), before).tolist() == list(moved), (plane, key)


def test_the_wheel_turns_pages_of_a_plane_that_was_chosen_and_else_scrolls(slices):
    page = slices(a=preview())
    page.evaluate("document.body.style.height = '3000px'")
    box = canvas(page, "zx").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, 50)
    until(page, "scrollY > 0")
    assert index(page) == [n // 2 for n in SHAPE]
    page.evaluate("scrollTo(0, 0)")
    canvas(page, "zx").focus()
    page.mouse.wheel(0, 50)
    until(page, "a.cursor().y > 0.5")
    assert index(page) == [4, 7, 5]
    assert page.evaluate("scrollY") == 0


def test_sliders_move_the_cursor_and_say_where_it_is(slices):
    page = slices(a=preview(spacing=(4.0, 4.0, 4.0), voxel=5.0))
    slider = page.get_by_label("y of a")
    slider.fill("3")
    assert index(page) == [4, 3, 5]
    # Code 3 covers voxels 12 to 15, whose middle is 13.5.
    assert slider.get_attribute("aria-valuetext") == "voxel 14 (68 Å)"
    assert f"density {CODES[4, 3, 5]}" in page.locator("#at-a output").inner_text()


def test_contrast_and_inversion_are_as_asked(slices):
    page = slices(a=preview(low=-1.0, high=1.0, window=(-1.0, 1.0)))
    page.evaluate("a.setWindow(0, 0.5)")
    density = CODES[4, 0, 0] / 127.5 - 1
    assert voxels(page, "yx")[0, 0, 0] == pytest.approx(np.clip(density / 0.5, 0, 1) * 255, abs=1)
    grey = voxels(page, "yx")
    page.get_by_label("invert").check()
    inverted = voxels(page, "yx")
    clear = np.s_[:5, :4]
    assert np.abs(grey[clear] + inverted[clear] - 255).max() <= 1
    page.get_by_role("button", name="reset contrast").click()
    page.get_by_label("invert").uncheck()
    assert voxels(page, "yx")[0, 0, 0] == CODES[4, 0, 0]


def test_the_ends_of_contrast_can_be_dragged_and_do_not_cross(slices):
    page = slices(a=preview())
    page.get_by_label("lower end of contrast of a").fill("200")
    assert page.evaluate("a.window()") == [200, 255]
    page.get_by_label("upper end of contrast of a").fill("100")
    assert page.evaluate("a.window()") == [100, 100]


def test_what_was_chosen_stays_when_the_volume_is_shown_anew(slices):
    page = slices(a=preview())
    page.evaluate("a.setCursor({z: 0.1, y: 0.2, x: 0.3}); a.setWindow(10, 20)")
    page.evaluate(SHOW, ["a", "/a.bin", {}])
    assert cursor(page) == [0.1, 0.2, 0.3]
    assert page.evaluate("a.window()") == [10, 20]


def test_a_map_of_differences_is_symmetric_about_zero(slices):
    codes = np.zeros(SHAPE, np.uint8)
    codes[:, :, :3], codes[:, :, 3:6], codes[:, :, 6:] = 0, 100, 200
    page = slices(a=preview(codes, low=-1.0, high=1.55, window=(-0.5, 1.0)))
    page.evaluate(SHOW, ["a", "/a.bin", {"map": "difference"}])
    page.evaluate("a.setCursor({z: 0, y: 0, x: 0})")
    assert page.evaluate("a.window()") == [-1, 1]
    negative, zero, positive = voxels(page, "yx")[5, [1, 4, 8]]
    assert zero.tolist() == [255, 255, 255]
    assert negative[2] > negative[0] + 80  # blue
    assert positive[0] > positive[2] + 80  # red
    page.get_by_label("upper end of contrast of a").fill("150")
    assert page.evaluate("a.window()") == pytest.approx([-0.5, 0.5])  # inwards too


def test_linked_volumes_share_cursor_and_contrast_in_their_own_units(slices):
    other = CODES[:4, :6, :5]
    page = slices(a=preview(low=0.0, high=1.0, window=(0.0, 1.0)), b=preview(other, low=0.0, high=100.0, window=(0.0, 100.0)))
    page.evaluate("Wedge.linkSlices([a, b])")
    canvas(page, "yx").press("ArrowRight")
    assert cursor(page, "b") == cursor(page, "a") != [0.5, 0.5, 0.5]
    page.get_by_label("lower end of contrast of a").fill("51")
    assert page.evaluate("b.window()") == pytest.approx([20, 100])
    page.evaluate("Wedge.linkSlices([a, b], {contrast: 'density'})")
    page.get_by_label("lower end of contrast of b").fill("0")
    assert page.evaluate("a.window()") == pytest.approx([0, 100])


def test_planes_have_the_pixels_of_the_screen_and_follow_the_width(slices):
    page = slices(a=preview())
    assert page.evaluate("document.querySelector('#at-a .wedge-slices-planes').dataset.columns") == "2"
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 700, "deviceScaleFactor": 2, "mobile": False})
    until(page, "document.querySelector('#at-a .wedge-slices-planes').dataset.columns === '1'")
    box = canvas(page, "yx").bounding_box()
    assert page.evaluate("document.querySelector('#at-a canvas').width") == 2 * box["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert voxels(page, "yx")[0, 0, 0] == CODES[4, 0, 0]


def test_thin_volumes_can_be_shown(slices):
    page = slices(a=preview(np.full((1, 1, 1), 7, np.uint8)), b=preview(np.full((2, 200, 3), 7, np.uint8)))
    assert voxels(page, "yx", shape=(1, 1, 1))[0, 0, 0] == 7
    assert voxels(page, "yx", "b", shape=(2, 200, 3))[0, 0, 0] == 7
    for name in ("a", "b"):
        canvas(page, "zx", name).press("ArrowDown")
        canvas(page, "zx", name).press("PageUp")
        assert all(0 <= fraction <= 1 for fraction in cursor(page, name))
