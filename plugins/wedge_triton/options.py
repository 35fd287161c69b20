"""Options of the ``triton`` projector, and whether it can work here."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TritonProjectorOptions(BaseModel):
    """Options of the ``triton`` projector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["strip", "joseph"] = Field("strip", description="strip: exact shadows of voxels; joseph: linear interpolation, faster")


def interprets() -> bool:
    """Return whether kernels are interpreted on the CPU: for tests, for it is slow."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def probe() -> str | None:
    """Return why the projector cannot work here, or None."""
    import torch

    if torch.cuda.is_available() or interprets():
        return None
    return "torch finds no CUDA GPU here (with TRITON_INTERPRET=1 the kernels run on the CPU, slowly, to be tested)"
