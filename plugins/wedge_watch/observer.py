"""Write what `wedge watch` shows of a fit while it runs."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wedge.plugin_api import InputError, RunFiles, RunInfo, preview_of_slices, spectrum_message
from wedge_watch.budget import Budget
from wedge_watch.curves import Curves
from wedge_watch.options import WatchOptions
from wedge_watch.pace import Pace
from wedge_watch.process import memory, process

if TYPE_CHECKING:
    import torch

_FIRST_STEPS = 8  # a slice takes less than a step: after so many, a first one is within the budget
_MOST_POINTS, _SECONDS_PER_POINT = 192**3, 1e-7  # of a preview, and what coding and writing one takes
_POINT_SECONDS = 1.0
_AFTER_FAILURE_SECONDS = 60.0
_MOST_SAID = 40
_STOPPED_CODES = (75, 130, 143)

Previews = Mapping[str, Callable[[], "torch.Tensor"]]


class WatchObserver:
    """A state twice a second or less often, previews as the time allows.

    A thread writes the state, a sign of life, so that whoever reads it knows a fit that is slow from one that is gone.

    Notes
    -----
    All that it does counts, and previews wait until all is at most ``share`` of the fit's time.
    """

    def __init__(self, options: WatchOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        self._budget, self._curves, self._pace = Budget(options.share, clock), Curves(), Pace(clock)
        self._files: RunFiles | None = None
        self._run: RunInfo | None = None
        self._state: dict[str, Any] = {"state": "running", "stage": ["", 0, 0], "said": []}
        self._scalars: Mapping[str, torch.Tensor | float] = {}
        self._told, self._last_point, self._last_preview = clock(), -float("inf"), -float("inf")
        self._slice_seconds = self._volume_seconds = 0.0
        self._steps_seen, self._curves_changed = 0, False
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def prepare(self, run_dir: str) -> None:
        """Open the folder, and show that there is a fit."""
        with self._budget.spending():
            self._files = RunFiles(Path(run_dir) / "watch")
            self._files.prepare()
            self._state |= {**process(), "beat_seconds": self._options.beat_seconds, "beat": 0}
            self._write_state()
            self._thread = threading.Thread(target=self._live, name="wedge-watch", daemon=True)
            self._thread.start()

    def start(self, run: RunInfo) -> None:
        """Take what is known of the fit now; a resumed one goes on with its curves."""
        if self._files is None:
            self.prepare(run.run_dir)
        with self._budget.spending(), self._lock:
            self._run = run
            if run.first_step and self._files is not None:
                # Curves that are damaged begin anew.
                with suppress(InputError):
                    self._curves.load(self._files.curves() or {}, run.first_step)
            self._pace.begin(run.first_step, run.num_steps)
            self._state |= {"step": run.first_step, "num_steps": run.num_steps, "device": run.device, "method": run.config.get("method")}

    def say(self, text: str) -> None:
        """Keep what is going on."""
        with self._budget.spending(), self._lock:
            self._told = self._clock()
            self._state["said"] = [*self._state["said"], text][-_MOST_SAID:]

    def stage(self, name: str, done: int, total: int) -> None:
        """Keep which part of the work is under way."""
        with self._budget.spending(), self._lock:
            self._told = self._clock()
            self._state["stage"] = [name, done, total]

    def progress(self, done: int, total: int) -> None:
        """Keep how far the fit is."""
        with self._budget.spending(), self._lock:
            self._told = self._clock()
            self._pace.reach(done, total)

    def step(self, step: int, scalars: Mapping[str, "torch.Tensor | float"]) -> None:
        """Keep the scalars; once a second, and where there is a held-out error, they are points of the curves."""
        now = self._clock()
        self._told, self._scalars, self._steps_seen = now, scalars, self._steps_seen + 1
        if now - self._last_point >= _POINT_SECONDS or "held_out" in scalars:
            # Waiting for the device is the fit's time, not ours.
            values = {name: float(value) for name, value in scalars.items()}
            with self._budget.spending(), self._lock:
                self._curves.add(step, values)
                self._state |= {"scalars": self._state.get("scalars", {}) | values}
                self._last_point, self._curves_changed = now, True
        self._state["step"] = step

    def preview(self, step: int, previews: Previews) -> None:
        """Do nothing: `offer` comes more often."""

    def offer(self, step: int, previews: Previews) -> None:
        """Write a preview where it is time for one and there is room for it."""
        if self._run is None or self._files is None or self._clock() - self._last_preview < self._options.seconds:
            return
        if not self._budget.has_room_for(self._slice_seconds + self._volume_seconds):
            return
        if not self._volume_seconds and self._steps_seen < _FIRST_STEPS and "spectrum_xz" in previews and self._scalars:
            return
        if loss := next(iter(self._scalars.values()), None):
            float(loss)  # all that is queued on a device is done before the clock starts
        with self._budget.spending():
            try:
                self._make_preview(step, previews, self._run, self._files)
            except Exception as error:
                # As where the device has no room for one: numbers and signs of life go on, and another one is tried later.
                self._note_failure(f"no preview: {' '.join(str(error).split()) or type(error).__name__}")

    def _make_preview(self, step: int, previews: Previews, run: RunInfo, files: RunFiles) -> None:
        spectrum, begun = None, self._clock()
        if "spectrum_xz" in previews:
            image = previews["spectrum_xz"]().cpu().numpy()
            spectrum = spectrum_message(image, run.geometry.tilt_angles_deg)
            self._slice_seconds = self._clock() - begun
            if not self._volume_seconds and run.volume_shape is not None:
                # Not known yet: as long for each point as the slice took.
                points = min(_MOST_POINTS, _product(run.volume_shape))
                expected = points * (self._slice_seconds / image.size + _SECONDS_PER_POINT)
                if not self._budget.has_room_for(self._slice_seconds + expected):
                    self._volume_seconds = expected
                    return
        begun = self._clock()
        slices = previews["volume"]().cpu().numpy() * run.density_scale
        counts = slices.shape[1], slices.shape[0], slices.shape[2]
        shape = run.volume_shape or run.geometry.volume_shape
        spacing = tuple(full / count for full, count in zip(shape, counts, strict=True))
        made = preview_of_slices(slices, (spacing[0], spacing[1], spacing[2]), run.geometry.voxel_size_angstrom)
        files.write_preview(made, spectrum)
        with self._lock:
            self._state["preview"] = {"step": step, "what": _what(run, self._state["stage"][0], step)}
            self._state.pop("note", None)
        self._volume_seconds, self._last_preview = self._clock() - begun, self._clock()

    def _note_failure(self, note: str) -> None:
        with self._lock:
            self._state["note"] = note
        self._last_preview = self._clock() + _AFTER_FAILURE_SECONDS

    def end(self, summary: Mapping[str, Any]) -> None:
        """Write that the fit has ended."""
        self._close({"state": "ended", "summary": {key: summary[key] for key in ("steps", "seconds") if key in summary}})

    def failed(self, error: BaseException) -> None:
        """Write why the fit has ended."""
        stopped = getattr(error, "exit_code", 1) in _STOPPED_CODES or isinstance(error, KeyboardInterrupt)
        text = " ".join(str(error).split()) or type(error).__name__
        self._close({"state": "interrupted" if stopped else "failed", "error": text})

    def _close(self, last: dict[str, Any]) -> None:
        last |= {"stage": ["", 0, 0]} if last["state"] == "ended" else {}
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5.0)
        with self._lock:
            self._state |= last
        self._write_state()
        self._run = None

    def _live(self) -> None:
        """Write the state again and again."""
        while not self._ended.wait(self._options.beat_seconds):
            begun = time.thread_time()
            self._write_state()
            self._budget.add(time.thread_time() - begun)

    def _write_state(self) -> None:
        if self._files is None:
            return
        now = self._clock()
        with self._lock:
            self._state["beat"] = self._state.get("beat", 0) + 1
            state = self._state | self._pace.to_json() | memory(self._run.device if self._run else "")
            state |= {"written": time.time(), "quiet_seconds": round(now - self._told, 2), "watching_seconds": round(self._budget.spent, 3)}
            curves = self._curves.to_json() if self._curves_changed else None
            self._curves_changed = False
        try:
            if curves is not None:
                self._files.write_curves(curves)
            self._files.write_state(state)
        except OSError:
            self._curves_changed = True  # a full disk may have room again later; the fit itself will say so if not


def _product(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]


def _what(run: RunInfo, stage: str, step: int) -> str:
    method = run.config.get("method")
    if method == "adaptive":
        return f"rows solved so far, of {run.num_steps}"
    if method == "restore":
        return "what the network has restored, with what the views show beyond it, of the rows solved so far"
    if method == "stack":
        return "the sum of the stack" if stage.startswith("writing") else f"the fit of the stack under way, at step {step}"
    return f"the field at step {step}"
