"""The TensorBoard observer writes what it is told, and asks for nothing early."""

import warnings

import pytest
import torch

from wedge.contracts import RunInfo
from wedge.geometry import TiltGeometry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

from wedge_tensorboard.observer import TensorBoardObserver, TensorBoardOptions


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
