"""``wedge evaluate`` from the command line: tables, JSON, series, and bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.formats import create_volume
from wedge.geometry import TiltGeometry

SHAPE = (24, 12, 28)
ANGLES = tuple(float(angle) for angle in range(-60, 61, 12))


def write_volume(path: Path, array: np.ndarray, **known) -> Path:
    with create_volume(path, array.shape, **known) as writer:
        writer.write_rows(0, np.ascontiguousarray(array.transpose(1, 0, 2), dtype=np.float32))
        writer.commit({})
    return path


def write_tilts(path: Path, rows: int = SHAPE[1]) -> Path:
    geometry = TiltGeometry(ANGLES, (rows, SHAPE[2]), (SHAPE[0], rows, SHAPE[2]), pixel_size_angstrom=7.0)
    with store.create_tilts(path, geometry) as writer:
        writer.write_rows(0, np.random.default_rng(0).random((rows, len(ANGLES), SHAPE[2]), dtype=np.float32))
        writer.commit({})
    return path


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


@pytest.fixture
def files(tmp_path: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a reference, a good and a bad volume."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path / "cache"))
    noise = np.random.default_rng(1).standard_normal(SHAPE)
    write_volume(tmp_path / "truth.zarr", truth, voxel_size_angstrom=7.0)
    write_volume(tmp_path / "good.zarr", 10 * truth + 0.2 * noise, voxel_size_angstrom=7.0, tilt_angles_deg=ANGLES)
    write_volume(tmp_path / "bad.mrc", 10 * truth + 9 * noise, voxel_size_angstrom=7.0, tilt_angles_deg=ANGLES)
    return tmp_path


def test_table_has_a_row_for_each_volume_and_states_fit_and_range(files: Path, wedge) -> None:
    done = wedge("evaluate", "good.zarr", "bad.mrc", "--reference", "truth.zarr")
    assert done.code == 0, done.err
    header, good, bad, empty, *notes = done.out.splitlines()
    names = header.split()
    assert names[0] == "volume"
    assert {"correlation", "psnr", "ssim", "vif", "frc", "fsc", "fsc.cone", "fsc.wedge", "wedge-energy"} <= set(names)
    scores = [dict(zip(names, line.split(), strict=True)) for line in (good, bad)]
    assert [score["volume"] for score in scores] == ["good.zarr", "bad.mrc"]
    for name in ("psnr", "ssim", "vif", "frc", "fsc", "fsc.wedge"):
        assert float(scores[0][name]) > float(scores[1][name])
    assert empty == ""
    assert any(line.startswith("good.zarr: affine intensity fit 0.0") and "data range" in line for line in notes)
    assert any("z=24 and x=28 mirrored to the 41 voxels" in line for line in notes)


def test_json_is_the_whole_of_stdout_and_has_bands_and_provenance(files: Path, wedge) -> None:
    done = wedge("evaluate", "good.zarr", "--reference", "truth.zarr", "--json", "--metric", "fsc", "--metric", "vif:variant=study")
    result = json.loads(done.out)
    (found,) = result["volumes"]
    assert found["volume"] == "good.zarr"
    assert found["intensity_fit"]["kind"] == "affine"
    assert found["intensity_fit"]["scale"] == pytest.approx(0.1, rel=0.05)
    assert {"fsc", "fsc.wedge-0.25-0.5", "fsc.resolution-0.5-angstrom", "vif:variant=study"} <= found["values"].keys()
    assert "study variant" in found["notes"]["vif:variant=study"]
    assert result["provenance"]["inputs"][-1]["path"] == "truth.zarr"


def test_no_intensity_fit_is_stated_too(files: Path, wedge) -> None:
    done = wedge("evaluate", "good.zarr", "--reference", "truth.zarr", "--metric", "psnr", "--intensity-fit", "none")
    assert "no intensity fit" in done.out
    fitted = wedge("evaluate", "good.zarr", "--reference", "truth.zarr", "--metric", "psnr")
    assert float(fitted.out.splitlines()[1].split()[2]) > float(done.out.splitlines()[1].split()[2]) + 10


def test_series_and_curves_go_to_files(files: Path, wedge) -> None:
    arguments = ["evaluate", "good.zarr", "bad.mrc", "--reference", "truth.zarr", "--per-slice", "s.csv", "--curves", "c.json"]
    assert wedge(*arguments).code == 0
    with open("s.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * SHAPE[1]
    assert {"volume", "y", "psnr", "ssim", "vif", "frc", "wedge-energy"} == set(rows[0])
    assert [row["y"] for row in rows[: SHAPE[1]]] == [str(y) for y in range(SHAPE[1])]
    assert float(rows[0]["psnr"]) > float(rows[SHAPE[1]]["psnr"])
    curves = json.loads(Path("c.json").read_text())
    assert set(curves["volumes"][1]["curves"]["fsc"]["series"]) == {"whole", "cone", "wedge", "half-bit"}
    again = wedge(*arguments)
    assert again.code == 5
    assert again.err.count("\n") == 1
    assert wedge(*arguments, "--overwrite").code == 0


def test_details_list_every_value(files: Path, wedge) -> None:
    done = wedge("evaluate", "good.zarr", "bad.mrc", "--reference", "truth.zarr", "--details")
    listed = {line.split()[0]: line.split()[1:] for line in done.out.split("\n\n")[0].splitlines()[1:]}
    assert len(listed["fsc.cone-0.125-0.25"]) == 2
    assert "fsc.resolution-0.143-angstrom" in listed


def test_agreement_with_a_tilt_series_needs_no_reference(files: Path, truth: np.ndarray, wedge) -> None:
    import torch
    from wedge_torch.projector import TorchProjector, TorchProjectorOptions

    geometry = TiltGeometry(ANGLES, (SHAPE[1], SHAPE[2]), SHAPE)
    projector = TorchProjector(geometry, TorchProjectorOptions(cache=False), torch.device("cpu"))
    views = projector.project(torch.from_numpy(truth.transpose(1, 0, 2).copy())).numpy()
    with store.create_tilts("tilts.zarr", geometry) as writer:
        writer.write_rows(0, 3 * views + 40)
        writer.commit({})
    done = wedge(
        "evaluate", "truth.zarr", "bad.mrc", "--tilts", "tilts.zarr", "--projector-opt", "cache=false", "--json", "--curves", "c.json"
    )
    assert done.code == 0, done.err
    exact, bad = json.loads(done.out)["volumes"]
    assert exact["values"]["tilts.residual"] < 1e-3
    assert exact["values"]["tilts.correlation"] == pytest.approx(1)
    assert (exact["intensity_fit"]["scale"], exact["intensity_fit"]["offset"]) == pytest.approx((3, 40), rel=1e-2)
    assert bad["values"]["tilts.correlation"] < 0.9
    assert json.loads(Path("c.json").read_text())["volumes"][0]["curves"]["tilts"]["x"] == list(ANGLES)
    both = wedge(
        "evaluate", "truth.zarr", "--tilts", "tilts.zarr", "--reference", "good.zarr", "--metric", "fsc", "--projector-opt", "cache=false"
    )
    assert both.out.splitlines()[0].split() == [
        "volume",
        "correlation",
        "fsc",
        "fsc.cone",
        "fsc.wedge",
        "tilts.residual",
        "tilts.correlation",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["good.zarr"], 2, "--reference, --tilts or both"),
        (["good.zarr", "--tilts", "tilts.zarr", "--metric", "psnr"], 2, "give --reference too"),
        (["good.zarr", "--reference", "truth.zarr", "--metric", "psnrr"], 2, "psnr"),
        (["good.zarr", "--reference", "truth.zarr", "--metric", "vif:varian=study"], 2, "variant"),
        (["good.zarr", "--reference", "truth.zarr", "--metric", "vif:variant=foo"], 2, "standard"),
        (["good.zarr", "--reference", "truth.zarr", "--metric", "psnr", "--metric", "psnr"], 2, "given twice"),
        (["missing.zarr", "--reference", "truth.zarr"], 3, "missing.zarr"),
        (["good.zarr", "--reference", "missing.mrc"], 3, "missing.mrc"),
        (["good.zarr", "--reference", "small.zarr"], 3, "(24, 12, 28)"),
        (["tilts.zarr", "--reference", "truth.zarr"], 3, "is a tilt series, expected a volume"),
        (["good.zarr", "--reference", "tilts.zarr"], 3, "is a tilt series, expected a volume"),
        (["good.zarr", "--tilts", "truth.zarr"], 3, "is a volume, expected a tilt series"),
        (["good.zarr", "--tilts", "short.zarr"], 3, "rows (y) differ"),
        (["good.zarr", "--reference", "constant.zarr"], 3, "constant"),
        (["nan.zarr", "--reference", "truth.zarr"], 3, "NaN or infinite values in nan.zarr, y-row 5"),
        (["good.zarr", "--reference", "truth.zarr", "--per-slice", "none/s.csv"], 3, "none"),
    ],
)
def test_bad_input_is_one_line_with_its_code(files: Path, truth: np.ndarray, wedge, arguments: list[str], code: int, says: str) -> None:
    write_tilts(files / "tilts.zarr")
    write_tilts(files / "short.zarr", rows=11)
    write_volume(files / "small.zarr", truth[:, :, 1:])
    write_volume(files / "constant.zarr", np.ones(SHAPE))
    spoiled = truth.copy()
    spoiled[2, 5, 7] = np.nan
    write_volume(files / "nan.zarr", spoiled)
    done = wedge("evaluate", *arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("wedge: error: ")
    assert done.err.count("\n") == 1
    assert says in done.err


@pytest.mark.parametrize("option", ["--per-slice", "--curves"])
@pytest.mark.parametrize("place", ["good.zarr", "bad.mrc", "truth.zarr", "other.zarr"])
def test_series_never_replace_an_input_or_a_store(files: Path, wedge, option: str, place: str) -> None:
    write_volume(files / "other.zarr", np.ones(SHAPE))
    before = sorted(files.rglob("*"))
    told = wedge("evaluate", "good.zarr", "bad.mrc", "--reference", "truth.zarr", "--metric", "psnr", option, place, "--overwrite")
    assert told.code == 5
    assert place in told.error
    assert sorted(files.rglob("*")) == before


def test_series_and_curves_are_two_files(files: Path, wedge) -> None:
    told = wedge("evaluate", "good.zarr", "--reference", "truth.zarr", "--per-slice", "one", "--curves", "./one", "--overwrite")
    assert told.code == 2
    assert "one file" in told.error
    assert not (files / "one").exists()
