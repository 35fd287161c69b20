"""``wedge view`` from the command line, with programs that only write down what they are asked."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wedge import formats

SHAPE = (5, 7, 6)
ARRAY = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
ARRAY[:, 3:, :] += 20
FAKE = '#!/bin/sh\nprintf \'%s\\n\' "$@" > "$0.args"\necho chatter\nexit ${FAKE_CODE:-0}\n'


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a volume as a store, as MRC files of both orders and in bytes; a cache; a PATH on which nothing is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    for name, options in [("a.zarr", {}), ("b.mrc", {}), ("imod.mrc", {"imod_axes": True})]:
        with formats.create_volume(name, SHAPE, voxel_size_angstrom=5.0, **options) as writer:
            writer.write_rows(0, np.ascontiguousarray(ARRAY.transpose(1, 0, 2)))
            writer.commit({})
    return tmp_path


@pytest.fixture
def install(files: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program on PATH that writes down its arguments; returns where."""

    def put(name: str) -> Path:
        program = files / "bin" / name
        program.write_text(FAKE)
        program.chmod(0o755)
        return program

    monkeypatch.setattr("shutil.which", lambda name: str(files / "bin" / name) if (files / "bin" / name).exists() else None)
    return put


def arguments(program: Path) -> list[str]:
    return Path(f"{program}.args").read_text().splitlines()


def test_nothing_installed_is_a_line_that_says_what_to_install(wedge, install) -> None:
    refused = wedge("view", "a.zarr")
    assert refused.code == 4
    assert all(word in refused.error for word in ("napari", "neuroglancer", "chimerax", "3dmod", "wedge report", "wedge picture"))
    refused = wedge("view", "a.zarr", "--with", "3dmod")
    assert refused.code == 4
    assert "3dmod is not installed" in refused.error


def test_the_first_that_is_installed_is_taken(wedge, install) -> None:
    install("3dmod")
    assert json.loads(wedge("view", "b.mrc", "--print", "--json").out)["viewer"] == "3dmod"
    install("chimerax")
    assert json.loads(wedge("view", "b.mrc", "--print", "--json").out)["viewer"] == "chimerax"
    install("napari")
    assert json.loads(wedge("view", "b.mrc", "--print", "--json").out)["viewer"] == "napari"


def test_packages_are_found_without_being_imported(wedge, install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("neuroglancer", "napari"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("raise RuntimeError('imported')")
        monkeypatch.syspath_prepend(tmp_path / "site")
        told = json.loads(wedge("view", "a.zarr", "--print", "--json").out)
        assert told["viewer"] == name
        assert told["command"][0] == sys.executable


def test_3dmod_gets_sections_along_z_and_the_contrast(wedge, install) -> None:
    program = install("3dmod")
    done = wedge("view", "b.mrc", "--with", "3dmod", "--contrast", -1.5, 22)
    assert done.code == 0, done.err
    assert arguments(program) == ["-xyz", "-s", "-1.5,22", str(Path("b.mrc").absolute())]
    assert shlex.split(done.out) == [str(program), *arguments(program)]
    assert "chatter" in done.err


@pytest.mark.parametrize(("source", "options"), [("a.zarr", ()), ("imod.mrc", ()), ("b.mrc", ("--voxel-size", 8))])
def test_where_a_file_would_be_read_wrong_a_right_copy_is_made_once(wedge, install, source: str, options: tuple) -> None:
    program = install("3dmod")
    done = wedge("view", source, "--with", "3dmod", *options)
    copy = Path(arguments(program)[-1])
    assert str(copy) in done.err
    assert copy.parent.parent == Path("cache").absolute()
    volume = formats.open_volume(copy)
    assert np.array_equal(volume.array[:], ARRAY)
    assert volume.voxel_size_angstrom == pytest.approx(8 if options else 5)
    assert sorted(path.suffix for path in copy.parent.iterdir()) == [".mrc"]
    again = wedge("view", source, "--with", "3dmod", *options)
    assert arguments(program)[-1] == str(copy)
    assert str(copy) not in again.err
    assert json.loads(wedge("cache", "--clear", "--json").out)["files"] == 1


def test_a_volume_that_changed_is_copied_anew(wedge, install) -> None:
    program = install("3dmod")
    wedge("view", "a.zarr", "--with", "3dmod")
    before = arguments(program)[-1]
    with formats.create_volume("a.zarr", SHAPE, voxel_size_angstrom=5.0, overwrite=True) as writer:
        writer.write_rows(0, np.ascontiguousarray(2 * ARRAY.transpose(1, 0, 2)))
        writer.commit({})
    wedge("view", "a.zarr", "--with", "3dmod")
    assert arguments(program)[-1] != before
    assert np.array_equal(formats.open_volume(arguments(program)[-1]).array[:], 2 * ARRAY)


def test_chimerax_gets_commands_with_the_voxel_size(wedge, install) -> None:
    program = install("chimerax")
    assert wedge("view", "b.mrc", "a.zarr", "--contrast", 0, 20).code == 0
    (script,) = arguments(program)
    lines = Path(script).read_text().splitlines()
    opened = [shlex.split(line) for line in lines if line.startswith("open ")]
    assert opened[0] == ["open", str(Path("b.mrc").absolute()), "format", "mrc", "name", "b.mrc"]
    assert np.array_equal(formats.open_volume(opened[1][1]).array[:], ARRAY)
    assert opened[1][-1] == "a.zarr"
    assert "volume #1 voxelSize 5 originIndex 0,0,0" in lines
    # ChimeraX counts x first.
    assert any("level 0,0 level 20,1 orthoplanes xyz positionPlanes 3,3,2" in line for line in lines)
    (surface,) = [float(line.split()[-1]) for line in lines if "#2 style surface" in line]
    assert 3 < surface < 17


@pytest.mark.parametrize("name", [b"two\nlines.mrc", b"no text \xff.mrc"], ids=["lines", "bytes"])
def test_any_name_of_a_file_can_be_shown(wedge, install, name: bytes) -> None:
    """A name is one word of a command: no line of it is another command."""
    path = Path(os.fsdecode(name))
    Path("b.mrc").rename(path)
    Path("b.mrc.json").rename(f"{path}.json")
    program = install("chimerax")
    assert wedge("view", path).code == 0
    lines = os.fsdecode(Path(arguments(program)[0]).read_bytes()).splitlines()
    assert [line.split()[0] for line in lines] == ["#", "open", "volume", "volume", "#", "view", "view"]
    words = shlex.split(lines[1])
    assert np.array_equal(formats.open_volume(words[1]).array[:], ARRAY)
    assert words[-1] == " ".join(str(path).splitlines())


RECORDING_NAPARI = """
import atexit, json
import numpy as np
layers = []
class Viewer:
    def __init__(self, title):
        self.dims = self.scale_bar = type("Anything", (), {})()
    def add_image(self, data, multiscale, name, scale, contrast_limits, units=None, **options):
        levels = [np.asarray(level[:]).tolist() for level in (data if multiscale else [data])]
        layers.append(dict(levels=levels, name=name, scale=scale, contrast=contrast_limits, units=units))
def run():
    print(json.dumps(layers))
"""


def ran(script: str, package: str, source: str, tmp_path: Path) -> list[dict]:
    """Run a script with a package that writes down what it is asked."""
    (tmp_path / "fakes").mkdir(exist_ok=True)
    (tmp_path / "fakes" / f"{package}.py").write_text(source)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "fakes")}
    done = subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_script_for_napari_shows_the_voxels_with_their_size(wedge, install, tmp_path: Path) -> None:
    program = install("napari")
    Path('q"""u\\o.mrc').write_bytes(Path("b.mrc").read_bytes())
    assert wedge("view", "a.zarr", "b.mrc", "imod.mrc", 'q"""u\\o.mrc', "--contrast", -2, 20).code == 0
    layers = ran(arguments(program)[0], "napari", RECORDING_NAPARI, tmp_path)
    assert [layer["name"] for layer in layers] == ["a.zarr", "b.mrc", "imod.mrc", 'q"""u\\o.mrc']
    for layer in layers:
        assert np.array_equal(np.float32(layer["levels"][0]), ARRAY)
        assert layer["scale"] == pytest.approx([5.0] * 3)
        assert layer["units"] == ["angstrom"] * 3
        assert layer["contrast"] == [-2, 20]


def test_the_script_for_napari_takes_coarser_copies(wedge, install, tmp_path: Path) -> None:
    program = install("napari")
    long = np.random.default_rng(0).standard_normal((2, 4, 600)).astype(np.float32)
    with formats.create_volume("long.zarr", long.shape) as writer:
        writer.write_rows(0, np.ascontiguousarray(long.transpose(1, 0, 2)))
        writer.commit({})
    assert wedge("view", "long.zarr").code == 0
    (layer,) = ran(arguments(program)[0], "napari", RECORDING_NAPARI, tmp_path)
    assert [np.shape(level) for level in layer["levels"]] == [(2, 4, 600), (1, 2, 300), (1, 1, 150)]
    assert (layer["scale"], layer["units"]) == ([1.0] * 3, None)


RECORDING_NEUROGLANCER = """
import contextlib, json, time
import numpy as np
addresses = []
def set_server_bind_address(address): addresses.append(address)
def CoordinateSpace(names, units, scales): return dict(names=names, units=units, scales=scales)
def LocalVolume(data, dimensions, volume_type): return dict(data=np.asarray(data[:]).tolist(), dimensions=dimensions)
def ImageLayer(source, shader): return dict(source=source, shader=shader)
class Layers(list):
    def append(self, name, layer, visible): super().append(dict(name=name, visible=visible, **layer))
class Viewer:
    layers = Layers()
    @contextlib.contextmanager
    def txn(self): yield self
    def get_viewer_url(self): return json.dumps([addresses, self.dimensions, self.layers])
def stop(seconds): raise KeyboardInterrupt
time.sleep = stop
import webbrowser
webbrowser.open = lambda url: None
"""


def test_the_script_for_neuroglancer_serves_the_voxels_on_the_loopback(wedge, install, tmp_path: Path) -> None:
    command = shlex.split(wedge("view", "a.zarr", "imod.mrc", "--with", "neuroglancer", "--print").out)
    addresses, dimensions, layers = ran(command[-1], "neuroglancer", RECORDING_NEUROGLANCER, tmp_path)
    assert addresses == ["127.0.0.1"]
    assert dimensions == {"names": ["x", "y", "z"], "units": ["nm"] * 3, "scales": [0.5] * 3}
    assert [layer["visible"] for layer in layers] == [True, False]
    for layer in layers:
        assert np.array_equal(np.float32(layer["source"]["data"]), ARRAY)
        assert layer["source"]["dimensions"] == {"names": ["z", "y", "x"], "units": ["nm"] * 3, "scales": [0.5] * 3}
        assert "range=[" in layer["shader"]


def test_a_printed_command_starts_nothing(wedge, install) -> None:
    program = install("3dmod")
    assert wedge("view", "b.mrc", "--print").out.startswith(f"{program} -xyz -s ")
    assert not Path(f"{program}.args").exists()
    done = wedge("view", "b.mrc", "--print", "--with", "chimerax")
    assert done.code == 0
    assert done.out.startswith("chimerax ")
    assert "chimerax is not installed here" in done.err


def test_a_program_that_fails_is_told_in_a_line(wedge, install, monkeypatch: pytest.MonkeyPatch) -> None:
    program = install("3dmod")
    monkeypatch.setenv("FAKE_CODE", "3")
    failed = wedge("view", "b.mrc")
    assert failed.code == 4
    assert "3dmod ended with exit code 3" in failed.error
    program.write_text("#!/nowhere/sh\n")
    failed = wedge("view", "b.mrc")
    assert failed.code == 4
    assert "3dmod cannot be started" in failed.error


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("a.zarr", "--with", "paint"), 2, "unknown program 'paint'"),
        (("a.zarr", "--with", "3dmod", "--contrast", 2, 1), 2, "expected the lower density first"),
        (("none.zarr", "--with", "3dmod"), 3, "none.zarr"),
        (("a.zarr", "--with", "3dmod", "--from-axes", "xyz"), 2, "--from-axes 'xyz'"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(wedge, install, options: tuple, code: int, message: str) -> None:
    install("3dmod")
    refused = wedge("view", *options)
    assert refused.code == code
    assert message in refused.error
