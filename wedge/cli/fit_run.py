"""A fit from the command line: inputs opened, plugins resolved, outputs committed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wedge.cli.common import resolve_device, say
from wedge.cli.stopping import fit_progress, stop_on_signals
from wedge.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from wedge.align.before_fit import FitAlignment
    from wedge.cli.watching import FitPage
    from wedge.data import TiltSeries
    from wedge.fit.build import Plugins
    from wedge.fit.checkpoint import Progress
    from wedge.fit.config import FitConfig
    from wedge.fit.forecast import Forecast
    from wedge.fit.half_record import HalfRecord
    from wedge.fit.job import Reconstruction
    from wedge.output import Writer


@dataclass(frozen=True)
class Prepared:
    """All that a fit is made of, opened and resolved."""

    config: FitConfig
    plugins: Plugins
    tilts: TiltSeries
    half: TiltSeries | None
    inputs: dict[str, Any]
    device: torch.device
    limit: int | None
    given: TiltSeries
    given_half: TiltSeries | None
    alignment: FitAlignment | None = None


@dataclass(frozen=True)
class FitRun:
    """One reconstruction from the command line."""

    tilts: Path
    output: Path
    half: Path | None = None
    std: Path | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ("auto",)
    max_memory: str | None = None
    observers: tuple[str, ...] = ()
    resume: bool = False
    stop_now: bool = False
    checkpoint_seconds: float = 60.0
    overwrite: bool = False
    settled: Progress | None = None
    half_of: HalfRecord | None = None
    aligned_in: Path | None = None
    page: FitPage | None = None

    @property
    def run_dir(self) -> Path:
        """The folder of the fit, beside the output."""
        return self.output.with_name(self.output.name + ".run")

    def prepare(self, options: dict[str, Any], config_file: Path | None, preset: str | None, tell: Callable[[str], None] = say) -> Prepared:
        """Settle the configuration, import the plugins and open the inputs."""
        from wedge import formats
        from wedge.defaults import load_defaults
        from wedge.fit.settings import resolve_plugins
        from wedge.options import parse_choice
        from wedge.reading import over
        from wedge.registry import Registry
        from wedge.slabs import parse_memory

        registry = Registry.load()
        config, recorded = self.settings(options, config_file, preset)
        config, plugins = resolve_plugins(config, registry)
        observers = ({load_defaults()["watcher"]: {}} if self.page else {}) | dict(parse_choice(text) for text in self.observers)
        plugins.observers = {name: registry.resolve("observer", name, settings).build() for name, settings in observers.items()}
        limit, device = parse_memory(self.max_memory) if self.max_memory else None, resolve_device(self.devices[0])
        inputs = over(recorded, self.inputs)
        series = formats.open_tilts(self.tilts, **inputs, on_note=tell)
        half = formats.open_tilts(self.half, **inputs, on_note=tell) if self.half else None
        given, given_half, alignment = series, half, None
        if config.refine_alignment:
            from wedge.align.before_fit import FitAlignment

            found_in = self.aligned_in or (self.run_dir if self.resume else None)
            build = plugins.projector.build
            if self.half_of is not None and self.half_of.alignment:
                alignment = FitAlignment.of_record(self.half_of.alignment)
            else:
                alignment = FitAlignment.read(found_in) if found_in else FitAlignment.find(series, half, build, device, tell)
            series, half = alignment.move(series), None if half is None else alignment.move(half)
        return Prepared(config, plugins, series, half, inputs, device, limit, given, given_half, alignment)

    def refuse_changes(self, options: dict[str, Any], config_file: Path | None, preset: str | None) -> None:
        """Refuse other settings or inputs than those of the finished fit that this run is to go on from.

        Raises
        ------
        UsageError
            If a setting, or an option of reading, is another.
        InputError
            If the series or its second half is another.
        """
        from wedge import formats
        from wedge.fit.run_dir import refuse_other_input
        from wedge.output import plain_json
        from wedge.reading import over

        _, inputs = self.settings(options, config_file, preset)
        asked = over(inputs, plain_json(self.inputs))
        if changed := [key for key in self.inputs if asked.get(key) != inputs.get(key)]:
            raise UsageError(f"--resume reads {self.tilts} as {self.run_dir / 'config.json'} says: leave the option for {changed[0]} out")
        half = formats.open_tilts(self.half, **inputs) if self.half else None
        refuse_other_input(self.run_dir, formats.open_tilts(self.tilts, **inputs), half)

    def forecast(self, options: dict[str, Any], config_file: Path | None, preset: str | None) -> tuple[Forecast, torch.device]:
        """Predict the fit, and tell on which device."""
        import time

        from wedge.fit.begin import begin
        from wedge.fit.forecast import forecast

        begun = time.perf_counter()
        made = self.prepare(options, config_file, preset)
        job = begin(made.tilts, made.half, made.plugins, made.config, made.device, made.limit, say=say)
        return forecast(job, time.perf_counter() - begun, self.std is not None), made.device

    def execute(self, options: dict[str, Any], config_file: Path | None, preset: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fit, write and commit; return the fit's summary and the record of the run."""
        from wedge.fit.checkpoint import CHECKPOINT_NAME
        from wedge.fit.loop import StopRequest
        from wedge.fit.run_dir import prepare_run_dir, write_settled
        from wedge.provenance import RunClock

        clock = RunClock()
        if self.page is not None:
            self.page.follow(self.output)
        made = self.prepare(options, config_file, preset, self.page.tell if self.page else say)
        with ExitStack() as outputs:
            views = _views(made)
            writer, *others = [outputs.enter_context(each) for each in self._outputs(made.tilts, views["seen_angles_deg"])]
            prepare_run_dir(
                self.run_dir, made.given, made.config, half=made.given_half, resume=self.resume, overwrite=self.overwrite,
                input_options=made.inputs,
            )  # fmt: skip
            for kept in (made.alignment, self.half_of):
                if kept is not None and not self.resume:
                    kept.write(self.run_dir)
            if self.page is not None:
                self.page.begin(self.run_dir, self.output)
            stop = StopRequest()
            with stop_on_signals(stop), self._team(made, options, config_file, preset), fit_progress() as show:
                result = self._fit(
                    made, writer, others[0] if others else None, stop=stop, checkpoint_seconds=self.checkpoint_seconds, say=say,
                    on_progress=show,
                )  # fmt: skip
            settings = {"fit": result.config.model_dump(mode="json"), "input": made.inputs}
            record = clock.record(
                sys.argv,
                settings,
                seed=made.config.seed,
                inputs=self._input_paths(made.inputs),
                device=str(made.device),
                distributions=made.plugins.distributions,
            )
            summary = result.summary() | ({"alignment": made.alignment.summary} if made.alignment else {})
            more: dict[str, Any] = {"devices": list(self.devices)} if len(self.devices) > 1 else {}
            more |= {"half_of": self.half_of.whole, "half": self.half_of.to_json()} if self.half_of else {}
            for each in (*others, writer):
                each.commit(record | more | {"fit": summary, "views": views})
        write_settled(self.run_dir, result)
        # What a finished run leaves is the record and the log; its checkpoint would only take room.
        (self.run_dir / CHECKPOINT_NAME).unlink(missing_ok=True)
        return summary, record

    def _fit(self, made: Prepared, writer: Writer, std_writer: Writer | None, **options: Any) -> Reconstruction:
        from wedge.fit.reconstruct import reconstruct

        return reconstruct(
            made.tilts, writer, made.plugins, made.config, device=made.device, run_dir=self.run_dir, half=made.half,
            std_writer=std_writer, max_memory=made.limit, resume=self.resume, stop_now=self.stop_now, settled=self.settled,
            **options,
        )  # fmt: skip

    @contextmanager
    def _team(self, made: Prepared, options: dict[str, Any], config_file: Path | None, preset: str | None) -> Iterator[None]:
        """Lead a team of processes, one a device, where there are several devices."""
        if len(self.devices) == 1:
            yield
            return
        from wedge.fit.launch import followers
        from wedge.fit.team import membership

        follow = partial(_follow, replace(self, page=None), options, config_file, preset)
        with followers(follow, list(self.devices)) as store, membership(0, len(self.devices), store, made.device):
            say(f"on {len(self.devices)} devices: {', '.join(self.devices)}")
            yield

    def _outputs(self, tilts: TiltSeries, angles_deg: list[float]) -> list[AbstractContextManager[Writer]]:
        """Begin the volume and, where wanted, the spread."""
        from wedge import formats
        from wedge.formats.space import require_space

        geometry = tilts.geometry
        outputs = [path for path in (self.output, self.std) if path is not None]
        # A checkpoint of a voxel grid holds it and two moments of it, and is written beside the one before.
        beside = 2 * 3 * 4 * math.prod(geometry.volume_shape)
        require_space(outputs, geometry.volume_shape, beside_bytes=beside, on_note=say)
        return [
            formats.create_volume(
                path,
                geometry.volume_shape,
                voxel_size_angstrom=geometry.voxel_size_angstrom,
                tilt_angles_deg=tuple(angles_deg),
                overwrite=self.overwrite,
            )
            for path in outputs
        ]

    def _input_paths(self, inputs: dict[str, Any]) -> list[Path]:
        from wedge import formats

        return [path for path in (self.tilts, self.half, formats.angles_path(self.tilts, inputs.get("angles"))) if path is not None]

    def settings(self, options: dict[str, Any], config_file: Path | None, preset: str | None) -> tuple[FitConfig, dict[str, Any]]:
        """Return the configuration, and the recorded options of the input where an earlier run is repeated or continued."""
        from wedge.defaults import preset as load_preset
        from wedge.defaults import reconstruct_settings
        from wedge.fit.run_dir import stored_config, stored_inputs
        from wedge.fit.settings import left_to_the_data, merge, read_config_file, resolve_plugins, validate
        from wedge.registry import Registry

        if self.resume:
            stored = stored_config(self.run_dir)
            # With the options of plugins as they are stored: typed, and all of them.
            changed, _ = resolve_plugins(validate(merge([stored.model_dump(mode="json"), options])), Registry.load())
            if config_file or preset or changed != stored:
                raise UsageError(f"--resume continues the fit as {self.run_dir / 'config.json'} says: leave other settings out")
            return stored, stored_inputs(self.run_dir)
        if self.settled is not None:
            return validate(self.settled.settled), {}
        from_file, inputs = read_config_file(config_file) if config_file else ({}, {})
        layers = [reconstruct_settings(), load_preset(preset) if preset else {}, from_file, options]
        network = merge(layers)["network"]["name"]
        settings = merge([layers[0], reconstruct_settings(network), *layers[1:]])
        return validate(settings | left_to_the_data(settings, layers[1:])), inputs


def _views(made: Prepared) -> dict[str, Any]:
    """Return which views the fit sees, and which it does not, for the record."""
    from wedge.fit.hold_out import views_to_hold_out
    from wedge.formats.views import places_in_stack

    held = set(views_to_hold_out(made.tilts, made.config.hold_out, made.config.hold_out_views))
    places, angles = places_in_stack(made.tilts.array), made.tilts.geometry.tilt_angles_deg
    found: dict[str, Any] = {}
    for name, inside in (("seen", False), ("held_out", True)):
        chosen = [index for index in range(len(places)) if (index in held) == inside]
        found |= {f"{name}_places": [places[index] for index in chosen], f"{name}_angles_deg": [angles[index] for index in chosen]}
    return found


def _follow(
    run: FitRun, options: dict[str, Any], config_file: Path | None, preset: str | None, rank: int, store: Path, ready: Callable[[], None]
) -> None:
    """Take part in a fit that another process leads and writes."""
    from wedge.fit.team import membership

    size = len(run.devices)
    mine = replace(run, devices=(run.devices[rank],), observers=(), std=None, aligned_in=run.aligned_in or run.run_dir)
    made = mine.prepare(options, config_file, preset, lambda note: None)
    ready()
    with membership(rank, size, store, made.device):
        nowhere = cast("Writer", _Nowhere())
        mine._fit(made, nowhere, nowhere if run.std is not None else None)


class _Nowhere:
    """Takes the rows of who does not write."""

    def write_rows(self, y_start: int, slices: Any) -> None:
        """Leave them."""
