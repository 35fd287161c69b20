"""Damaged metadata: whatever a byte or a value becomes, a store or a record gives a result or one line, soon and in little memory."""

import json
import shutil
import time

import numpy as np
import pytest
import zarr

from wedge import formats
from wedge.cli.info import _lines
from wedge.describe import describe
from wedge.errors import WedgeError
from wedge.formats.mrc_values import bytes_between
from wedge.geometry import TiltGeometry
from wedge.provenance import peak_memory_bytes
from wedge.slabs import read_sinograms, read_slices
from wedge.store import create_tilts, create_volume

SHAPE = (6, 37, 9)
GEOMETRY = TiltGeometry((-50.0, -20.5, 0.0, 10.0, 33.0, 60.0), (37, 9), (6, 37, 9), 3.25, acquisition_order=(4, 2, 0, 1, 3, 5))
STRANGE = [
    None, True, -1, 0, 1, 2.5, 10**9, 10**30, 10**400, 1e308, float("nan"), float("inf"), "", "x", "float64", "../..", [], {}, [[]],
    {"a": 1}, [1] * 40, [10**12, 10**12, 10**12], ["a", None, {}], "0" * 5000,
]  # fmt: skip
NUM_DAMAGES = 120


def finish(writer):
    with writer:
        writer.write_rows(0, np.ones((37, 6, 9), np.float32))
        writer.commit({"command": ["wedge", "fbp"], "seconds": 3.5, "versions": {"wedge": "1"}, "config": {"a": [1, 2]}})


def foreign(path, version):
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=SHAPE, chunks=(3, 16, 9), dtype="float32")[...] = 1.0
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    multiscale = {"axes": axes, "datasets": datasets}
    group.attrs.update(
        {"multiscales": [{"version": "0.4", **multiscale}]}
        if version == "0.4"
        else {"ome": {"version": "0.5", "multiscales": [multiscale]}}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    finish(create_volume(place / "v3.zarr", SHAPE, voxel_size_angstrom=6.5, tilt_angles_deg=(-60, 0, 60)))
    finish(create_volume(place / "v2.zarr", SHAPE, voxel_size_angstrom=6.5, tilt_angles_deg=(-60, 0, 60), ome_zarr="0.4"))
    finish(create_tilts(place / "t.zarr", GEOMETRY, simulated=True))
    foreign(place / "f4.zarr", "0.4")
    foreign(place / "f5.zarr", "0.5")
    finish(formats.create_volume(place / "v.mrc", SHAPE, values=bytes_between(0, 1), imod_axes=True, tilt_angles_deg=(-60, 0, 60)))
    finish(formats.create_tilts(place / "t.mrc", GEOMETRY))
    return place


def places(value, path=()):
    """Return the path of every value in a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inside for found in places(item, (*path, key)))]


def with_strange_value(document, draws):
    document = json.loads(document)
    paths = [path for path in places(document) if path]
    *outer, last = paths[draws.integers(len(paths))]
    target = document
    for key in outer:
        target = target[key]
    if draws.random() < 0.15:
        del target[last]
    else:
        target[last] = STRANGE[draws.integers(len(STRANGE))]
    return json.dumps(document).encode()


def with_strange_bytes(document, draws):
    content, at = bytearray(document), int(draws.integers(len(document)))
    kind = draws.integers(3)
    if kind == 0:
        return bytes(content[:at])
    if kind == 1:
        content[at] = draws.integers(256)
        return bytes(content)
    return bytes(content[:at] + b"[" * 3000 + content[at:])


def use(path):
    """Do with a file or store what the commands do with it."""
    if formats.kind_of(path) == "tilts":
        tilts = formats.open_tilts(path)
        read_sinograms(tilts, 0, min(2, tilts.array.shape[1]))
    else:
        volume = formats.open_volume(path)
        read_slices(volume, 0, min(2, volume.array.shape[1]))
    _lines(describe(path))


TARGETS = [
    ("v3.zarr", "zarr.json"), ("v3.zarr", "0/zarr.json"), ("v2.zarr", ".zattrs"), ("v2.zarr", ".zgroup"), ("v2.zarr", "0/.zarray"),
    ("t.zarr", "zarr.json"), ("t.zarr", "tilts/zarr.json"), ("f4.zarr", ".zattrs"), ("f4.zarr", "0/.zarray"), ("f5.zarr", "zarr.json"),
    ("f5.zarr", "0/zarr.json"), ("v.mrc", "../v.mrc.json"), ("t.mrc", "../t.mrc.json"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "file"), TARGETS, ids=[f"{name}-{file.strip('./').replace('/', '-')}" for name, file in TARGETS])
def test_damaged_metadata_gives_a_result_or_one_line(place, name, file):
    draws = np.random.default_rng(sum(f"{name}{file}".encode()))
    path, target = place / name, place / name / file if not file.startswith("../") else place / file[3:]
    sound, memory, slowest, refused = target.read_bytes(), peak_memory_bytes(), 0.0, 0
    use(path)
    try:
        for _ in range(NUM_DAMAGES):
            damage = with_strange_value if draws.random() < 0.75 else with_strange_bytes
            target.write_bytes(damaged := damage(sound, draws))
            begun, told = time.process_time(), None
            try:
                use(path)
            except WedgeError as error:
                refused += 1
                told = error
            except BaseException as error:
                raise AssertionError(f"{type(error).__name__}: {error} of {damaged[:3000]!r}") from error
            assert told is None or (told.exit_code in (2, 3) and "\n" not in str(told)), damaged
            slowest = max(slowest, time.process_time() - begun)
    finally:
        target.write_bytes(sound)
    use(path)
    assert slowest < 2
    assert peak_memory_bytes() - memory < 200 * 2**20
    assert refused or name.endswith(".mrc") or file == ".zgroup"


def test_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    foreign(tmp_path / "f.zarr", "0.5")
    metadata = json.loads((tmp_path / "f.zarr" / "0" / "zarr.json").read_text())
    for shape, chunks in (([6, 37, 10**9], [3, 16, 9]), ([6, 37, 10**9], [6, 37, 10**9])):
        metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"] = shape, chunks
        (tmp_path / "f.zarr" / "0" / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(WedgeError, match="bytes of values and holds"):
            formats.open_volume(tmp_path / "f.zarr")
    shutil.rmtree(tmp_path / "f.zarr")
