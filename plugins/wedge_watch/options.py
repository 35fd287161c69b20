"""Options of the observer ``watch``."""

from pydantic import BaseModel, ConfigDict, Field


class WatchOptions(BaseModel):
    """Options of `wedge_watch.observer.WatchObserver`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(10.0, ge=0, description="least time between two previews")
    share: float = Field(0.05, gt=0, le=0.05, description="largest share of the fit's time that previews take")
    beat_seconds: float = Field(2.0, ge=0.05, le=60, description="time between two signs of life")
