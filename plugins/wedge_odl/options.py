"""Options of the ``odl`` projector and its probe; ODL itself takes seconds to import and is not imported here."""

from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class OdlProjectorOptions(BaseModel):
    """Options of the ``odl`` projector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["joseph", "strip"] = Field("joseph", description="joseph: linear interpolation; strip: exact shadows of voxels")


def probe() -> str | None:
    """Return None, or what is missing."""
    for module, distribution in (("odl", "odl"), ("astra", "astra-toolbox")):
        if find_spec(module) is None:
            return f"{distribution} is not installed: pip install 'wedge-tomo[odl]'"
    return None
