"""What a fit is told. Every value that changes the result is here; device and memory limit are not."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_STEPS_PER_PASS = 8
_MOST_STEPS = 4.0  # times those of a small volume: reached at eight million voxels


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ComponentChoice(_Frozen):
    """A plugin's component by name, with its options as plain data."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class RegularizerChoice(ComponentChoice):
    """A regularizer with the keys that the fit itself applies.

    ``weight`` changes geometrically to ``final_weight`` (default: the same) between the fraction ``start`` of the steps and the end;
    before ``start`` it is 0.
    """

    weight: float = Field(default=1e-3, ge=0)
    final_weight: float | None = Field(default=None, ge=0)
    start: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _both_or_neither_zero(self) -> "RegularizerChoice":
        if self.final_weight is not None and (self.weight == 0) != (self.final_weight == 0):
            raise ValueError("weight and final_weight must both be positive: the weight changes geometrically")
        return self


class DataTermConfig(_Frozen):
    """How the residual between measured and predicted sinograms is judged.

    ``weighting="ramp"`` multiplies the residual's power along the detector by ``|f| + ramp_floor`` (cycles per pixel), which undoes the
    ``1/|f|`` of projection and backprojection, so that all frequencies converge alike. ``rolloff`` divides it by ``1 + (f/rolloff)^4``,
    for noisy data.
    """

    loss: Literal["l2", "l1", "huber"] = "l2"
    huber_delta: float = Field(default=0.1, gt=0, description="Where Huber's loss turns linear, in units of the normalized residual")
    weighting: Literal["plain", "ramp"] = "ramp"
    ramp_floor: float = Field(default=0.005, ge=0, description="cycles per pixel")
    rolloff: float | None = Field(default=None, gt=0, description="cycles per pixel")


Tunable = Literal["blur_voxels", "regularizer", "weighting", "steps", "oversampling", "strength", "stack", "restore"]
"""What the data can choose; ``regularizer`` is the weight of the first one, ``steps`` are ``batch_rows`` and ``learning_rate``, ``stack``
is whether one fit is enough, ``restore`` whether a network learns from halves of the views first."""


class AdaptiveConfig(_Frozen):
    """The adaptive field: random density whose spectrum is the views' own and whose local strength follows the density found so far.

    ``strength`` multiplies the measured variance of the noise: more is smoother. ``smoothing_voxels`` is the standard deviation of the
    neighbourhood in which the local strength is measured.
    """

    strength: float = Field(default=2.0, gt=0)
    smoothing_voxels: float = Field(default=2.0, gt=0, le=16)
    rounds: int = Field(default=6, ge=1, le=100, description="how often the local strength is measured anew")
    iterations: int = Field(default=15, ge=1, le=1000, description="conjugate gradient steps of each round")
    floor: float = Field(default=0.05, ge=0, le=1, description="strength of empty places, as a fraction of the root mean square")


class RestoreConfig(_Frozen):
    """What halves of a specimen teach a network, see `wedge.restore`, and what the views add to it.

    ``cube`` is the edge in voxels of what the network sees at once: about two particles. First the network learns from the halves, and
    then, in ``own_share`` of the ``steps``, ``own_rounds`` times from what it has made so far, with noise, see `wedge.restore.lessons`.
    Where halves share more than ``clear_above`` of their power they teach it better than that: ``clear_steps`` are all from them. Of more
    than ``small_voxels`` voxels it takes more steps, for there is more to learn: from halves in proportion to the root of the voxels, up
    to four times as many, from what it has made half of that, where it is more.
    Where no more than ``other_side`` of what it has made lies on the other side of the background, density has one sign and the background
    is made flat, see `wedge.restore.one_sign`.
    ``strength``, ``rounds``, ``iterations`` and ``floor`` are those of the adaptive field of what the views show and the network does
    not, see `AdaptiveConfig`.
    """

    steps: int = Field(default=600, ge=1, le=10**6)
    clear_steps: int = Field(default=480, ge=1, le=10**6, description="where halves are clear")
    own_rounds: int = Field(default=2, ge=0, le=16, description="of learning from what was made; 0: from halves alone")
    own_share: float = Field(default=0.5, gt=0, lt=1, description="of the steps, in which it is learned from what was made")
    clear_above: float = Field(default=0.6, ge=0, le=1, description="mean over shells, see `wedge.restore.halves.Units`; 1: never")
    other_side: float = Field(default=0.2, ge=0, le=0.5, description="of the background, of density with one sign; 0: none is told so")
    small_voxels: int = Field(default=2**19, ge=0, description="of the rows that are learned from; 0: no more steps for more of them")
    cube: int = Field(default=40, ge=16, le=256)
    channels: int = Field(default=12, ge=1, le=256, description="features of the finest layer")
    batch: int = Field(default=2, ge=1, le=1024, description="cubes of a step")
    learning_rate: float = Field(default=0.02, gt=0, description="singular values of a step, see `wedge.restore.muon`")
    strength: float = Field(default=8.0, gt=0)
    rounds: int = Field(default=4, ge=1, le=100)
    iterations: int = Field(default=30, ge=1, le=1000)
    floor: float = Field(default=0.3, ge=0, le=1)

    def parts_for(self, common: float, voxels: int, ways: int = 1) -> list[int]:
        """Return the steps from halves of so many voxels that share so much of their power, and those of each round that follows.

        Halved in several ways they teach as many steps of each.
        """
        more = min(_MOST_STEPS, math.sqrt(voxels / self.small_voxels)) if self.small_voxels else 1.0
        if common > self.clear_above:
            return [round(self.clear_steps * ways * max(1.0, more))]
        rounds = min(self.own_rounds, self.steps - 1)
        each = max(1, int(self.own_share * self.steps) // max(1, rounds))
        from_halves = max(self.steps - rounds * each, round((1 - self.own_share) * self.steps * more))
        return [ways * from_halves, *[round(each * max(1.0, more / 2))] * rounds]

    def beyond(self, adaptive: AdaptiveConfig) -> AdaptiveConfig:
        """Return the adaptive field of what the network leaves, in all else like another one."""
        names = ("strength", "rounds", "iterations", "floor")
        return adaptive.model_copy(update={name: getattr(self, name) for name in names})


class FitConfig(_Frozen):
    """A whole fit.

    ``method`` is the kind of field: ``network``; ``adaptive``, see `AdaptiveConfig`; ``stack``, see `wedge.fit.stack_run`; ``restore``, see
    `wedge.fit.restore_run`; or ``auto``: where density has both signs, restore, adaptive where there are too few views or voxels to learn
    from; where it has one, a stack in noise and a network without.
    ``tune`` names the settings that held-out views choose before the fit, see `wedge.fit.tuning`. ``blur_voxels`` is the standard deviation
    of a Gaussian that bounds the detail of the field. ``margin`` is how many voxels the field goes on beyond the volume on either side in
    x, ``auto``: as far as the tilted rays reach, where they carry density that the volume cannot explain. ``perturbation`` is the share of
    the measured noise that each seed adds anew: what the views decide stays the same over seeds, and their spread shows the rest.

    ``refine_alignment`` shifts and turns the views until each agrees with what the others predict, and then together with the density, see
    `wedge.align.refine`.

    ``batch_rows`` is the logical batch: every optimizer step sees that many y-rows, however many fit into memory at once; ``auto`` is an
    eighth of them, so that volumes of any height, and trials on some rows, take the same steps.
    ``passes`` counts how often each row is seen. From the fraction ``oversampling_start`` of the steps on the field is projected from
    ``oversampling`` points per voxel along z and x; the result is the mean over each voxel.
    """

    method: Literal["auto", "network", "adaptive", "stack", "restore"] = "network"
    tune: tuple[Tunable, ...] = ()
    network: ComponentChoice
    projector: ComponentChoice
    regularizers: tuple[RegularizerChoice, ...] = ()
    data_term: DataTermConfig = DataTermConfig()
    adaptive: AdaptiveConfig = AdaptiveConfig()
    restore: RestoreConfig = RestoreConfig()
    blur_voxels: float = Field(default=0.0, ge=0, le=8)
    margin: Literal["auto"] | int = 0
    perturbation: float = Field(default=0.0, ge=0, le=1)
    refine_alignment: bool = False
    passes: float = Field(default=100.0, gt=0, le=1e6)
    batch_rows: Literal["auto"] | Annotated[int, Field(ge=1)] = 16
    oversampling: int = Field(default=1, ge=1, le=4, description="points per voxel along z and along x")
    oversampling_start: float = Field(default=0.6, ge=0, le=1, description="fraction of the steps")
    coarse_start: float = Field(
        default=0.0, ge=0, le=10, description="steps of the coarser volumes that the fit begins with, relative to its own; 0: with nothing"
    )
    learning_rate: float = Field(default=0.01, gt=0)
    schedule: Literal["cosine", "constant", "exponential"] = "cosine"
    final_learning_rate: float = Field(default=0.02, gt=0, le=1, description="as a fraction of learning_rate")
    decay: float = Field(default=1.0, gt=0, le=1, description="fraction of the steps, the last ones, in which the learning rate falls")
    warmup: float = Field(default=0.02, ge=0, lt=1, description="fraction of the steps in which the learning rate rises linearly")
    adam_betas: tuple[float, float] = (0.9, 0.99)
    gradient_floor: float = Field(
        default=0.0, ge=0, description="gradients below this, in units of one over the voxels of a batch, make small steps"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    capture: Literal["auto", "off"] = Field(
        default="off", description="on a GPU, record the step that most others are like, and do it again without launching its parts"
    )
    positivity: Literal["auto", "on", "off"] = "auto"
    offset: Literal["auto", "none"] | float = "auto"
    hold_out: float = Field(
        default=0.0, ge=0, lt=0.9, description="fraction of the tilts that the fit does not see and reports the error of"
    )
    hold_out_views: Literal["extremes"] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="further views that the fit does not see: places in the stack, or the outermost at either end"
    )
    seed: int = Field(default=0, ge=0)

    @property
    def fitted_margin(self) -> int:
        """Voxels on either side of the fitted box that do not belong to the volume; 0 where that is not settled yet."""
        return 0 if self.margin == "auto" else int(self.margin)

    def rows_per_step(self, num_rows: int) -> int:
        """Return the y-rows of one optimizer step of a fit of ``num_rows``."""
        rows = math.ceil(num_rows / _STEPS_PER_PASS) if self.batch_rows == "auto" else self.batch_rows
        return min(rows, num_rows)
