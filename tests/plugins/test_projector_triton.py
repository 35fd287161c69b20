"""The kernels of the ``triton`` projector: on a GPU where there is one, otherwise by Triton's interpreter."""

import numpy as np
import pytest
import torch

# Triton decides when it is imported whether kernels are interpreted.
with pytest.MonkeyPatch.context() as patch:
    if not torch.cuda.is_available():
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    from wedge_triton.options import TritonProjectorOptions, probe
    from wedge_triton.projector import TritonProjector

from wedge_torch.projector import TorchProjector, TorchProjectorOptions

from wedge.errors import DeviceError, InputError
from wedge.geometry import TiltGeometry
from wedge.testing.projector_laws import ProjectorLaws

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GEOMETRY = TiltGeometry((20.0, -57.0, 0.0, 63.0, -45.0), (2, 25), (9, 2, 21)).with_volume((11, 2, 23), 1.3, (0.5, -2.0))


# What takes the interpreter minutes; that kernels compute the stored matrix, entry by entry, stands for it.
LARGE = {
    "test_projections_are_chord_lengths",
    "test_a_binned_geometry_sees_binned_projections",
    "test_projections_keep_the_mass",
    "test_order_of_tilts_is_the_order_of_views",
    "test_views_are_independent",
    "test_gradients_flow_through_backproject_too",
}
MANY = {
    "test_inner_products_agree_for_zero_mean_vectors": {"all at once"},
    "test_results_are_new_float32_on_the_same_device": {"single view"},
}
BOXES = {"all at once", "steep and flat", "single view"}


@pytest.fixture(autouse=True)
def interpreter(monkeypatch, request):
    if DEVICE == "cuda":
        return
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    name = request.node.originalname
    box = given.get("box", "all at once")
    if name in LARGE or given.get("count") in (1, 35) or box not in MANY.get(name, BOXES):
        pytest.skip("takes too long without a GPU")


class TestTritonStrip(ProjectorLaws):
    device = DEVICE

    def make(self, geometry: TiltGeometry, device: torch.device) -> TritonProjector:
        return TritonProjector(geometry, TritonProjectorOptions(), device)


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter is slow: the laws of the strip stand for both models")
class TestTritonJoseph(ProjectorLaws):
    device = DEVICE

    def make(self, geometry: TiltGeometry, device: torch.device) -> TritonProjector:
        return TritonProjector(geometry, TritonProjectorOptions(model="joseph"), device)


@pytest.mark.parametrize("model", ["strip", "joseph"])
def test_kernels_compute_the_stored_matrix(model):
    plain = TorchProjector(GEOMETRY, TorchProjectorOptions(model=model, cache=False), torch.device("cpu"))
    kernels = TritonProjector(GEOMETRY, TritonProjectorOptions(model=model), torch.device(DEVICE))
    for matrix, same, shape in (
        (plain.project, kernels.project, (3, 11, 23)),
        (plain.backproject, kernels.backproject, (3, 5, 25)),
    ):
        batch = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        expected = matrix(batch)
        assert float((same(batch.to(DEVICE)).cpu() - expected).abs().max()) < 2e-5 * float(expected.abs().max())


def test_a_batch_of_another_shape_is_refused():
    kernels = TritonProjector(GEOMETRY, TritonProjectorOptions(), torch.device(DEVICE))
    with pytest.raises(InputError, match=r"got shape \(1, 4, 5\): expected \(y, 11, 23\)"):
        kernels.project(torch.zeros(1, 4, 5))


def test_a_cpu_is_refused_where_nothing_interprets(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(DeviceError, match="--projector torch"):
        TritonProjector(GEOMETRY, TritonProjectorOptions(), torch.device("cpu"))
    assert (probe() is None) == torch.cuda.is_available()
