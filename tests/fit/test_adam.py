"""The fit's Adam is torch's, less what it imports."""

import subprocess
import sys

import pytest
import torch

from wedge.fit.adam import Adam

START = torch.linspace(-1, 1, 12).reshape(3, 4)


def run(kind: type[torch.optim.Adam], steps: int, state: dict | None = None, start: torch.Tensor = START, fused: bool = True) -> tuple:
    """Fit the two halves of a plane to a slope, each at a rate of its own."""
    halves = [torch.nn.Parameter(half.clone()) for half in start.split(2)]
    groups = [{"params": [half], "lr": rate, "relative": 1.0} for half, rate in zip(halves, (0.1, 0.03), strict=True)]
    optimizer = kind(groups, lr=0.1, betas=(0.95, 0.99), eps=1e-4, fused=fused or None)
    if state:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        sum(((half - 0.3) ** 3).abs().sum() for half in halves).backward()
        optimizer.step()
    return torch.cat(halves).detach(), optimizer.state_dict()


@pytest.mark.parametrize("fused", [True, False])
def test_its_steps_and_its_state_are_those_of_torch_to_the_bit(fused):
    (ours, state), (theirs, expected) = (run(kind, 7, fused=fused) for kind in (Adam, torch.optim.Adam))
    assert not torch.equal(ours, START)
    assert torch.equal(ours, theirs)
    assert state["param_groups"] == expected["param_groups"]
    for index, moments in expected["state"].items():
        assert moments.keys() == state["state"][index].keys()
        assert all(torch.equal(value, state["state"][index][name]) for name, value in moments.items())


def test_it_goes_on_from_its_state():
    half, state = run(Adam, 3)
    assert torch.equal(run(Adam, 4, state, half)[0], run(Adam, 7)[0])


def test_no_fit_loads_the_compiler():
    code = (
        "import sys, torch\nfrom wedge.fit.adam import Adam\nplace = torch.nn.Parameter(torch.ones(3))\n"
        "adam = Adam([place], fused=True)\nplace.grad = torch.ones(3)\nadam.step()\nadam.zero_grad()\n"
        "adam.load_state_dict(adam.state_dict())\n"
        "assert float(place.detach()[0]) < 1\nassert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
