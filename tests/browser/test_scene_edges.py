"""The 3-D view where things are unusual: odd volumes, no WebGL2, contexts that are lost; and its surfaces, as meshes."""

import numpy as np
import pytest

from wedge.pages.assets import SCENE_SCRIPTS, SCENE_STYLES

PARTS = [name if "/" in name else f"assets/{name}" for name in (*SCENE_STYLES, "preview.js", *SCENE_SCRIPTS)]
BODY = "<style>.wedge-scene-picture { height: 160px !important }</style><div id=view style='width: 200px'></div>"
# A preview of shape [z, y, x] by a rule, and how much of a picture is the object's: not the ground, not the outline.
TOOLS = b"""
function preview(shape, rule, spacing = [1, 1, 1]) {
  const codes = [];
  for (let z = 0; z < shape[0]; z++)
    for (let y = 0; y < shape[1]; y++) for (let x = 0; x < shape[2]; x++) codes.push(rule(z, y, x));
  return {shape, spacing, sizeAngstrom: null, codes: Uint8Array.from(codes), low: 0, high: 1, window: [0, 1]};
}
function seen(scene) {
  const {data} = scene.pixels();
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    count += Math.min(data[i], data[i + 1], data[i + 2]) > 190 || data[i] - data[i + 2] > 18;
  }
  return count;
}
const corner = (z, y, x) => (y < 4 && x < 6 ? 250 : 10);
window.newScene = () => window.scene = new Wedge.Scene(document.getElementById("view"), {label: "Phantom"});
"""


@pytest.fixture
def parts(open_parts):
    return open_parts(*PARTS, "tools.js", body=BODY, files={"/tools.js": TOOLS})


@pytest.mark.parametrize("shape", [[1, 24, 32], [2, 24, 32], [24, 1, 32], [3, 9, 1]], ids=str)
def test_thin_volumes_are_shown(parts, shape):
    parts.evaluate("newScene()")
    for mode in ("volume", "surface"):
        rule = "(z, y, x) => (x + y < 20 ? 250 : 10)" if shape[2] > 1 else "(z, y, x) => (y < 5 ? 250 : 10)"
        found = parts.evaluate(f"() => {{ scene.setMode('{mode}'); scene.show(preview({shape}, {rule})); return seen(scene) }}")
        assert found > 30


@pytest.mark.parametrize("shape", [[6, 8, 10], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("code", [0, 200])
def test_a_constant_volume_is_a_box_and_a_line_that_says_so(parts, shape, code):
    parts.evaluate("newScene()")
    for mode in ("volume", "surface"):
        assert parts.evaluate(f"() => {{ scene.show(preview({shape}, () => {code})); scene.setMode('{mode}'); return seen(scene) }}") == 0
    assert "nothing to be seen" in parts.locator(".wedge-scene-message").inner_text()
    assert parts.evaluate("() => { scene.show(preview([6, 8, 10], corner)); return seen(scene) }") > 30
    assert not parts.locator(".wedge-scene-message").is_visible()


def test_without_webgl2_there_is_one_clear_line(open_parts, page):
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = open_parts(*PARTS, "tools.js", body=BODY, files={"/tools.js": TOOLS})
    page.evaluate("newScene(); scene.show(preview([6, 8, 10], corner)); scene.setMode('surface'); scene.setThreshold(0.3); scene.ready")
    assert page.locator("#view").inner_text() == "No 3-D picture: this browser gives no WebGL2. The slices show the same volume."
    page.evaluate("scene.setCamera(scene.camera()); scene.reset(); scene.destroy()")


def test_with_a_graphics_card_volumes_are_lit_until_it_proves_slow(parts):
    parts.evaluate("Wedge.sceneRenderer = () => ({software: false}); newScene()")
    parts.evaluate("scene.show(preview([8, 10, 12], (z, y, x) => Math.max(0, 255 - 30 * Math.hypot(z - 4, y - 5, x - 6))))")
    light = "() => scene.pixels().data.reduce((all, each) => all + each, 0)"
    lit = parts.evaluate(light)
    assert parts.evaluate("scene.drawing.volume.getProperty().getShade()")
    parts.evaluate("scene.drawing.hurry()")
    unlit = parts.evaluate(light)
    assert not parts.evaluate("scene.drawing.volume.getProperty().getShade()")
    parts.evaluate("scene.setThreshold(1)")
    ground = parts.evaluate(light)
    assert unlit > 1.005 * ground
    assert lit > 1.005 * ground


def test_wrong_calls_are_refused(parts):
    parts.evaluate("newScene()")
    for call in ("setMode('x')", "setThreshold(2)", "setThreshold(NaN)", "setCamera({})", "setCamera({...scene.camera(), up: [0, 0, 0]})"):
        name = parts.evaluate(f"() => {{ try {{ scene.{call} }} catch (error) {{ return error.name }} }}")
        assert name in ("RangeError", "TypeError"), call


def test_what_is_shown_before_does_not_fill_the_card(parts):
    parts.evaluate("newScene()")
    show = """(mode) => {
      scene.show(preview([16, 16, 24], corner));
      scene.setMode(mode);
      seen(scene);
      return scene.drawing.view.getGraphicsMemoryInfo();
    }"""
    first = parts.evaluate(show, "volume")
    for mode in ("surface", "volume") * 4:
        last = parts.evaluate(show, mode)
    assert 16 * 16 * 24 <= last <= 1.1 * first


def test_destroyed_scenes_leave_nothing_behind(parts):
    """Browsers give a page a handful of contexts and take the oldest for a new one."""
    found = parts.evaluate("""() => {
      newScene();
      scene.show(preview([6, 8, 10], corner));
      const contexts = [];
      for (let i = 0; i < 3; i++) {
        const container = document.createElement("div");
        document.body.append(container);
        const each = new Wedge.Scene(container);
        each.show(preview([6, 8, 10], corner));
        each.pixels();
        contexts.push(each.drawing.canvas.getContext("webgl2"));
        each.destroy();
        if (container.innerHTML !== "" || container.className !== "") return "left behind";
        container.remove();
      }
      return [seen(scene), contexts.map((each) => each.isContextLost())];
    }""")
    assert found[0] > 30
    assert found[1] == [True] * 3


def test_a_lost_context_is_told_and_reset_brings_the_picture_back(parts):
    before = parts.evaluate("newScene(); scene.show(preview([6, 8, 10], corner)); seen(scene)")
    parts.evaluate("scene.drawing.view.getContext().getExtension('WEBGL_lose_context').loseContext()")
    message = parts.locator(".wedge-scene-message")
    message.wait_for(state="visible")
    assert "Press Reset" in message.inner_text()
    parts.evaluate("scene.show(preview([6, 8, 10], corner))")
    assert message.is_visible()  # pages show new volumes all the time
    parts.get_by_role("button", name="Reset").click()
    assert parts.evaluate("seen(scene)") == pytest.approx(before, rel=0.01)
    assert not message.is_visible()


def test_it_follows_its_container_and_fits_a_phone(parts):
    parts.evaluate("newScene(); scene.show(preview([6, 8, 10], corner))")
    parts.set_viewport_size({"width": 360, "height": 640})
    parts.evaluate("document.getElementById('view').style.width = 'auto'")
    parts.wait_for_function("() => scene.drawing.view.getSize()[0] === document.querySelector('.wedge-scene-picture').clientWidth")
    assert parts.evaluate("scene.drawing.view.getSize()[0]") > 300
    assert parts.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_was_hidden_at_first_is_drawn_when_it_is_seen(parts):
    parts.evaluate("document.getElementById('view').hidden = true; newScene(); scene.show(preview([6, 8, 10], corner)); scene.ready")
    parts.evaluate("document.getElementById('view').hidden = false")
    parts.wait_for_function("() => scene.drawing.view.getSize()[0] === 200")
    drawn = parts.evaluate("() => scene.drawing.pixels().data.some((each, i) => i % 4 < 3 && each > 190)")
    assert drawn


def mesh_of(parts, rule: str, shape: list[int], spacing: list[float], threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and normals ``(point, xyz)``, triangles ``(triangle, 3)``."""
    found = parts.evaluate(f"""() => {{
      const mesh = Wedge.isosurface(preview({shape}, {rule}, {spacing}), {threshold}, false);
      return [mesh.points, mesh.normals, mesh.polygons].map((each) => Array.from(each));
    }}""")
    points, normals, polygons = (np.array(each) for each in found)
    return points.reshape(-1, 3), normals.reshape(-1, 3), polygons.reshape(-1, 4)[:, 1:].astype(int)


def assert_closed(triangles: np.ndarray) -> None:
    """Each edge is walked once in either direction: closed, and all triangles look to the same side."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there, back = ({tuple(edge) for edge in each.tolist()} for each in (edges, edges[:, ::-1]))
    assert len(there) == len(edges)
    assert there == back


def test_the_surface_of_a_ball_is_a_ball(parts):
    """Codes fall off evenly through 127.5 at radius 6, in lengths; the spacing along z is twice as large."""
    rule = "(z, y, x) => Math.max(0, Math.min(255, 127.5 - 25 * (Math.hypot(2 * (z - 4), y - 7, x - 9) - 6)))"
    points, normals, triangles = mesh_of(parts, rule, [10, 16, 20], [2, 1, 1])
    middle = np.array([9 - 9.5, 7 - 7.5, 2 * (4 - 4.5)])  # x, y, z from the middle of the box
    radii = np.linalg.norm(points - middle, axis=1)
    assert np.abs(radii - 6).max() < 0.35
    assert np.median(radii) == pytest.approx(6, abs=0.12)
    assert (normals * (points - middle)).sum(1).min() > 0.9 * 6  # outwards
    assert_closed(triangles)
    assert len(points) - 1.5 * len(triangles) + len(triangles) == 2  # Euler: one ball
    a, b, c = (points[triangles[:, i]] - middle for i in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.08)  # chords lie inside


def test_surfaces_are_closed_where_objects_leave_the_box(parts):
    points, _, triangles = mesh_of(parts, "(z, y, x) => (x < 3 ? 200 : 0)", [4, 5, 6], [1, 1, 1])
    assert_closed(triangles)
    assert np.abs(points).max(0) == pytest.approx([3, 2.5, 2], abs=0.25)  # the faces of the box


def test_a_surface_of_too_many_points_is_refused_and_previews_are_halved(parts):
    found = parts.evaluate("""() => {
      const full = preview([5, 4, 1], (z, y, x) => (z % 2 ? 0 : 10 * y));
      const half = Wedge.halvedPreview(full);
      return [Wedge.isosurface(full, 0.05, false, 3), half.shape, Array.from(half.codes), half.spacing];
    }""")
    assert found == [None, [2, 2, 1], [3, 13, 3, 13], [2, 2, 1]]
