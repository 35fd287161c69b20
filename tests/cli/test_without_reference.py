"""``wedge evaluate`` where nobody knows the truth."""

import json
from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.formats import create_volume

QUICK = ["--method", "network", "--tune", "none", "--passes", "2", "--projector-opt", "cache=false"]
HELD_OUT = ["--hold-out", "0.15", "--hold-out-views", "extremes"]


@pytest.fixture
def folder(tmp_path: Path, wedge, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert wedge("simulate-spheres", "-o", ".", "--shape", "8", "12", "16", "--num-tilts", "15").code == 0
    return tmp_path


def evaluated(wedge, *words: object) -> dict:
    done = wedge("evaluate", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def write_volume(path: str, array: np.ndarray, **known) -> None:
    with create_volume(path, array.shape, **known) as writer:
        writer.write_rows(0, np.ascontiguousarray(array.transpose(1, 0, 2), dtype=np.float32))
        writer.commit({})


def test_a_volume_is_judged_on_precisely_the_views_that_it_was_made_without(folder: Path, wedge) -> None:
    assert wedge("fbp", "tilts.zarr", "-o", "f.zarr", "--exclude-views", "2,7", "--tilt-range", "-52", "60").code == 0
    curves = ["--curves", "c.json", "--overwrite"]
    evaluated(wedge, "f.zarr", "--tilts", "tilts.zarr", *curves)
    curve = json.loads(Path("c.json").read_text())["volumes"][0]["curves"]["views"]
    assert [place for place, unseen in enumerate(curve["series"]["unseen"]) if unseen] == [0, 2, 7]
    # The same where fewer views are looked at, and where a fit has held them out.
    evaluated(wedge, "f.zarr", "--tilts", "tilts.zarr", "--exclude-views", "2,3", *curves)
    curve = json.loads(Path("c.json").read_text())["volumes"][0]["curves"]["views"]
    assert [place for place, unseen in enumerate(curve["series"]["unseen"]) if unseen] == [0, 5]
    assert wedge("reconstruct", "tilts.zarr", "-o", "r.zarr", *QUICK, "--hold-out-views", "1,4").code == 0
    found = evaluated(wedge, "r.zarr", "--tilts", "tilts.zarr", *curves)["volumes"][0]
    curve = json.loads(Path("c.json").read_text())["volumes"][0]["curves"]["views"]
    assert [place for place, unseen in enumerate(curve["series"]["unseen"]) if unseen] == [1, 4]
    assert "2 unseen views of 15, 0 of them beyond" in found["notes"]["score"]


def test_table_ranks_and_puts_unseen_views_first(folder: Path, wedge) -> None:
    for name, options in (("good", ["--passes", "30"]), ("bad", ["--passes", "1", "--seed", "3"])):
        assert wedge("reconstruct", "tilts.zarr", "-o", f"{name}.zarr", *QUICK, *options, *HELD_OUT).code == 0
    done = wedge("evaluate", "bad.zarr", "good.zarr", "--tilts", "tilts.zarr")
    header, bad, good, *_ = done.out.splitlines()
    names = header.split()
    assert names[:4] == ["volume", "rank", "score", "unseen.error"]
    assert names.index("unseen.frc") < names.index("seen.error") < names.index("tilts.residual")
    scores = [dict(zip(names, line.split(), strict=True)) for line in (bad, good)]
    assert [score["rank"] for score in scores] == ["2", "1"]
    assert float(scores[0]["score"]) > float(scores[1]["score"])
    assert "lower is better" in done.out


def test_volumes_with_other_unseen_views_get_no_rank_and_seen_ones_are_no_test(folder: Path, wedge) -> None:
    assert wedge("fbp", "tilts.zarr", "-o", "all.zarr").code == 0
    assert wedge("fbp", "tilts.zarr", "-o", "some.zarr", "--exclude-views", "2").code == 0
    done = wedge("evaluate", "all.zarr", "some.zarr", "--tilts", "tilts.zarr")
    assert "rank" not in done.out.split()
    assert "do not compare" in done.out
    assert "this is no test" in done.out


def test_a_volume_that_says_nothing_is_told_its_unseen_views(folder: Path, wedge) -> None:
    write_volume("v.zarr", np.asarray(store.open_volume("volume.zarr").array[:]))
    silent = evaluated(wedge, "v.zarr", "--tilts", "tilts.zarr")["volumes"][0]
    assert "--unseen-views" in silent["notes"][""]
    assert "score" not in silent["values"]
    told = evaluated(wedge, "v.zarr", "--tilts", "tilts.zarr", "--unseen-views", "0,3-4")["volumes"][0]
    assert "3 unseen views of 15, 1 of them beyond" in told["notes"]["score"]
    assert "no test" in evaluated(wedge, "v.zarr", "--tilts", "tilts.zarr", "--unseen-views", "none")["volumes"][0]["notes"]["score"]


def test_halves_are_told_by_direction_in_angstrom_or_voxels_and_drawn(folder: Path, wedge) -> None:
    assert wedge("fbp", "tilts.zarr", "-o", "f.zarr", "--halves", "e.zarr", "o.zarr").code == 0
    found = evaluated(wedge, "--halves", "e.zarr", "o.zarr")
    assert {"halves", "halves.z", "halves.y", "halves.x", "halves.cone", "halves.wedge"} <= found["halves"]["values"].keys()
    assert "halves.whole-resolution-0.143-angstrom" in found["halves"]["values"]
    done = wedge("evaluate", "f.zarr", "--tilts", "tilts.zarr", "--halves", "e.zarr", "o.zarr", "--picture", "p.png")
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines() if line.split()[:1] in ([n] for n in ("whole", "z", "y", "x", "wedge"))]
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    for name in ("e", "o"):
        write_volume(f"{name}2.zarr", np.asarray(store.open_volume(f"{name}.zarr").array[:]))
    assert "halves.whole-resolution-0.143-voxels" in evaluated(wedge, "--halves", "e2.zarr", "o2.zarr")["halves"]["values"]


def test_a_mask_is_told_beside_what_is_told_without_it(folder: Path, wedge) -> None:
    assert wedge("fbp", "tilts.zarr", "-o", "f.zarr", "--halves", "e.zarr", "o.zarr").code == 0
    before = evaluated(wedge, "--halves", "e.zarr", "o.zarr")["halves"]["values"]
    inside = np.zeros(store.open_volume("e.zarr").array.shape, np.float32)
    inside[1:-1, 2:-2, 3:-3] = 1
    write_volume("m.zarr", inside)
    done = wedge("evaluate", "--halves", "e.zarr", "o.zarr", "--mask", "m.zarr", "--curves", "c.json", "--picture", "p.png")
    assert done.code == 0, done.err
    rows = [line.split("  ")[0] for line in done.out.splitlines()]
    assert [row for row in rows if row.startswith(("masked", "random", "corrected"))] == [
        "masked", "random", *("corrected" + end for end in ("", " z", " y", " x", " cone", " wedge"))
    ]  # fmt: skip
    found = evaluated(wedge, "--halves", "e.zarr", "o.zarr", "--mask", "m.zarr")["halves"]
    assert {name: found["values"][name] for name in before} == before
    assert {"halves.masked", "halves.random", "halves.corrected", "halves.corrected.z"} <= found["values"].keys()
    assert "halves.corrected-whole-resolution-0.143-angstrom" in found["values"]
    assert "random phases from" in found["notes"]["halves"]


def test_spread_is_of_seeds_alone(folder: Path, wedge) -> None:
    for seed in (0, 1):
        assert wedge("reconstruct", "tilts.zarr", "-o", f"{seed}.zarr", *QUICK, "--perturbation", "0.5", "--seed", seed).code == 0
    assert wedge("reconstruct", "tilts.zarr", "-o", "2.zarr", *QUICK, "--passes", "3").code == 0
    found = evaluated(wedge, "0.zarr", "1.zarr", "2.zarr", "--tilts", "tilts.zarr")["volumes"]
    assert ["spread" in each["values"] for each in found] == [True, True, False]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing to measure"),
        (["--tilts", "tilts.zarr"], 2, "nothing to measure"),
        (["--halves", "f.zarr", "f.zarr", "--tilts", "tilts.zarr"], 2, "name some"),
        (["f.zarr", "--reference", "f.zarr", "--picture", "p.png"], 2, "give --tilts or --halves"),
        (["f.zarr", "--tilts", "tilts.zarr", "--picture", "p.jpg"], 2, "ends in .png"),
        (["f.zarr", "--tilts", "tilts.zarr", "--picture", "old.png"], 5, "output exists"),
        (["f.zarr", "--tilts", "tilts.zarr", "--curves", "p.png", "--picture", "p.png"], 2, "one file"),
        (["f.zarr", "--tilts", "tilts.zarr", "--unseen-views", "77"], 2, "names view 77"),
        (["f.zarr", "--reference", "f.zarr", "--unseen-views", "1"], 2, "give --tilts too"),
        (["--halves", "f.zarr", "tilts.zarr"], 3, "is a tilt series"),
        (["f.zarr", "--tilts", "tilts.zarr", "--mask", "f.zarr"], 2, "give --halves"),
        (["--halves", "f.zarr", "f.zarr", "--mask", "f.zarr"], 3, "expected 0 without and 1 within"),
        (["--halves", "f.zarr", "f.zarr", "--mask", "missing.zarr"], 3, "missing.zarr"),
        (["--halves", "f.zarr", "missing.zarr"], 3, "missing.zarr"),
    ],
)
def test_bad_input_is_one_line_with_its_code(folder: Path, wedge, words: list[str], code: int, says: str) -> None:
    assert wedge("fbp", "tilts.zarr", "-o", "f.zarr").code == 0
    Path("old.png").write_bytes(b"something")
    done = wedge("evaluate", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.error
    assert Path("old.png").read_bytes() == b"something"
