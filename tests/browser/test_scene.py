"""The 3-D view: what is seen is where the camera says, in the right hand, and what the controls say."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from wedge.pages.assets import SCENE_SCRIPTS, SCENE_STYLES
from wedge.preview import Preview

SHAPE = (20, 28, 36)
SIZE = (320, 240)  # of the picture, width and height in pixels
BODY = f"<style>.wedge-scene-picture {{ height: {SIZE[1]}px !important }}</style><div id=view style='width: {SIZE[0]}px'></div>"
PARTS = [name if "/" in name else f"assets/{name}" for name in (*SCENE_STYLES, "preview.js", *SCENE_SCRIPTS)]
BYTES = "(text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer"
PIXELS = """(scene) => {
  const {width, height, data} = scene.pixels();
  let text = "";
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return {width, height, text: btoa(text)};
}"""


def blob(*boxes: tuple[tuple[int, int, int], int], shape=SHAPE, half=2, ground=10) -> np.ndarray:
    """Codes with cubes of 2 * half + 1 voxels: ``((z, y, x), code)`` each."""
    codes = np.full(shape, ground, np.uint8)
    for (z, y, x), code in boxes:
        codes[z - half : z + half + 1, y - half : y + half + 1, x - half : x + half + 1] = code
    return codes


@dataclass
class Scene:
    """A ``Wedge.Scene`` of a page, as tests use it."""

    page: Any
    name: str = "scene"

    def show(self, codes: np.ndarray, spacing=(1.0, 1.0, 1.0), voxel: float | None = None) -> None:
        preview = Preview(codes, 0.0, 255.0, (0.0, 255.0), spacing, voxel)
        text = base64.b64encode(preview.to_bytes()).decode()
        self.page.evaluate(f"(text) => {self.name}.show(Wedge.decodePreview(({BYTES})(text)))", text)

    def do(self, call: str) -> Any:
        return self.page.evaluate(f"() => {self.name}.{call}")

    def pixels(self) -> np.ndarray:
        """``(y, x, 3)`` int, the first row on top."""
        found = self.page.evaluate(f"() => ({PIXELS})({self.name})")
        data = np.frombuffer(base64.b64decode(found["text"]), np.uint8)
        return data.reshape(found["height"], found["width"], 4)[..., :3].astype(int)

    def seen(self) -> np.ndarray:
        """Where the object is: bright in a volume, sand-coloured as a surface; the box is neither."""
        pixels = self.pixels()
        return (pixels.min(-1) > 190) | (pixels[..., 0] - pixels[..., 2] > 18)

    def centre(self) -> np.ndarray:
        """Middle of what is seen as ``(right, down)`` from the picture's middle, in pixels."""
        rows, columns = np.nonzero(self.seen())
        assert rows.size > 20, "nothing is seen"
        return np.array([columns.mean() - (SIZE[0] - 1) / 2, rows.mean() - (SIZE[1] - 1) / 2])


def pixels_per_length(shape=SHAPE, spacing=(1.0, 1.0, 1.0)) -> float:
    """As documented: at zoom 1 the sphere around the box fits the shorter side."""
    return min(SIZE) / np.linalg.norm(np.multiply(shape, spacing))


def from_middle(voxel: tuple[int, int, int], spacing=(1.0, 1.0, 1.0), shape=SHAPE) -> np.ndarray:
    return (np.array(voxel) - (np.array(shape) - 1) / 2) * spacing


def assert_same_camera(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-12), key


@pytest.fixture
def scene(open_parts):
    page = open_parts(*PARTS, body=BODY)
    page.evaluate("() => { window.scene = new Wedge.Scene(document.getElementById('view'), {label: 'Phantom'}) }")
    return Scene(page)


# Rows: what lies to the right and what lies down, as axes of the volume; the third axis points away from the viewer.
VIEWS = {"z": (2, 1), "y": (2, 0), "x": (1, 0)}


@pytest.mark.parametrize("mode", ["volume", "surface"])
@pytest.mark.parametrize("axis", VIEWS)
def test_a_blob_is_seen_where_its_voxels_are(scene, axis, mode):
    voxel, spacing = (4, 20, 8), (3.0, 1.0, 2.0)
    scene.show(blob((voxel, 250)), spacing)
    scene.do(f"setMode('{mode}')")
    scene.do(f"look('{axis}')")
    right, down = VIEWS[axis]
    place = from_middle(voxel, spacing) * pixels_per_length(spacing=spacing)
    assert scene.centre() == pytest.approx([place[right], place[down]], abs=1.5)
    rows, columns = np.nonzero(scene.seen())
    widths = 5 * np.array(spacing) * pixels_per_length(spacing=spacing)  # of the blob: spacing stretches it
    assert np.ptp(columns) + 1 == pytest.approx(widths[right], abs=7)
    assert np.ptp(rows) + 1 == pytest.approx(widths[down], abs=7)


@pytest.mark.parametrize(("z", "sign"), [(4, 1), (15, -1)])
def test_in_the_view_along_z_the_first_plane_is_nearest(scene, z, sign):
    """The axes are right-handed: with x to the right and y down, z points away. What is near follows the hand."""
    scene.show(blob(((z, 14, 18), 250)))
    scene.do("look('z')")
    before = scene.centre()
    scene.do("move(Wedge.turnedCamera(scene.camera(), 0.3, 0))")
    assert np.sign(scene.centre()[0] - before[0]) == sign
    scene.do("look('z')")
    scene.do("move(Wedge.turnedCamera(scene.camera(), 0, 0.3))")
    assert np.sign(scene.centre()[1] - before[1]) == sign


def test_a_near_surface_hides_a_far_one(scene):
    codes = blob(((15, 14, 18), 250))
    codes[3:6, 8:20, 10:27] = 250  # a larger plate in front of it
    scene.show(codes)
    scene.do("setMode('surface')")
    scene.do("look('z')")
    with_both = scene.pixels()
    codes[10:] = 10
    scene.show(codes)
    assert np.abs(scene.pixels() - with_both).max() <= 8


@pytest.mark.parametrize("mode", ["volume", "surface"])
def test_what_is_below_the_threshold_is_not_shown(scene, mode):
    scene.show(blob(((10, 14, 8), 130), ((10, 14, 28), 250)))
    scene.do(f"setMode('{mode}')")
    scene.do("look('z')")
    area = {}
    for threshold in (0.3, 0.8, 0.99, 1):
        scene.do(f"setThreshold({threshold})")
        pixels = scene.pixels()
        object_ = pixels.max(-1) > 60 if mode == "volume" else scene.seen()
        inside = object_[60:180, 80:240]  # without the outline of the box
        area[threshold] = np.count_nonzero(inside[:, :80]), np.count_nonzero(inside[:, 80:])
    assert min(area[0.3]) > 200
    assert area[0.8][0] == 0
    assert area[0.8][1] > 200
    assert area[0.99] == area[1] == (0, 0)


@pytest.mark.parametrize("mode", ["volume", "surface"])
def test_invert_shows_what_is_low(scene, mode):
    voxel = (10, 8, 28)
    scene.show(blob((voxel, 5), ground=240))
    scene.do(f"setMode('{mode}')")
    scene.do("look('z')")
    filled = np.count_nonzero(scene.seen())
    scene.do("setInvert(true)")
    place = from_middle(voxel) * pixels_per_length()
    assert scene.centre() == pytest.approx([place[2], place[1]], abs=1.5)
    assert 100 < np.count_nonzero(scene.seen()) < filled / 10
    scene.do("setInvert(false)")
    assert np.count_nonzero(scene.seen()) == filled


def test_a_new_preview_keeps_camera_mode_threshold_and_invert(scene):
    scene.show(blob(((10, 14, 18), 250)))
    scene.do("setMode('surface')")
    scene.do("setThreshold(0.7)")
    scene.do("setInvert(false)")
    camera = {"forward": [0, 0, 1], "up": [0, -1, 0], "zoom": 1.5, "pan": [0.1, -0.2]}
    scene.do(f"setCamera({json.dumps(camera)})")
    voxel = (4, 8, 26)
    scene.show(blob((voxel, 250), ((14, 20, 6), 170)))  # the second one is below the threshold
    assert scene.do("camera()") == camera
    assert scene.do("state") == {"mode": "surface", "threshold": 0.7, "invert": False}
    radius = np.linalg.norm(SHAPE) / 2
    scale = 1.5 * pixels_per_length()
    place = from_middle(voxel)
    expected = [(place[2] + 0.1 * radius) * scale, (place[1] + 0.2 * radius) * scale]
    assert scene.centre() == pytest.approx(expected, abs=2)


def test_the_threshold_follows_the_previews_until_one_is_chosen(scene):
    scene.show(blob(((10, 14, 18), 250), ground=0))
    first = scene.do("state.threshold")
    assert 0.45 < first < 0.55  # between the two kinds of codes
    scene.show(blob(((10, 14, 18), 250), ground=200))
    assert scene.do("state.threshold") > 0.8
    scene.do("setThreshold(0.25)")
    scene.show(blob(((10, 14, 18), 250), ground=0))
    assert scene.do("state.threshold") == 0.25
    scene.do("reset()")
    assert scene.do("state.threshold") == first


def test_noise_is_cut_off_at_first_and_rare_dark_objects_are_found_inverted(scene):
    """Grey volumes: of noise around a middle few codes are shown, so that what stands out of it can be seen."""
    rng = np.random.default_rng(1)
    codes = np.clip(rng.normal(128, 25, SHAPE), 0, 255)
    codes[8:13, 10:15, 20:25] -= 110
    codes = np.clip(codes, 0, 255).astype(np.uint8)
    scene.show(codes)
    assert 0.005 < np.mean(codes >= 255 * scene.do("state.threshold")) < 0.05
    scene.do("setInvert(true)")
    shown = 255 - codes >= 255 * scene.do("state.threshold")
    assert shown[8:13, 10:15, 20:25].mean() > 0.9
    assert shown.mean() < 0.05


def test_keys_turn_move_zoom_and_choose(scene):
    scene.show(blob(((4, 14, 18), 250)))
    page = scene.page
    page.keyboard.press("Tab")
    for _ in range(12):
        if page.evaluate("document.activeElement.className") == "wedge-scene-picture":
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Phantom, 3-D view.")
    page.keyboard.press("z")
    assert scene.do("camera()") == {"forward": [0, 0, 1], "up": [0, -1, 0], "zoom": 1, "pan": [0, 0]}
    middle, area = scene.centre(), np.count_nonzero(scene.seen())
    for key, axis, sign in [("ArrowRight", 0, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, 1), ("ArrowUp", 1, -1)]:
        for held in ("", "Shift+"):
            page.keyboard.press("z")
            page.keyboard.press(held + key)
            assert (scene.centre() - middle)[axis] * sign > 1, held + key
    page.keyboard.press("z")
    page.keyboard.press("+")
    assert np.count_nonzero(scene.seen()) > 1.2 * area
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert np.count_nonzero(scene.seen()) < area
    for key, state in [("s", ("mode", "surface")), ("v", ("mode", "volume")), ("i", ("invert", True)), ("i", ("invert", False))]:
        page.keyboard.press(key)
        assert scene.do(f"state.{state[0]}") == state[1]
    page.keyboard.press("0")
    assert_same_camera(scene.do("camera()"), page.evaluate("Wedge.firstCamera()"))


def test_mouse_and_wheel(scene):
    scene.show(blob(((4, 14, 18), 250)))
    scene.do("look('z')")
    page = scene.page
    box = page.locator(".wedge-scene-picture").bounding_box()
    x, y = box["x"] + 160, box["y"] + 120
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    page.wait_for_timeout(50)
    assert scene.do("camera().zoom") == 1  # the page is scrolled until the picture has been chosen
    before = scene.centre()
    page.mouse.down()
    page.mouse.move(x + 30, y + 20, steps=3)
    page.mouse.up()
    after = scene.centre()
    assert (after > before + 1).all()
    camera = scene.do("camera()")
    page.mouse.move(x, y, steps=2)
    assert scene.do("camera()") == camera  # let go
    page.mouse.wheel(0, -200)
    page.wait_for_function("() => scene.camera().zoom > 1.2")


def test_two_fingers_zoom(scene):
    scene.show(blob(((4, 14, 18), 250)))
    box = scene.page.locator(".wedge-scene-picture").bounding_box()
    session = scene.page.context.new_cdp_session(scene.page)

    def touch(kind: str, *distances: float) -> None:
        points = [{"x": box["x"] + 160 + each, "y": box["y"] + 120, "id": i} for i, each in enumerate(distances)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    scene.page.locator(".wedge-scene-picture").focus()  # before it has the focus, fingers scroll the page
    before = scene.do("camera()")
    touch("touchStart", -20, 20)
    touch("touchMove", -40, 40)
    touch("touchEnd")
    after = scene.do("camera()")
    assert after["zoom"] == pytest.approx(2, rel=0.05)
    assert_same_camera({**after, "zoom": 1}, before)


def test_controls_say_and_do_what_the_scene_is(scene):
    scene.show(blob(((10, 14, 18), 250), ((10, 14, 6), 120)), voxel=10.0)
    page = scene.page
    toolbar = page.get_by_role("toolbar", name="3-D view")
    toolbar.get_by_role("button", name="Surface").click()
    assert scene.do("state.mode") == "surface"
    assert toolbar.get_by_role("button", name="Surface").get_attribute("aria-pressed") == "true"
    assert toolbar.get_by_role("button", name="Volume").get_attribute("aria-pressed") == "false"
    toolbar.get_by_role("slider", name="Threshold").fill("0.8")
    assert scene.do("state.threshold") == 0.8
    assert toolbar.locator("output").inner_text() == "≥ 204"
    toolbar.get_by_role("checkbox", name="Invert").check()
    assert scene.do("state.invert") is True
    assert toolbar.locator("output").inner_text() == "≤ 51"
    toolbar.get_by_role("button", name="y", exact=True).click()
    assert scene.do("camera().up") == [0, 0, -1]
    toolbar.get_by_role("button", name="Reset").click()
    assert_same_camera(scene.do("camera()"), page.evaluate("Wedge.firstCamera()"))
    scene.do("ready")
    bar = page.locator(".wedge-scene-bar")
    scene.do("look('z')")
    scene.do("pixels()")
    # A round length, drawn as long as it is.
    assert bar.inner_text() == "10 nm"
    assert bar.evaluate("(each) => parseFloat(each.style.width)") == pytest.approx(10 * pixels_per_length(), abs=0.01)


def test_the_letters_stand_at_the_ends_of_the_axes(scene):
    scene.show(blob(((10, 14, 18), 250)))
    scene.do("look('z')")
    scene.do("pixels()")
    box = scene.page.locator(".wedge-scene-picture").bounding_box()
    place = {}
    for letter in scene.page.locator(".wedge-scene-letter").all():
        at = letter.bounding_box()
        place[letter.inner_text()] = (at["x"] + at["width"] / 2 - box["x"] - 160, at["y"] + at["height"] / 2 - box["y"] - 120)
    scale = pixels_per_length()
    corner = -np.array(SHAPE) / 2 * scale  # z, y, x
    assert place["z"] == pytest.approx((corner[2], corner[1]), abs=1.5)
    assert place["x"][0] > -corner[2]
    assert place["x"][1] == pytest.approx(corner[1], abs=1.5)
    assert place["y"][1] > -corner[1]
    assert place["y"][0] == pytest.approx(corner[2], abs=1.5)


def test_linked_scenes_turn_together(open_parts):
    page = open_parts(*PARTS, body=f"{BODY}<div id=other style='width: 320px'></div>")
    page.evaluate("""() => {
      window.scene = new Wedge.Scene(document.getElementById('view'));
      window.other = new Wedge.Scene(document.getElementById('other'));
      Wedge.linkScenes([scene, other]);
    }""")
    for name in ("scene", "other"):
        Scene(page, name).show(blob(((4, 14, 18), 250)))
    page.locator(".wedge-scene-picture").nth(1).press("x")
    assert Scene(page).do("camera()") == Scene(page, "other").do("camera()")
    assert Scene(page).do("camera().forward") == [1, 0, 0]


def test_after_moving_the_picture_is_drawn_in_full(scene):
    rng = np.random.default_rng(0)
    scene.show(rng.integers(0, 255, SHAPE, dtype=np.uint8))
    for _ in range(4):
        scene.do("move(Wedge.turnedCamera(scene.camera(), 0.1, 0))")
        scene.page.wait_for_timeout(30)
    scene.do("ready")
    assert scene.do("drawing.view.getSize()") == list(SIZE)
    scene.do("setCamera({...scene.camera(), zoom: 2})")
    scene.do("ready")
    assert scene.do("camera().zoom") == 2
