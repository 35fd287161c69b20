"""``wedge reconstruct --observer``: what TensorBoard is left with, and what happens to wrong observers."""

import io
import warnings

import numpy as np
import pytest

from wedge import store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

QUICK = ["--network", "voxel", "--passes", "6", "--batch-rows", "8", "--projector-opt", "cache=false", "--regularizer", "tv:weight=0.1"]


@pytest.fixture(scope="module")
def tilts(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("phantom")
    sizes = ["--shape", "8", "16", "24", "--num-tilts", "9", "--tilt-range", "-60", "60"]
    assert run(["simulate-spheres", "-o", str(folder), *sizes, "--seed", "3"]) == 0
    return folder / "tilts.zarr"


def events(folder):
    found = event_accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


@pytest.fixture
def observed(wedge, tilts, tmp_path):
    out = tmp_path / "out.zarr"
    done = wedge("reconstruct", tilts, "-o", out, *QUICK, "--observer", "tensorboard:every=5")
    assert done.code == 0, done.err
    return out


def test_events_have_every_scalar_and_the_last_step(observed):
    found = events(observed.with_name("out.zarr.run") / "tensorboard")
    assert {"loss", "data", "regularization"} <= set(found.Tags()["scalars"])
    # Two steps in each of six passes.
    assert [event.step for event in found.Scalars("loss")] == [5, 10, 12]
    losses = [event.value for event in found.Scalars("loss")]
    assert losses[-1] < losses[0]
    for loss, data, regularization in zip(*(found.Scalars(name) for name in ("loss", "data", "regularization")), strict=True):
        assert loss.value == pytest.approx(data.value + regularization.value, rel=1e-5)


def test_events_have_pictures_of_the_volumes_planes(observed):
    from PIL import Image

    found = events(observed.with_name("out.zarr.run") / "tensorboard")
    sizes = {"ortho_xy": (16, 24), "ortho_xz": (8, 24), "ortho_yz": (8, 16), "spectrum_xz": (8, 24)}
    assert set(found.Tags()["images"]) == set(sizes)
    for name, (height, width) in sizes.items():
        last = found.Images(name)[-1]
        assert (last.step, last.height, last.width) == (12, height, width), name
    volume = np.asarray(store.open_volume(observed).array[:])
    image = found.Images("ortho_xy")[-1]
    shown = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("L"), dtype=float)
    # The last picture is the plane that was written, up to grey values cut off at both ends.
    likeness = [np.corrcoef(shown.ravel(), plane.ravel())[0, 1] for plane in volume]
    assert likeness[3] == max(likeness) > 0.95


def test_observer_changes_nothing(observed, wedge, tilts, tmp_path):
    assert wedge("reconstruct", tilts, "-o", tmp_path / "plain.zarr", *QUICK).code == 0
    plain, watched = (np.asarray(store.open_volume(path).array[:]) for path in (tmp_path / "plain.zarr", observed))
    assert np.array_equal(plain, watched)
    assert not (tmp_path / "plain.zarr.run" / "tensorboard").exists()


def test_directory_of_the_events_can_be_chosen(wedge, tilts, tmp_path):
    chosen = tmp_path / "elsewhere"
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--observer", f"tensorboard:directory={chosen}")
    assert done.code == 0, done.err
    assert events(chosen).Scalars("loss")


@pytest.mark.parametrize(
    ("observer", "words"), [("tensorbord", "tensorboard"), ("tensorboard:evry=5", "every"), ("tensorboard:every=0", "every")]
)
def test_wrong_observers_are_one_line(wedge, tilts, tmp_path, observer, words):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--observer", observer)
    assert done.code == 2
    assert words in done.error
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default::UserWarning")
def test_observer_that_cannot_write_warns_and_the_fit_goes_on(wedge, tilts, tmp_path):
    (tmp_path / "file").write_text("")
    option = f"tensorboard:directory={tmp_path / 'file' / 'x'}"
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--observer", option)
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if "observer" in line]
    assert len(told) == 1
    assert "observer 'tensorboard' failed in start and is left out" in told[0]
