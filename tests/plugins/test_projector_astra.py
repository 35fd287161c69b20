"""What the ``astra`` projector promises beyond the laws of projectors."""

import subprocess

import pytest
import torch
import wedge_astra.options
from wedge_astra import projector as module
from wedge_astra.options import AstraProjectorOptions, probe, probe_cuda
from wedge_astra.projector import AstraProjector

from wedge.errors import DeviceError, InputError, UsageError
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry((-40.0, 0.0, 50.0), (2, 24), (10, 2, 20), axis_offset_pixels=1.5)
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@without_gpu
def test_probing_for_a_gpu_is_safe_without_one() -> None:
    assert probe_cuda() == "ASTRA finds no usable GPU"


@without_gpu
def test_a_gpu_that_is_not_there_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="cannot use cuda: ASTRA finds no usable GPU; choose --device cpu"):
        AstraProjector(GEOMETRY, AstraProjectorOptions(), torch.device("cuda"))


def test_a_probe_that_dies_or_hangs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess([], -8, "", "")
    monkeypatch.setattr(wedge_astra.options.subprocess, "run", lambda *_, **__: killed)
    assert probe_cuda() == "a trial projection ended its process with status -8"

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 120)

    monkeypatch.setattr(wedge_astra.options.subprocess, "run", hang)
    assert probe_cuda() == "a trial projection did not end within 120 s"


def test_the_strip_model_is_refused_on_a_gpu() -> None:
    with pytest.raises(UsageError, match="no strip model on a GPU: choose model=joseph"):
        AstraProjector(GEOMETRY, AstraProjectorOptions(model="strip"), torch.device("cuda"))


def test_probe_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe() is None
    monkeypatch.setattr(wedge_astra.options, "find_spec", lambda _: None)
    assert probe() == "astra-toolbox is not installed: pip install 'wedge-tomo[astra]'"


def test_close_deletes_what_astra_holds_and_may_be_called_twice() -> None:
    projector = AstraProjector(GEOMETRY, AstraProjectorOptions(), torch.device("cpu"))
    handle = projector._flat
    assert module.astra.projector.volume_geometry(handle)["GridColCount"] == 20
    projector.close()
    projector.close()
    with pytest.raises(Exception):  # noqa: B017, PT011 - ASTRA's own kind
        module.astra.projector.volume_geometry(handle)


def test_geometries_of_slabs_describe_the_same_rays_as_those_of_slices() -> None:
    """The GPU's geometry cannot run here; its rays, detector and box can be compared with those that the laws tested."""
    views, box = module._flat_geometries(GEOMETRY)
    slab_views, slab_box = module._slab_geometries(GEOMETRY, 7)
    flat, slab = views["Vectors"], slab_views["Vectors"]
    # columns of x are alike, those of z change sign: row 0 is the top in two dimensions alone
    for flat_columns, slab_columns in (((2, 3), (3, 4)), ((4, 5), (6, 7))):
        assert flat[:, flat_columns[0]] == pytest.approx(slab[:, slab_columns[0]])
        assert flat[:, flat_columns[1]] == pytest.approx(-slab[:, slab_columns[1]])
    # a ray and its reverse are one line
    assert flat[:, 0] * -slab[:, 1] == pytest.approx(flat[:, 1] * slab[:, 0])
    assert slab_views["DetectorRowCount"] == slab_box["GridSliceCount"] == 7
    assert slab_box["option"]["WindowMinX"] == box["option"]["WindowMinX"]
    assert slab_box["option"]["WindowMinY"] == -box["option"]["WindowMaxY"]


def test_a_wrong_shape_is_one_clear_line() -> None:
    projector = AstraProjector(GEOMETRY, AstraProjectorOptions(), torch.device("cpu"))
    with pytest.raises(InputError, match=r"got shape \(2, 20, 10\): expected \(y, 10, 20\)"):
        projector.project(torch.zeros(2, 20, 10))
