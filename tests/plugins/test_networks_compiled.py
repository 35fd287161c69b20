"""The fused kernels compile for GPUs, also where there is none, and find room in their shared memory."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# In a process of its own: here kernels may be interpreted, which Triton decides when it is imported.
CODE = """
import json, sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from wedge_networks.fused_kernels import backward_kernel, forward_kernel
from wedge_networks.fused_trial import plans

for capability, which, width, features, layers, sine, precision in json.loads(sys.argv[1]):
    plan = plans(width, sine, precision, 100)[which]
    for kernel, launch in ((forward_kernel, plan.forward), (backward_kernel, plan.backward)):
        constants = {
            "LAYERS": layers, "WIDTH": width, "CHANNELS": features, "PADDED": 32, "BLOCK": launch.block, "SINE": sine,
            "PRECISION": precision, "HOLD": launch.hold, "TO_SOURCE": True,
        }
        constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
        half = ("first", "matrices") if precision == "bfloat16" else ()
        counts = ("num_lines", "num_z", "num_x", "tiles", "lines_each")
        kinds = {
            name: "constexpr" if name in constants else "i32" if name in counts else "*bf16" if name in half else "*fp32"
            for name in kernel.arg_names
        }
        aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(kinds.values()) if kind.startswith("*")}
        made = compile(
            ASTSource(kernel, signature=kinds, constexprs=constants, attrs=aligned),
            target=GPUTarget("cuda", capability, 32), options={"num_warps": launch.num_warps, "num_stages": 1},
        )
        print(made.metadata.shared)
"""
CASES = [
    # Compute capability, the first or the last plan, width, features, layers, sine, precision; then KiB of shared memory that there are.
    (90, 0, 32, 20, 1, False, "bfloat16", 227),
    (90, 0, 64, 0, 3, False, "bfloat16", 227),
    (90, 0, 64, 0, 1, True, "tf32x3", 227),
    (86, -1, 128, 0, 1, False, "bfloat16", 99),
]


@pytest.mark.skipif(find_spec("triton") is None, reason="no triton")
def test_kernels_compile_and_fit(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", CODE, json.dumps([case[:-1] for case in CASES])]
    done = subprocess.run(command, env={**environ, "TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used = [int(line) / 1024 for line in done.stdout.split()]
    assert len(used) == 2 * len(CASES)
    assert all(kib <= case[-1] for kib, case in zip(used, [case for case in CASES for _ in range(2)], strict=True)), used
