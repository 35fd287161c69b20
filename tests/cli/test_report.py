"""``wedge report`` from the command line: the figures of ``wedge evaluate``, and bad input."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.formats import create_volume
from wedge.geometry import TiltGeometry

SHAPE = (16, 12, 20)
ANGLES = tuple(float(angle) for angle in range(-60, 61, 20))


def write_volume(path: Path, array: np.ndarray, record: dict | None = None, **known) -> Path:
    with create_volume(path, array.shape, **known) as writer:
        writer.write_rows(0, np.ascontiguousarray(array.transpose(1, 0, 2), dtype=np.float32))
        writer.commit(record or {})
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a truth, a good and a bad volume, a spread, halves and a tilt series."""
    import torch
    from wedge_torch.projector import TorchProjector, TorchProjectorOptions

    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    truth = random.random(SHAPE)
    noise = random.standard_normal((4, *SHAPE))
    known = {"voxel_size_angstrom": 7.0, "tilt_angles_deg": ANGLES[1:-1]}
    run = {"command": ["wedge", "average"], "started": "2026-01-01T00:00:00+00:00"}
    write_volume(folder / "truth.zarr", truth, voxel_size_angstrom=7.0)
    write_volume(folder / "good.zarr", 10 * truth + 0.2 * noise[0], run, **known)
    write_volume(folder / "bad.mrc", 10 * truth + 9 * noise[1], **known)
    write_volume(folder / "spread.zarr", np.full(SHAPE, 0.2), run, **known)
    write_volume(folder / "even.zarr", truth + 0.1 * noise[2], **known)
    write_volume(folder / "odd.zarr", truth + 0.1 * noise[3], **known)
    write_volume(folder / "small.zarr", truth[:8], **known)
    mask = np.zeros(SHAPE)
    mask[4:-4, 3:-3, 5:-5] = 1
    write_volume(folder / "mask.zarr", mask, voxel_size_angstrom=7.0)
    geometry = TiltGeometry(ANGLES, (SHAPE[1], SHAPE[2]), SHAPE, pixel_size_angstrom=7.0)
    projector = TorchProjector(geometry, TorchProjectorOptions(cache=False), torch.device("cpu"))
    with store.create_tilts(folder / "tilts.zarr", geometry) as writer:
        writer.write_rows(0, projector.project(torch.from_numpy(truth.transpose(1, 0, 2).copy())).numpy())
        writer.commit({})
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, where the command runs; outputs go elsewhere."""
    monkeypatch.chdir(made)
    return tmp_path


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


COMPARED = ["good.zarr", "bad.mrc", "--reference", "truth.zarr", "--tilts", "tilts.zarr", "--projector-opt", "cache=false"]
WHOLE = [*COMPARED, "--halves", "even.zarr", "odd.zarr"]


def test_figures_are_those_of_evaluate(files: Path, wedge) -> None:
    done = wedge("report", *WHOLE, "--std", "spread.zarr", "-o", files / "r.html", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["bytes"] == (files / "r.html").stat().st_size
    evaluated = json.loads(wedge("evaluate", *WHOLE, "--json").out)
    page = (files / "r.html").read_text()
    data = data_of(page)
    figures = {figure["name"]: figure["values"] for figure in data["figures"] if figure["columns"] == ["good", "bad"]}
    for place, volume in enumerate(evaluated["volumes"]):
        for name, value in volume["values"].items():
            assert figures[name][place] == value, name
            assert value is None or f'data-value="{value!r}"' in page
    shown = {figure["name"]: dict(zip(figure["columns"], figure["values"], strict=True)) for figure in data["figures"]}
    halves = evaluated["halves"]["values"]
    assert shown["resolution at 0.143"]["missing wedge"] == halves["halves.wedge-resolution-0.143-angstrom"]
    assert shown["mean correlation"]["whole"] == halves["halves"]
    assert data["labels"] == ["truth", "good", "bad"]
    assert data["spread"]
    for title in ("Resolution", "Two independent halves", "Quality along y", "Uncertainty", "Views: measured and predicted"):
        assert f">{title}</h2>" in page


def test_halves_within_a_mask(files: Path, wedge) -> None:
    pair = ["--halves", "even.zarr", "odd.zarr", "--mask", "mask.zarr"]
    done = wedge("report", "even.zarr", *pair, "-o", files / "r.html")
    assert done.code == 0, done.err
    halves = json.loads(wedge("evaluate", *pair, "--json").out)["halves"]["values"]
    data = data_of((files / "r.html").read_text())
    shown = {figure["name"]: dict(zip(figure["columns"], figure["values"], strict=True)) for figure in data["figures"]}
    assert shown["mean correlation"]["within the mask, corrected"] == halves["halves.corrected"]
    assert shown["mean correlation"]["within the mask, corrected, missing wedge"] == halves["halves.corrected.wedge"]
    assert shown["resolution at half-bit"]["within the mask"] == halves["halves.masked-whole-resolution-half-bit-angstrom"]
    assert shown["resolution at 0.143"]["made by the mask"] is None
    titles = [chart["options"]["title"] for chart in data["charts"]["halves"]]
    assert titles[-1] == "Shell correlation of the halves within the mask"
    told = wedge("report", "even.zarr", "--mask", "mask.zarr", "-o", files / "s.html")
    assert (told.code, "give --halves" in told.error) == (2, True)


def test_best_is_bold_in_both_directions(files: Path, wedge) -> None:
    assert wedge("report", *COMPARED, "-o", files / "r.html").code == 0
    page = (files / "r.html").read_text()
    for name in ("psnr", "fsc", "score", "unseen.error", "tilts.residual"):
        row = re.search(rf"<tr><th scope=\"row\"><code>{re.escape(name)}</code>.*?</tr>", page)
        assert row is not None, name
        good, bad = re.findall(r"<td.*?</td>", row[0])
        assert "<strong>" in good, name
        assert "<strong>" not in bad, name


def test_unseen_views_are_pictured(files: Path, wedge) -> None:
    assert wedge("report", *COMPARED, "-o", files / "r.html").code == 0
    page = (files / "r.html").read_text()
    assert "2 of the 2 views that a volume was not made from" in page
    assert re.findall(r"<h3>(view [^<]*)</h3>", page) == ["view 0 at -60 degrees", "view 6 at 60 degrees"]
    assert "good (not seen), minus measured" in page
    assert wedge("report", *COMPARED, "--unseen-views", "none", "-o", files / "s.html").code == 0
    assert "The two outermost views; every view was seen: this is no test." in (files / "s.html").read_text()
    assert wedge("report", "truth.zarr", *COMPARED[-4:], "-o", files / "t.html").code == 0
    assert "nobody says which views the volumes were made from" in (files / "t.html").read_text()


def test_volumes_alone_make_a_report(files: Path, wedge) -> None:
    done = wedge("report", "good.zarr", "-o", files / "r.html", "--title", "A <title>")
    assert done.code == 0, done.err
    assert done.out == f"{files / 'r.html'}\n"
    page = (files / "r.html").read_text()
    assert "<title>A &lt;title&gt;</title>" in page
    assert "Not asked for: --reference" in page


def test_whose_spread_it_is(files: Path, wedge) -> None:
    assert wedge("report", *COMPARED[:4], "--metric", "psnr", "--std", "spread.zarr", "-o", files / "r.html").code == 0
    assert "spread is taken for the standard deviation of each voxel of good." in (files / "r.html").read_text()
    told = wedge("report", "even.zarr", "odd.zarr", "--std", "spread.zarr", "-o", files / "s.html")
    assert (told.code, "name it by --std-of VOLUME" in told.error) == (2, True)
    assert wedge("report", "even.zarr", "odd.zarr", "--std", "spread.zarr", "--std-of", "odd.zarr", "-o", files / "s.html").code == 0
    assert "of each voxel of odd." in (files / "s.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["good.zarr", "-o", "r.pdf"], 2, "expected a name that ends in .html"),
        (["good.zarr", "small.zarr", "-o", "r.html"], 3, "shapes (z, y, x) differ"),
        (["good.zarr", "good.zarr", "-o", "r.html"], 2, "named twice"),
        (["truth.zarr", "--reference", "truth.zarr", "-o", "r.html"], 2, "nothing to compare with the reference"),
        (["a.zarr", "b.zarr", "c.zarr", "d.zarr", "e.zarr", "f.zarr", "--reference", "truth.zarr", "-o", "r.html"], 2, "7 volumes"),
        (["missing.zarr", "-o", "r.html"], 3, "no such store"),
        (["tilts.zarr", "-o", "r.html"], 3, "is a tilt series, expected a volume"),
        (["good.zarr", "--std", "small.zarr", "-o", "r.html"], 3, "shapes (z, y, x) differ"),
        (["good.zarr", "--std-of", "good.zarr", "-o", "r.html"], 2, "give --std too"),
        (["good.zarr", "--std", "spread.zarr", "--std-of", "bad.mrc", "-o", "r.html"], 2, "is none of the volumes"),
        (["good.zarr", "--unseen-views", "3", "-o", "r.html"], 2, "give --tilts too"),
        (["good.zarr", "--metric", "psnr", "-o", "r.html"], 2, "give --reference too"),
        (["good.zarr", "-o", "nowhere/r.html"], 3, "folder of the output does not exist"),
    ],
)
def test_bad_input_is_told_in_one_line(files: Path, wedge, arguments: list[str], code: int, told: str) -> None:
    here = [str(files / word) if word in ("r.html", "r.pdf") else word for word in arguments]
    done = wedge("report", *here)
    assert done.code == code, done.err
    assert told in done.error
    assert not any(files.iterdir())


def test_an_existing_report_is_kept_unless_it_is_to_be_replaced(files: Path, wedge) -> None:
    target = files / "r.html"
    target.write_text("mine")
    done = wedge("report", "good.zarr", "-o", target)
    assert (done.code, target.read_text()) == (5, "mine")
    assert wedge("report", "good.zarr", "-o", target, "--overwrite").code == 0
    assert target.read_text().startswith("<!doctype html>")
    assert [path.name for path in files.iterdir()] == ["r.html"]


def test_an_interrupted_report_leaves_nothing(files: Path, wedge, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wedge.output.PendingOutput.replace", stop)
    assert wedge("report", "good.zarr", "-o", files / "r.html").code == 130
    assert not any(files.iterdir())
