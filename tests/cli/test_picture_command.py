"""``wedge picture`` from the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from wedge import formats

SHAPE = (6, 9, 8)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a volume as a store and as an MRC file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.zarr", "b.mrc"):
        with formats.create_volume(name, SHAPE, voxel_size_angstrom=5.0, tilt_angles_deg=(-40.0, 0.0, 40.0)) as writer:
            writer.write_rows(0, np.random.default_rng(0).standard_normal((9, 6, 8)).astype(np.float32))
            writer.commit({})
    return tmp_path


def size(path: str) -> tuple[int, int]:
    from matplotlib.image import imread

    assert Path(path).read_bytes().startswith(b"\x89PNG")
    height, width = imread(path).shape[:2]
    return height, width


def test_every_volume_is_a_column(wedge) -> None:
    done = wedge("picture", "a.zarr", "b.mrc", "-o", "two.png", "--pixels", 150)
    assert (done.code, done.out) == (0, "two.png\n")
    assert size("two.png")[1] == 300
    told = json.loads(wedge("picture", "a.zarr", "-o", "one.png", "--no-spectrum", "--planes", "zx", "--at", 0, 8, 7, "--json").out)
    assert told == {"output": "one.png", "volumes": ["a.zarr"], "at": [0, 8, 7], "planes": ["zx"], "spectrum": False}
    height, width = size("one.png")
    assert width == 480
    assert height < 480
    assert sorted(path.name for path in Path().iterdir()) == ["a.zarr", "b.mrc", "b.mrc.json", "one.png", "two.png"]


def test_store_and_file_look_alike(wedge) -> None:
    for name, source in (("store", "a.zarr"), ("file", "b.mrc")):
        assert wedge("picture", source, "-o", f"{name}.png", "--title", "same", "--pixels", 120).code == 0
    assert Path("store.png").read_bytes() == Path("file.png").read_bytes()


def test_options_change_what_is_drawn(wedge) -> None:
    pictures = set()
    for options in [
        (),
        ("--invert",),
        ("--contrast", -1, 4),
        ("--at", 0, 0, 0),
        ("--planes", "zx"),
        ("--no-spectrum",),
        ("--title", "other"),
    ]:
        assert wedge("picture", "a.zarr", "-o", "a.png", "--pixels", 120, "--overwrite", *options).code == 0
        pictures.add(Path("a.png").read_bytes())
    assert len(pictures) == 7


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("-o", "a.jpg"), 2, "expected a name that ends in .png"),
        (("-o", "there.png"), 5, "output exists: there.png"),
        (("-o", "no/a.png"), 3, "folder of the output does not exist"),
        (("-o", "a.png", "--at", 6, 0, 0), 2, "--at 6 0 0 lies outside a.zarr, which has 6 x 9 x 8 voxels"),
        (("-o", "a.png", "--at", -1, 0, 0), 2, "--at -1 0 0 lies outside"),
        (("-o", "a.png", "--contrast", 2, 1), 2, "expected the lower density first"),
        (("-o", "a.png", "--contrast", "nan", 1), 2, "expected the lower density first"),
        (("-o", "a.png", "--contrast", 0, "inf"), 2, "expected the lower density first"),
        (("-o", "a.png", "--planes", "xy"), 2, "--planes 'xy': expected some of yx,zx,zy"),
        (("-o", "a.png", "--planes", "none", "--no-spectrum"), 2, "nothing to draw"),
        (("-o", "a.png", "--title", "1", "--title", "2"), 2, "2 times --title for 1 volumes"),
        (("-o", "a.png", "--pixels", 99), 2, "greater than or equal to 100"),
        (("-o", "a.png", "--pixels", 10**6), 2, "more than 32768 pixels"),
        (("-o", "a.png", "--from-axes", "imod"), 2, "axes of IMOD are for MRC files"),
    ],
)
def test_what_makes_no_picture_is_refused_in_a_line(wedge, options: tuple, code: int, message: str) -> None:
    Path("there.png").write_bytes(b"kept")
    refused = wedge("picture", "a.zarr", *options)
    assert refused.code == code
    assert message in refused.error
    assert Path("there.png").read_bytes() == b"kept"
    assert not Path("a.png").exists()


@pytest.mark.parametrize("name", [b"$x^$_{.mrc", b"no text \xff.mrc"], ids=["formula", "bytes"])
def test_any_name_of_a_file_is_a_title(wedge, name: bytes) -> None:
    path = Path(os.fsdecode(name))
    Path("b.mrc").rename(path)
    assert wedge("picture", path, "-o", "a.png", "--pixels", 100, "--from-axes", "zyx").code == 0
    assert size("a.png")[1] == 100


def test_no_part_of_a_picture_is_left_when_it_fails(wedge, monkeypatch: pytest.MonkeyPatch) -> None:
    from wedge import picture

    monkeypatch.setattr(picture, "spectrum_zx", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert wedge("picture", "a.zarr", "-o", "a.png").code == 130
    assert sorted(path.name for path in Path().iterdir()) == ["a.zarr", "b.mrc", "b.mrc.json"]
