"""Where a run is, as a page shows it. Files are read and nothing else: no lock is taken, and any of them may be missing or damaged."""

import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wedge.errors import InputError
from wedge.output import partial_path
from wedge.pages.heartbeat import Heartbeat
from wedge.pages.known_state import known
from wedge.pages.result import ResultPicture, made_until
from wedge.pages.run_files import FOLDER, RunFiles
from wedge.pages.subject import Subject
from wedge.pages.unobserved import checkpoint_facts, logged_curves, stored_method

_SETTINGS_FILES = ("--config", "--preset", "--quality")
_NOT_RESUMED = ("--overwrite", "--resume", "--stop-now")
_TEXTS = {
    "waiting": "no sign of life since this page looks; the next one is waited for",
    "stalled": "stalled: there has been no sign of life for longer than it should take",
    "gone": "the process of the fit is gone without a word: killed, perhaps for want of memory",
}


class RunState:
    """Looks at a run again and again.

    Parameters
    ----------
    subject
        What to look at.
    heartbeat
        Judges whether the fit lives.
    shows_result
        Whether the result takes the place of the last preview when the fit has ended.
    """

    def __init__(self, subject: Subject, heartbeat: Heartbeat | None = None, shows_result: bool = True) -> None:
        self.subject, self._shows_result = subject, shows_result
        self._files = RunFiles(subject.run_dir / FOLDER) if subject.run_dir is not None else None
        self._heartbeat = heartbeat or Heartbeat()
        self._result: ResultPicture | None = None
        self._state: dict[str, Any] | None = None
        self._preview: tuple[str, bytes | None] = ("", None)
        self._notes: dict[str, str] = {}
        self._lock = threading.Lock()

    def look(self) -> dict[str, Any]:
        """Return plain data: ``state`` and what is known, ``notes`` on what is damaged, ``missing``, and ``versions`` of the pictures."""
        with self._lock:
            found = self._look()
            picture = self._result
            found["title"] = self.subject.title
            found["notes"] = list(self._notes.values())
            if picture is not None:
                found |= {"result": True, "picture": picture.error or picture.note, "facts": picture.facts}
            found["versions"] = {name: self._version(name) for name in ("preview", "spectrum", "curves")}
            return found

    def _look(self) -> dict[str, Any]:
        state = self._read_state()
        if state is None:
            return self._unobserved()
        found = {key: value for key, value in state.items() if key != "place"}
        told = state["state"]
        if told == "running":
            life = self._heartbeat.judge(state)
            found |= {"state": "running", "text": ""} if life == "alive" else {"state": life, "text": _TEXTS[life]}
        if found["state"] in ("interrupted", "failed", "gone") and (resume := self._resume_command(state)):
            found["resume"] = resume
        if told == "ended":
            self._show_result(state)
            waits = self._shows_result and self._result is None
            found["text"] = "the fit has ended; its result is not there yet" if waits else "the fit has ended"
        return found

    def _read_state(self) -> dict[str, Any] | None:
        if self._files is None:
            return None
        try:
            state = self._files.state()
            if state is not None and "state" not in (state := known(state)):
                raise InputError(f"{self._files.folder} holds a damaged state: it does not say whether the fit runs")
            self._notes.pop("state", None)
        except InputError as error:
            # What was last read is better than nothing: the next one comes soon.
            self._notes["state"] = str(error)
            return self._state
        self._state = state
        return state

    def _unobserved(self) -> dict[str, Any]:
        """Say what there is of a run that was not watched, or of a volume alone."""
        run_dir = self.subject.run_dir
        facts = checkpoint_facts(run_dir) if run_dir is not None else None
        if facts is None and self.subject.output.exists() and not partial_path(self.subject.output).exists():
            self._show_result({})
            return {"state": "volume" if run_dir is None else "ended", "text": "" if run_dir is None else "the fit has ended"}
        if run_dir is None or not run_dir.exists():
            return {"state": "missing", "text": f"{run_dir or self.subject.output} is there no more"}
        if "state" in self._notes:
            return {"state": "unobserved", "text": "what this fit tells of itself cannot be read", "method": stored_method(run_dir)}
        text = "a fit that nobody watches; whether it runs is not known"
        if facts:
            text += f"; its last checkpoint is of step {facts['step']}"
        missing = ["previews, progress, memory: it was started without --watch or --observer watch"]
        return {"state": "unobserved", "text": text, "missing": missing, "method": stored_method(run_dir), **(facts or {})}

    def _show_result(self, state: Mapping[str, Any]) -> None:
        """Make the picture of the output if it is the one of this run, and not an older one that is about to be replaced."""
        path = self.subject.output
        if not self._shows_result or partial_path(path).exists():
            return
        until, written = made_until(path), state.get("written")
        # Both by the clock of the fit's machine; an older result was there before the fit began.
        if until is not None and written is not None and until < written - max(1.0, state.get("seconds", 0.0) / 2):
            return
        try:
            inside = path / "zarr.json"
            changed = max((each.stat().st_mtime_ns for each in (path, inside, path / ".zattrs") if each.exists()), default=None)
        except OSError:
            return
        if changed is None:
            return
        key = f"{changed:x}"
        if self._result is None or self._result.key != key:
            self._result = ResultPicture(path, key)

    def _resume_command(self, state: Mapping[str, Any]) -> str | None:
        run_dir, command = self.subject.run_dir, state.get("command")
        if run_dir is None or not isinstance(command, list) or checkpoint_facts(run_dir) is None:
            return None
        return shlex.join([*resumed(command), "--resume"])

    def settle(self, seconds: float) -> None:
        """Wait until a result that is being read can be shown."""
        if (picture := self._result) is not None:
            picture.wait(seconds)

    def stamp(self) -> str:
        """Return a word that changes when `look` has something new to say, but for the age of what it says."""
        files = self._files.stamp("state", "curves", "preview") if self._files is not None else ""
        picture = self._result
        return f"{files} {picture.version if picture else ''} {self.subject.output.exists()}"

    def _version(self, name: str) -> str | None:
        picture = self._result
        if picture is not None and name != "curves":
            there = picture.preview if name == "preview" else picture.spectrum
            if there is not None:
                return f"result-{name}-{picture.key}"
        if name == "curves" and (self._files is None or self._files.stamp(name) == "none"):
            log = self.subject.run_dir / "log.jsonl" if self.subject.run_dir is not None else None
            return f"log-{log.stat().st_mtime_ns:x}" if log is not None and log.exists() else None
        if self._files is None or (stamp := self._files.stamp(name)) == "none":
            return None
        return stamp

    def data(self, name: str) -> tuple[str, Any] | None:
        """Return the version and the content of ``preview`` (bytes), ``spectrum`` or ``curves`` (plain data); None where there is none."""
        with self._lock:
            version = self._version(name)
            picture = self._result
            if version is None:
                return None
            if version.startswith("result") and picture is not None:
                return version, picture.preview if name == "preview" else picture.spectrum
            if version.startswith("log") and self.subject.run_dir is not None:
                return version, logged_curves(self.subject.run_dir)
            return self._from_files(name, version)

    def _from_files(self, name: str, version: str) -> tuple[str, Any] | None:
        if self._files is None:
            return None
        try:
            if name != "preview":
                found = self._files.spectrum() if name == "spectrum" else self._files.curves()
                self._notes.pop(name, None)
                return None if found is None else (version, found)
            if self._preview[0] != version:
                self._preview = version, self._files.preview()
                self._notes.pop(name, None)
        except InputError as error:
            self._notes[name] = str(error)
            if name != "preview":
                return None
        return None if self._preview[1] is None else (self._preview[0], self._preview[1])


def resumed(command: Sequence[Any]) -> list[str]:
    """Return a command without what a fit that goes on refuses."""
    kept, skip = [], False
    for word in map(str, command):
        if not skip and word.partition("=")[0] not in (*_SETTINGS_FILES, *_NOT_RESUMED):
            kept.append(word)
        skip = not skip and word in _SETTINGS_FILES
    return kept


def run_state_of(path: Path) -> RunState:
    """Return what watches ``path``; errors as of `find_subject`."""
    from wedge.pages.subject import find_subject

    return RunState(find_subject(path))
