"""Options of the ``astra`` projector and its probes; ASTRA itself is not imported here."""

import subprocess
import sys
from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AstraProjectorOptions(BaseModel):
    """Options of the ``astra`` projector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["joseph", "strip"] = Field(
        "joseph", description="joseph: linear interpolation; strip: exact shadows of voxels, on the CPU only"
    )


def probe() -> str | None:
    """Return None, or what is missing."""
    if find_spec("astra") is None:
        return "astra-toolbox is not installed: pip install 'wedge-tomo[astra]'"
    return None


def probe_cuda(device_index: int = 0) -> str | None:
    """Return None, or why ASTRA cannot use this GPU.

    Asked of an interpreter of its own: without a usable GPU a CUDA call of ASTRA ends the process, whatever its feature list says. Some
    failures are silent, so a small projection has to come out right as well.
    """
    trial = (
        "import sys, numpy, astra\n"
        "if not astra.use_cuda(): sys.exit('ASTRA finds no usable GPU')\n"
        f"astra.set_gpu_index({int(device_index)})\n"
        "volume = astra.create_vol_geom(4, 4, 2)\n"
        "views = astra.create_proj_geom('parallel3d', 1.0, 1.0, 2, 4, numpy.zeros(1))\n"
        "out = numpy.full((2, 1, 4), numpy.nan, dtype=numpy.float32)\n"
        "projector = astra.create_projector('cuda3d', views, volume)\n"
        "astra.projector3d.direct_FP(projector, numpy.ones((2, 4, 4), dtype=numpy.float32), out=out)\n"
        "if not numpy.allclose(out, 4, atol=1e-3): sys.exit('a trial projection came out wrong')\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", trial], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "a trial projection did not end within 120 s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines and done.returncode > 0 else f"a trial projection ended its process with status {done.returncode}"
