"""The fused kernels of the networks: on a GPU where there is one, otherwise by Triton's interpreter; and that they compile for GPUs."""

import pytest
import torch

# Triton decides when it is imported whether kernels are interpreted.
with pytest.MonkeyPatch.context() as patch:
    if not torch.cuda.is_available():
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    from wedge_networks import fused, fused_layers, fused_trial, kernel_choice
    from wedge_networks.fused import Launch, Plan, Weights, evaluate, evaluate_plainly

from wedge_networks.feature_grid import FeatureGrid, FeatureGridOptions
from wedge_networks.relu_pe import ReluPositional, ReluPositionalOptions
from wedge_networks.siren import Siren, SirenOptions

from wedge.errors import DeviceError, PluginError, UsageError
from wedge.lattice import FieldBox
from wedge.registry import Registry
from wedge.testing import NetworkLaws

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HALF = "bfloat16" if DEVICE.type == "cuda" else "rounded"
CHOICE = "triton" if DEVICE.type == "cpu" else "auto"  # which is torch on the CPU of a machine with a GPU
LONG = pytest.mark.skipif(DEVICE.type == "cpu", reason="takes too long without a GPU: gradients agree with torch's")


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    if DEVICE.type == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")


class FusedLaws(NetworkLaws):
    if DEVICE.type == "cpu":
        shapes = ((5, 6, 5), (4, 5, 6), (3, 1, 4), (1, 1, 5))


class TestFusedFeatureGrid(FusedLaws):
    fit_steps, fit_learning_rate = 5, 2e-2

    def make(self, field_box):
        return FeatureGrid(field_box, FeatureGridOptions(kernel=CHOICE))


class TestFusedSiren(FusedLaws):
    test_fit_lowers_the_error = LONG(NetworkLaws.test_fit_lowers_the_error)

    def make(self, field_box):
        return Siren(field_box, SirenOptions(width=32, depth=2, kernel=CHOICE))


class TestFusedReluPositional(FusedLaws):
    test_fit_lowers_the_error = LONG(NetworkLaws.test_fit_lowers_the_error)

    def make(self, field_box):
        return ReluPositional(field_box, ReluPositionalOptions(width=32, layers=3, kernel=CHOICE))


def example(width, features, layers, num_x=21, rows=2, num_z=2):
    generator = torch.Generator().manual_seed(3)

    def random(*shape, scale=1.0):
        return scale * torch.randn(*shape, generator=generator)

    return Weights(
        random(width) if features else random(rows * num_z, width),
        random(rows, features, num_z, num_x) if features else random(num_x, width),
        random(width, features, scale=max(1, features) ** -0.5),
        random(layers, width, width, scale=(2 / width) ** 0.5),
        random(layers, width),
        random(width + 1),
    )


def results(compute, weights, dtype=torch.float32, device=DEVICE, fixed=()):
    """Return values and the gradients of all that is not fixed, for a random gradient of the values."""
    leaves = [part.to(device, dtype).requires_grad_(name not in fixed) for name, part in weights._asdict().items()]
    values = compute(Weights(*leaves))
    arriving = torch.randn(values.shape, generator=torch.Generator().manual_seed(4)).to(device, dtype)
    wanted = [leaf for leaf in leaves if leaf.requires_grad and leaf.numel()]
    return [values.detach(), *torch.autograd.grad(values, wanted, arriving)]


def largest_error(found, exact):
    assert len(found) == len(exact)
    return max(float((one.cpu().double() - other.cpu()).norm() / other.norm()) for one, other in zip(found, exact, strict=True))


def plan_of(sine, precision="tf32x3", block=16, hold=False, programs=3):
    launch = Launch(block, 4, hold, programs)
    return Plan(sine, precision, launch, launch)


@pytest.mark.parametrize("sine", [False, True], ids=["relu", "sine"])
@pytest.mark.parametrize(
    ("width", "features", "layers", "hold"),
    [(16, 5, 0, False), (32, 20, 1, True), (64, 0, 3, False), (64, 40, 1, True), (128, 0, 2, False), (32, 0, 4, True)],
)
def test_values_and_all_gradients_are_those_of_torch(width, features, layers, hold, sine):
    weights = example(width, features, layers)
    found = results(lambda given: evaluate(plan_of(sine, hold=hold), given), weights)
    exact = results(lambda given: evaluate_plainly(sine, given), weights, torch.float64)
    # Double precision is the judge: torch's own float32 is as far from it.
    assert largest_error(found, exact) < (2e-6 if DEVICE.type == "cpu" else 2e-5)


@pytest.mark.parametrize(("width", "features"), [(32, 20), (64, 0)])
def test_factors_are_rounded_to_bfloat16_where_that_is_asked(width, features):
    weights = example(width, features, 2)
    found = results(lambda given: evaluate(plan_of(False, HALF), given), weights)
    exact = results(lambda given: evaluate_plainly(False, given, rounded=True), weights, torch.float64)
    assert largest_error(found[:1], exact[:1]) < 1e-4
    assert largest_error(found, exact) < 2e-2  # gradients are rounded at other places
    unrounded = results(lambda given: evaluate_plainly(False, given), weights, torch.float64)
    assert largest_error(found[:1], unrounded[:1]) > 1e-3


def test_features_that_need_no_gradient_get_none(monkeypatch):
    weights, asked, backward = example(32, 20, 1), [], fused.run_backward

    def watched(plan, given, gradient, to_source):
        found = backward(plan, given, gradient, to_source)
        asked.append(to_source)
        assert (found[1] is not None) == to_source
        return found

    monkeypatch.setattr(fused, "run_backward", watched)
    everything = results(lambda given: evaluate(plan_of(False), given), weights)
    found = results(lambda given: evaluate(plan_of(False), given), weights, fixed=("source",))
    assert asked == [True, False]
    assert all(torch.equal(one, other) for one, other in zip(found, [*everything[:2], *everything[3:]], strict=True))


@pytest.mark.parametrize(("width", "features"), [(32, 20), (32, 0)])
def test_results_do_not_depend_on_how_the_work_is_cut(width, features):
    weights = example(width, features, 1, num_x=37)
    once, again, other = (
        results(lambda given, cut=cut: evaluate(plan_of(True, block=cut[0], programs=cut[1]), given), weights)
        for cut in ((16, 6), (16, 6), (64, 2))
    )
    assert all(torch.equal(one, same) for one, same in zip(once, again, strict=True))
    assert largest_error(other, [one.double() for one in once]) < 1e-5


def test_sines_and_cosines_are_good_to_rounding():
    phases = torch.linspace(-8192, 8192, 9001)
    table = torch.zeros(len(phases), 16)
    table[:, 0] = phases
    last = torch.zeros(17)
    last[0] = 1
    weights = Weights(torch.zeros(1, 16), table, torch.zeros(16, 0), torch.zeros(0, 16, 16), torch.zeros(0, 16), last)
    leaves = Weights(*(part.to(DEVICE) for part in weights))
    leaves.source.requires_grad_()
    values = evaluate(plan_of(True, block=1024 if DEVICE.type == "cpu" else 64), leaves)
    (slopes,) = torch.autograd.grad(values.sum(), leaves.source)
    assert float((values[0].detach().cpu() - phases.double().sin()).abs().max()) < 2e-7
    assert float((slopes[:, 0].cpu() - phases.double().cos()).abs().max()) < 2e-7


NETWORKS = {
    "feature-grid": lambda box, kernel: FeatureGrid(box, FeatureGridOptions(levels=3, kernel=kernel)),
    "siren": lambda box, kernel: Siren(box, SirenOptions(width=32, depth=3, kernel=kernel)),
    "relu-pe": lambda box, kernel: ReluPositional(box, ReluPositionalOptions(width=32, layers=4, kernel=kernel)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("small_slice", [0, 1 << 14], ids=["lines", "slices"])
def test_a_network_is_the_same_by_either_code(name, small_slice, monkeypatch):
    monkeypatch.setattr(fused_layers, "_SMALL_SLICE", small_slice)
    box = FieldBox((3, 4, 7))
    found = []
    for kernel in ("torch", "triton"):
        torch.manual_seed(0)
        network = NETWORKS[name](box, kernel).to(DEVICE)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape).to(DEVICE))
        values = network(box.lattice(1, 4, device=DEVICE))
        weight = torch.linspace(-1, 1, values.numel(), device=DEVICE).view_as(values)
        found.append([values.detach(), *torch.autograd.grad((values * weight).sum(), list(network.parameters()))])
        assert network.record() == {"kernel": kernel}
    assert largest_error(found[1], [part.double() for part in found[0]]) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_auto_is_torch_to_the_bit_without_a_gpu(name):
    box = FieldBox((3, 4, 7))
    values = []
    for kernel in ("auto", "torch"):
        torch.manual_seed(0)
        network = NETWORKS[name](box, kernel)
        values.append(network(box.lattice()))
        assert network.record() == {"kernel": "torch"}
    assert torch.equal(*values)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        ("siren", {"width": "48"}, r"option 'kernel' is 'triton': the kernels take a width of 16, 32, 64 or 128, not 48"),
        ("relu-pe", {"layers": "8"}, "at most 5 hidden layers, not 7"),
        ("feature-grid", {"activation": "gelu"}, "know relu and sine, not gelu"),
        ("feature-grid", {"levels": "12", "features": "16"}, "at most 128 features at a point, not 192"),
        ("feature-grid", {"kernel": "cuda"}, "'auto', 'torch' or 'triton'"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_in_a_line(network, settings, message):
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    with pytest.raises(UsageError, match=message) as caught:
        registry.resolve("network", network, {"kernel": "triton", **settings})
    assert "\n" not in str(caught.value)
    registry.resolve("network", network, {key: value for key, value in settings.items() if key != "kernel"})


def test_a_device_that_cannot_is_refused_in_a_line(monkeypatch):
    box = FieldBox((2, 2, 3))
    network = Siren(box, SirenOptions(width=16, depth=1, kernel="triton"))
    monkeypatch.setattr(kernel_choice, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match="triton is not installed: pip install triton"):
        network(box.lattice())
    monkeypatch.undo()
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(DeviceError, match="give --device cuda, or kernel=torch"):
        network(box.lattice())


def test_the_first_plan_that_computes_what_torch_does_is_taken(monkeypatch):
    good, fails = plan_of(False), Plan(False, "tf32x3", None, None)
    wrong = plan_of(False, HALF)  # good to the digits of bfloat16, not to those that are asked for
    monkeypatch.setattr(fused_trial, "plans_on", lambda *_: plans)
    choose = fused_trial.first_that_works.__wrapped__
    plans = [fails, wrong, good]
    assert choose(DEVICE, 1, 16, 0, False, "tf32x3") == (good, "")
    plans = [fails, wrong]
    found, reason = choose(DEVICE, 1, 16, 0, False, "tf32x3")
    assert found is None
    assert "results differ from torch's by" in reason
    plans = [fails]
    found, reason = choose(DEVICE, 1, 16, 0, False, "tf32x3")
    assert found is None
    assert "\n" not in reason
    assert reason


def test_a_kernel_that_does_not_work_is_left_alone_or_named(monkeypatch):
    monkeypatch.setattr(fused_trial, "first_that_works", lambda *_: (None, "no such thing"))
    monkeypatch.setattr(kernel_choice, "_unusable", lambda device: None)
    cuda = torch.device("cuda", 0)
    with pytest.warns(UserWarning, match="torch computes instead: no such thing"):
        assert kernel_choice.KernelChoice("auto", 64, 3, "relu").plan(cuda) is None
    with pytest.raises(PluginError, match="does not work here: no such thing; give kernel=torch"):
        kernel_choice.KernelChoice("triton", 64, 3, "relu").plan(cuda)
    # In float32 a block of the widest would not fit into registers: nothing is tried.
    assert kernel_choice.KernelChoice("auto", 128, 3, "relu").plan(cuda) is None
