"""The TensorBoard observer writes what it is told, and asks for nothing early."""

import time
import warnings

import numpy as np
import pytest
import torch

from wedge.contracts import RunInfo
from wedge.geometry import TiltGeometry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tensor_util = pytest.importorskip("tensorboard.util.tensor_util")

from wedge_tensorboard.observer import TensorBoardObserver, TensorBoardOptions
from wedge_tensorboard.surface import surface


def _run(tmp_path, first_step=0):
    geometry = TiltGeometry((-10.0, 0.0, 10.0), (4, 8), (4, 4, 8))
    return RunInfo(str(tmp_path / "out.zarr.run"), 100, first_step, geometry, {"network": "voxel"})


def _read(tmp_path):
    events = event_accumulator.EventAccumulator(str(tmp_path / "out.zarr.run" / "tensorboard"))
    events.Reload()
    return events


def _observe(tmp_path, steps, first_step=0, **options):
    observer = TensorBoardObserver(TensorBoardOptions(**options))
    observer.start(_run(tmp_path, first_step))
    for step in steps:
        observer.step(step, {"loss/data": torch.tensor(1.0 / (step + 1), requires_grad=True), "rate": 0.5})
    return observer


def test_scalars_are_written_every_few_steps_and_at_the_end(tmp_path):
    _observe(tmp_path, range(8), every=5).end({"psnr": 31.0})
    events = _read(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("loss/data")] == [
        (0, 1.0),
        (5, pytest.approx(1 / 6)),
        (7, pytest.approx(1 / 8)),
    ]
    assert len(events.Scalars("rate")) == 3
    assert {"config/text_summary", "summary/text_summary"} <= set(events.Tags()["tensors"])


def test_tensors_are_asked_for_only_when_written(tmp_path):
    class Counted(torch.Tensor):
        asked = 0

        def item(self):
            Counted.asked += 1
            return super().item()

    observer = TensorBoardObserver(TensorBoardOptions(every=10))
    observer.start(_run(tmp_path))
    for step in range(10):
        observer.step(step, {"loss": torch.tensor(1.0).as_subclass(Counted)})
    assert Counted.asked == 1
    observer.end({})
    assert Counted.asked == 2


def test_pictures_keep_their_grey_values(tmp_path):
    observer = _observe(tmp_path, [0], low_percentile=0.0)
    ramp = torch.linspace(-3, 5, 32).expand(16, 32)
    infinite = ramp.clone()
    infinite[0, 0] = -torch.inf
    observer.preview(4, {"ortho_xz": lambda: ramp, "spectrum_xz": lambda: infinite, "flat": lambda: torch.ones(3, 5, requires_grad=True)})
    observer.end({})
    events = _read(tmp_path)
    assert set(events.Tags()["images"]) == {"ortho_xz", "spectrum_xz", "flat"}
    (image,) = events.Images("ortho_xz")
    assert (image.step, image.width, image.height) == (4, 32, 16)
    import io

    from PIL import Image

    pixels = torch.tensor(list(Image.open(io.BytesIO(image.encoded_image_string)).convert("L").tobytes())).view(16, 32)
    assert pixels[0, 0] == 0
    assert pixels[0, -1] == 255
    assert bool((pixels[0].diff() > 0).all())


def test_failure_closes_and_says_why(tmp_path):
    observer = _observe(tmp_path, range(3), every=100)
    observer.failed(RuntimeError("the loss is not finite"))
    observer.failed(RuntimeError("again"))
    events = _read(tmp_path)
    assert [event.step for event in events.Scalars("rate")] == [0, 2]
    assert b"the loss is not finite" in events.Tensors("failed/text_summary")[0].tensor_proto.string_val[0]


def test_resumed_run_replaces_repeated_steps(tmp_path):
    _observe(tmp_path, range(10), every=1).failed(KeyboardInterrupt())
    _observe(tmp_path, range(6, 12), first_step=6, every=1).end({})
    assert [event.step for event in _read(tmp_path).Scalars("rate")] == list(range(12))


def test_ends_that_have_no_beginning_do_no_harm():
    observer = TensorBoardObserver(TensorBoardOptions())
    observer.preview(0, {"ortho_xy": lambda: pytest.fail("nobody asked")})
    observer.end({})
    observer.failed(ValueError())


MIDDLE, RADIUS = np.array([30.0, 14.0, 20.0]), 9.0  # x, y, z: no two axes alike
BOX = np.array([56, 36, 48])


def _ball(scale: int = 1, noise: float = 0.0) -> torch.Tensor:
    """Return a soft ball as slices ``(y, z, x)``, half dense on its surface."""
    y, z, x = np.meshgrid(*((np.arange(n * scale) + 0.5) / scale - 0.5 for n in BOX[[1, 2, 0]]), indexing="ij")
    distance = np.sqrt((x - MIDDLE[0]) ** 2 + (y - MIDDLE[1]) ** 2 + (z - MIDDLE[2]) ** 2)
    random = np.random.default_rng(0).normal(size=distance.shape)
    return torch.from_numpy((1 / (1 + np.exp(distance - RADIUS)) + noise * random).astype(np.float32))


def _mesh(tmp_path, number=-1):
    events = _read(tmp_path)
    vertices, faces = (tensor_util.make_ndarray(events.Tensors(f"surface_{part}")[number].tensor_proto)[0] for part in ("VERTEX", "FACE"))
    return vertices, faces.astype(int)


def test_a_mesh_lies_on_the_surface_in_the_order_x_y_z(tmp_path):
    observer = _observe(tmp_path, [0], mesh_threshold=0.5)
    observer.preview(4, {"volume": _ball})
    observer.end({})
    vertices, faces = _mesh(tmp_path)
    radii = np.linalg.norm(vertices - (MIDDLE - (BOX - 1) / 2), axis=1)
    assert np.abs(radii - RADIUS).max() < 0.1
    assert [event.step for event in _read(tmp_path).Tensors("surface_VERTEX")] == [4]
    # Closed, without holes or handles, and with its outside outside.
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}
    assert len(vertices) - len(unique) + len(faces) == 2
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    assert float((np.cross(a, b) * c).sum() / 6) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)


def test_otsus_threshold_finds_the_surface_by_itself(tmp_path):
    vertices, _ = surface(_ball(noise=0.02).numpy(), None, 10**6)
    radii = np.linalg.norm(vertices - (MIDDLE - (BOX - 1) / 2), axis=1)
    assert np.median(np.abs(radii - RADIUS)) < 0.5


@pytest.mark.parametrize("most", [1500, 400])
def test_many_faces_become_few_and_stay_in_their_place(most):
    fine = _ball(scale=2).numpy()
    vertices, faces = surface(fine, 0.5, most)
    assert 20 < len(faces) <= most
    # Twice as many points along each axis, so all lengths are twice as large.
    radii = np.linalg.norm(vertices / 2 - (MIDDLE - (BOX - 1) / 2), axis=1)
    assert np.abs(radii - RADIUS).mean() < 0.08 * 3000 / most
    assert np.linalg.norm(vertices.mean(axis=0) / 2 - (MIDDLE - (BOX - 1) / 2)) < 0.6


def test_noise_is_no_longer_than_the_limit_and_nothing_has_no_mesh(tmp_path):
    random = np.random.default_rng(0)
    assert len(surface(random.random((40, 40, 40), dtype=np.float32), 0.5, 2000)[1]) <= 2000
    assert len(surface(np.zeros((4, 5, 6), np.float32), None, 2000)[1]) == 0
    assert len(surface(np.full((1, 1, 1), 2, np.float32), 1.0, 2000)[1]) == 12
    holes = np.full((6, 6, 6), 1, np.float32)
    holes[2, 2, 2], holes[3, 3, 3] = np.nan, -np.inf
    assert np.isfinite(surface(holes, 0.5, 2000)[0]).all()
    observer = _observe(tmp_path, [0])
    observer.preview(1, {"volume": lambda: torch.zeros(4, 5, 6)})
    observer.end({})
    assert not [tag for tag in _read(tmp_path).Tags()["tensors"] if tag.startswith("surface")]


def test_meshes_take_little_time_and_the_last_is_written(tmp_path):
    observer = _observe(tmp_path, [0])
    asked = []

    def slow():
        asked.append(True)
        time.sleep(0.02)
        return _ball()

    for step in (1, 2, 3, 100):  # of 100
        observer.preview(step, {"volume": slow})
    observer.end({})
    assert [event.step for event in _read(tmp_path).Tensors("surface_VERTEX")] == [1, 100]
    assert len(asked) == 2


def test_meshes_can_be_left_out(tmp_path):
    observer = _observe(tmp_path, [0], mesh=False)
    observer.preview(100, {"volume": lambda: pytest.fail("nobody asked")})
    observer.end({})
