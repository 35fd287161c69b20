"""The command line: which subcommands there are, and what becomes of errors. Subcommands are imported when chosen."""

from __future__ import annotations

import errno
import inspect
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from wedge import __version__
from wedge.errors import (
    DeviceError,
    InputError,
    InterruptedRunError,
    PluginError,
    TerminatedError,
    UsageError,
    WedgeError,
    is_out_of_memory,
)

if TYPE_CHECKING:
    from wedge.registry import Registry

COMMANDS = {
    "simulate-spheres": ("wedge.cli.simulate_spheres", "Write a phantom of hollow spheres and its tilt series."),
    "import": ("wedge.cli.import_", "Turn a foreign tilt series into a store."),
    "align": ("wedge.cli.align", "Align the views of a tilt series on one another."),
    "check-geometry": ("wedge.cli.check_geometry", "Find what is wrong with the geometry of a tilt series."),
    "preprocess": ("wedge.cli.preprocess", "Make real views ready: bad pixels, gold, intensities, dose."),
    "fbp": ("wedge.cli.fbp", "Reconstruct by filtered backprojection."),
    "reconstruct": ("wedge.cli.reconstruct", "Reconstruct by fitting a coordinate network."),
    "restore": ("wedge.cli.restore", "Learn from two halves to fill the missing wedge."),
    "watch": ("wedge.cli.watch", "Show a run or a volume on a page of this machine."),
    "batch": ("wedge.cli.batch", "Run a command over many tilt series."),
    "plan": ("wedge.cli.plan", "Tell what a reconstruction will take."),
    "average": ("wedge.cli.average", "Average volumes, and tell their spread."),
    "evaluate": ("wedge.cli.evaluate", "Measure volumes against a reference or a tilt series."),
    "report": ("wedge.cli.report", "Show volumes side by side in one file for the browser."),
    "export": ("wedge.cli.export", "Write a volume in a foreign format."),
    "picture": ("wedge.cli.picture", "Draw orthoslices and power spectra of volumes as a PNG."),
    "view": ("wedge.cli.view", "Show volumes in napari, neuroglancer, ChimeraX or 3dmod."),
    "info": ("wedge.cli.info", "Tell what a file or store holds."),
    "plugins": ("wedge.cli.plugins", "List, show and check plugins."),
    "cache": ("wedge.cli.cache", "Tell what is cached, or clear it."),
    "benchmark": ("wedge.cli.benchmark", "Measure quality, time and memory on this machine."),
    "demo": ("wedge.cli.demo", "Run the whole pipeline on a small phantom."),
}
"""Subcommand: its module, and its line in the help. The module holds ``command``, a function, or ``app``, a Typer app."""


class LazyGroup(TyperGroup):
    """The group of subcommands: lists them without importing any, those of plugins included."""

    _registry: Registry | None = None

    def registry(self) -> Registry:
        """Return the plugins, loaded once."""
        if self._registry is None:
            from wedge.registry import Registry

            self._registry = Registry.load()
        return self._registry

    def list_commands(self, ctx: Any) -> list[str]:
        """Return wedge's own subcommands and then those of plugins."""
        return [*COMMANDS, *(name for name in self.registry().names("command") if name not in COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return a stand-in that knows its summary; `resolve_command` returns the real one."""
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        summaries = {entry.component.name: entry.component.summary for entry in self.registry().entries("command")}
        return TyperCommand(cmd_name, help=summaries[cmd_name]) if cmd_name in summaries else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the chosen subcommand."""
        name = args[0]
        if name in COMMANDS:
            module = import_module(COMMANDS[name][0])
            return name, _make_command(name, getattr(module, "app", None) or module.command), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        from wedge.options import suggestion
        from wedge.registry import load_target, unavailable

        if name not in self.registry().names("command") and not any(name == plugin.name for plugin in self.registry().broken):
            raise UsageError(f"unknown command {name!r}: {suggestion(name, self.list_commands(ctx), 'command')}")
        entry = self.registry().find("command", name)
        if reason := unavailable(entry):
            raise PluginError(f"{entry.title} is not available: {reason}")
        return name, _make_command(name, load_target(entry, entry.component.target)), args[1:]


def _make_command(name: str, target: Any) -> Any:
    """Make a command of a function or of a Typer app; its options are also read from ``WEDGE_<OPTION>``."""
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, help=inspect.cleandoc(target.__doc__ or "").split("\n\nParameters\n")[0])(target)
    made = typer.main.get_command(app)
    made.name = name
    for each in (made, *getattr(made, "commands", {}).values()):
        each.context_settings = {**each.context_settings, "help_option_names": ["-h", "--help"]}
        for option in (parameter for parameter in each.params if isinstance(parameter, TyperOption)):
            option.envvar = option.envvar or "WEDGE_" + max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            option.show_envvar = False
    return made


def _print_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"wedge {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="wedge", cls=LazyGroup, add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback(epilog="Every option of a command can be an environment variable: WEDGE_DEVICE=cpu stands for --device cpu.")
def root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Reconstruct electron tomograms from limited-angle tilt series without missing-wedge artefacts."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are told on stderr in one line each."""
    args = list(arguments)
    end = args.index("--") if "--" in args else len(args)
    debug = "--debug" in args[:end] or os.environ.get("WEDGE_DEBUG", "") not in ("", "0")
    args = [a for a in args[:end] if a != "--debug"] + args[end:]
    try:
        with _signals(), _plain_warnings():
            group = typer.main.get_command(app)
            with group.make_context("wedge", args or ["--help"]) as context:
                group.invoke(context)
            sys.stdout.flush()
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        told = _blamed(error, as_wedge_error(error))
        hint = "" if debug or told.exit_code != 1 else "; run it again with --debug to see where, and report it"
        if str(told):
            print(f"wedge: error: {' '.join(str(told).split())}{hint}", file=sys.stderr)
        return told.exit_code


def main() -> None:
    """Run the command line of this process and leave it."""
    sys.exit(run(sys.argv[1:]))


def as_wedge_error(error: BaseException) -> WedgeError:
    """Turn any error into one that has an exit code and says in one line what is wrong."""
    if isinstance(error, WedgeError):
        return error
    if isinstance(error, typer.TyperException):
        if error.format_message().endswith("is not readable."):  # bad input, not wrong usage; Typer looks at paths before any command
            return InputError(f"{error.format_message().rstrip('.')}; check its permissions")
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context is not None else ""
        return UsageError(f"{error.format_message().rstrip('.')}{where}")
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return InterruptedRunError("interrupted from the keyboard")
    if is_out_of_memory(error):
        return DeviceError(f"out of memory: {error or 'the machine has no more'}; give a smaller --max-memory")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"{error.filename or 'the output'}: no space left on the disk; make room and run it again")
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(f"{error.filename}: {error.strerror}; check the path and its permissions")
    return WedgeError(f"{type(error).__name__}: {error}")


def _blamed(error: BaseException, told: WedgeError) -> WedgeError:
    """Return what to tell about an error: a fault that nobody foresaw is the plugin's in whose code it arose."""
    if type(told) is not WedgeError or isinstance(error, WedgeError):
        return told
    from wedge.blame import plugin_fault
    from wedge.registry import Registry

    return plugin_fault(error, Registry.load()) or told


def _terminate(number: int, frame: Any) -> None:
    """Answer SIGTERM with an error, so that what is open is cleaned up."""
    raise TerminatedError("ended by SIGTERM; nothing was kept")


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGTERM into an error while a command runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show each warning as one line on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"wedge: warning: {' '.join(str(message).split())}", file=sys.stderr)
        yield


def _silence_stdout() -> None:
    """Keep the interpreter from complaining at exit that nobody reads stdout any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
