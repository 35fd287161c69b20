"""Which way to launch the kernels works on a device: each is tried on a few points, and its results are compared with torch's."""

from functools import cache

import torch

from wedge_networks.fused import Launch, Plan, Weights, evaluate_plainly, run_backward, run_forward

_TOLERANCES = {"tf32x3": 1e-4, "tf32": 0.1, "bfloat16": 5e-2, "rounded": 5e-2}
"""Norm of an error relative to that of the result; phases near zero may change sides of a relu."""

_INTERPRETED = Launch(128, 4, True, 3)  # the interpreter takes a program at a time: few and large ones


@cache
def first_that_works(device: torch.device, layers: int, width: int, features: int, sine: bool, precision: str) -> tuple[Plan | None, str]:
    """Return the first plan that computes what torch does, else None and why the last one doesn't; see `misfit` for the sizes."""
    reason = ""
    for plan in plans_on(device, width, sine, precision):
        try:
            found = _worst_error(plan, _example(device, layers, width, features, plan.forward.block))
        except Exception as error:  # of whatever compiles or launches it: shared memory that is too small, among others
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        if found <= _TOLERANCES[precision]:
            return plan, ""
        reason = f"results differ from torch's by {found:.1g} of their norm"
    return None, reason


def plans_on(device: torch.device, width: int, sine: bool, precision: str) -> list[Plan]:
    """Return the plans worth trying on a device, the best first."""
    if device.type == "cpu":
        return [Plan(sine, precision, _INTERPRETED, _INTERPRETED)]
    return plans(width, sine, precision, torch.cuda.get_device_properties(device).multi_processor_count)


def plans(width: int, sine: bool, precision: str, multiprocessors: int) -> list[Plan]:
    """Return the plans worth trying, the best first.

    Notes
    -----
    Blocks are what a program's registers hold, by the compiler's report for compute capability 9.0. A program's sums are as large as the
    weights: there are no more programs than run at once. Where shared memory is small, weights are read again for every line.
    """
    if width <= 32:
        forward, backward = [(128, 4, True), (64, 4, False)], [(64, 4, True), (32, 4, False)]
    elif precision == "bfloat16":
        forward, backward = _IN_BFLOAT16[width]
    else:
        forward, backward = _IN_FLOAT32[width]
    return [
        Plan(sine, precision, Launch(*ahead, 4 * multiprocessors), Launch(*back, multiprocessors * max(1, 8 // back[1])))
        for ahead, back in zip(forward, backward, strict=True)
    ]


_Cut = tuple[int, int, bool]  # points of a block, warps, whether weights are held

_IN_BFLOAT16: dict[int, tuple[list[_Cut], list[_Cut]]] = {
    64: ([(128, 8, True), (64, 4, False)], [(64, 4, True), (32, 4, False)]),
    128: ([(64, 8, True), (64, 8, False)], [(32, 8, False), (16, 8, False)]),
}
_IN_FLOAT32: dict[int, tuple[list[_Cut], list[_Cut]]] = {
    64: ([(128, 8, True), (64, 8, False)], [(32, 8, False), (16, 4, False)]),
    128: ([(32, 8, False), (16, 8, False)], [(16, 8, False), (16, 8, False)]),
}


def _example(device: torch.device, layers: int, width: int, features: int, block: int) -> Weights:
    """Return random weights and points: two rows of three lines, a block and a part of one long."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    num_x, deep = block + 16, (2 / width) ** 0.5
    return Weights(
        *(
            part.to(device)
            for part in (
                random(width) if features else random(6, width),
                random(2, features, 3, num_x) if features else random(num_x, width),
                random(width, features, scale=max(1, features) ** -0.5),
                random(layers, width, width, scale=deep),
                random(layers, width),
                random(width + 1, scale=deep),
            )
        )
    )


def _worst_error(plan: Plan, weights: Weights) -> float:
    """Return the largest error of the values and of all gradients against torch in double precision, relative to their norms."""
    rounded = plan.precision in ("bfloat16", "rounded")
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(weights.source.device.type, enabled=False):
        exact = Weights(*(part.double().requires_grad_() for part in weights))
        expected = evaluate_plainly(plan.sine, exact, rounded)
        used = [index for index, part in enumerate(exact) if part.numel()]
        arriving = torch.cos(torch.arange(expected.numel(), device=expected.device)).view_as(expected)
        gradients = torch.autograd.grad(expected, [exact[index] for index in used], arriving.double())
    found = run_backward(plan, weights, arriving, True)
    pairs = [(run_forward(plan, weights), expected.detach()), *((found[index], of) for index, of in zip(used, gradients, strict=True))]
    # Not by max(): it may pass over what is not a number.
    return float(torch.stack([(one - other).norm() / other.norm() for one, other in pairs if one is not None]).max())
