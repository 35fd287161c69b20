"""Laws of the optimizer of the network that restores."""

import pytest
import torch

from wedge.restore.muon import Muon, orthogonal


def parameters() -> list[torch.nn.Parameter]:
    random = torch.Generator().manual_seed(3)
    shapes = (4, 1, 3, 3, 3), (4,), (8, 4, 3, 3, 3), (1, 8, 1, 1, 1)
    return [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


def stepped(scale: float, pace: float = 1.0, steps: int = 2) -> list[torch.Tensor]:
    """Return how far parameters move along gradients of a scale."""
    given, random = parameters(), torch.Generator().manual_seed(4)
    optimizer = Muon(given, 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        for each in given:
            each.grad = scale * torch.randn(each.shape, generator=random)
        optimizer.step(pace)
    return [each.detach() - before.detach() for each, before in zip(given, parameters(), strict=True)]


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (12, 12)])
def test_singular_values_become_alike_and_their_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * torch.logspace(-1, 1, shape[1])
    found = orthogonal(1e-3 * matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    made = left.T @ found @ right.T
    assert found.shape == shape
    sure = values > 0.03 * values.max()
    assert ((made.diagonal()[sure] > 0.6) & (made.diagonal()[sure] < 1.25)).all()
    assert (made - torch.diag(made.diagonal())).abs().max() < 1e-3


def test_of_no_gradient_comes_no_step():
    assert not orthogonal(torch.zeros(3, 7)).any()


def test_steps_do_not_depend_on_the_scale_of_the_loss():
    for one, other in zip(stepped(1.0), stepped(1e4), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_step_is_as_large_as_the_learning_rate_and_its_pace():
    moved = stepped(1.0, steps=1)
    values = torch.linalg.svdvals(moved[2].reshape(8, -1))
    assert ((values > 0.06) & (values < 0.125)).all()
    # What is no matrix moves as Adam would: its first step is as large everywhere.
    for index in (0, 1, 3):
        torch.testing.assert_close(moved[index].abs(), torch.full_like(moved[index], 0.005), rtol=1e-3, atol=1e-6)
    for one, half in zip(moved, stepped(1.0, pace=0.5, steps=1), strict=True):
        torch.testing.assert_close(half, one / 2, rtol=1e-4, atol=1e-6)


def test_moments_of_other_parameters_are_refused():
    optimizer = Muon(parameters(), 0.1)
    with pytest.raises(KeyError):
        Muon([*parameters(), torch.nn.Parameter(torch.ones(2, 2))], 0.1).load(dict(optimizer.moments()))


def test_gradients_are_averaged_over_steps_as_if_the_next_were_as_the_last():
    matrix, bias, random = torch.nn.Parameter(torch.zeros(6, 9)), torch.nn.Parameter(torch.zeros(6)), torch.Generator().manual_seed(5)
    optimizer = Muon([matrix, bias], 0.1)
    average, expected = torch.zeros(6, 9), torch.zeros(6, 9)
    for _ in range(4):
        matrix.grad, bias.grad = torch.randn(6, 9, generator=random), torch.zeros(6)
        average = 0.9 * average + 0.1 * matrix.grad
        expected -= 0.1 * orthogonal(0.9 * average + 0.1 * matrix.grad)
        optimizer.step(1.0)
    torch.testing.assert_close(matrix.detach(), expected, rtol=1e-3, atol=1e-5)
