"""RELION lists the tilts that it uses, in the order of time; the stack has all of them, often sorted by angle."""

import mrcfile
import numpy as np
import pytest

from wedge.slabs import read_sinograms
from wedge.store import open_tilts

ANGLES = tuple(range(-60, 61, 15))
VIEWS = np.random.default_rng(0).normal(size=(len(ANGLES), 20, 24)).astype(np.float32)
KEPT = (4, 3, 5, 6, 2, 0, 7)
LABELS = ("MicrographName", "MicrographMovieName", "TomoTiltMovieIndex", "TomoNominalStageTiltAngle")
ALIGNED = ("TomoYTilt", "TomoZRot", "TomoXShiftAngst", "TomoYShiftAngst")


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as file:
        file.set_data(VIEWS)
        file.set_image_stack()
        file.voxel_size = 2.0
    return path


def write_star(path, labels, kept=KEPT):
    """Every view is moved by its own whole number of pixels in y, so that one that is taken for another shows."""
    told = {
        "MicrographName": lambda place: f"{place + 1}@stacks/a.st",
        "MicrographMovieName": lambda place: f"frames/a_{place}.mrc",
        "TomoTiltMovieIndex": lambda place: place + 1,
        "TomoNominalStageTiltAngle": lambda place: ANGLES[place],
        "TomoYTilt": lambda place: ANGLES[place] + 0.2,
        "TomoZRot": lambda place: 0,
        "TomoXShiftAngst": lambda place: 0,
        "TomoYShiftAngst": lambda place: 2.0 * (place - 4),
    }
    names = [*labels, *ALIGNED]
    rows = "".join(" ".join(str(told[name](place)) for name in names) + "\n" for place in kept)
    path.write_text("data_a\nloop_\n" + "".join(f"_rln{name}\n" for name in names) + rows)


def write_mdoc(path):
    path.write_text(
        "".join(
            f"[ZValue = {place}]\nTiltAngle = {angle}\nSubFramePath = D:\\data\\a_{place}.mrc\nDateTime = 01-Jan-26  10:0{place}:00\n"
            for place, angle in enumerate(ANGLES)
        )
    )


@pytest.mark.parametrize(("label", "beside", "how"), [
    ("MicrographName", "nothing", "their sections of"),
    ("MicrographMovieName", "mdoc", "the names of their frames"),
    ("TomoTiltMovieIndex", "mdoc", "their place in time"),
    ("TomoNominalStageTiltAngle", "mdoc", "the angles of the stage"),
    ("TomoNominalStageTiltAngle", "rawtlt", "the angles of the stage"),
])  # fmt: skip
def test_listed_tilts_find_their_views_and_the_others_are_left_out(label, beside, how, wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", [label])
    if beside == "mdoc":
        write_mdoc(tmp_path / "a.mrc.mdoc")
    elif beside == "rawtlt":
        (tmp_path / "a.rawtlt").write_text("".join(f"{angle}\n" for angle in ANGLES))
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert done.code == 0, done.err
    assert f"lists 7 of 9 views of {stack}: matched by {how}" in done.err
    assert "left out are the views 1, 8 (places from 0)" in done.err
    tilts = open_tilts(tmp_path / "t.zarr")
    kept = sorted(KEPT)
    assert tilts.geometry.tilt_angles_deg == pytest.approx([ANGLES[place] + 0.2 for place in kept])
    values = read_sinograms(tilts, 0, 20).transpose(1, 0, 2)
    for view, place in zip(values, kept, strict=True):
        moved = np.roll(VIEWS[place], 4 - place, axis=0)
        assert np.corrcoef(view[5:-5].ravel(), moved[5:-5].ravel())[0, 1] > 0.95


def test_tilts_that_nothing_tells_apart_are_refused_in_a_line(wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", [], range(1, 8))
    for beside in (None, "a.rawtlt"):
        if beside:
            (tmp_path / beside).write_text("".join(f"{angle}\n" for angle in ANGLES))
        done = wedge("import", stack, "-o", tmp_path / "t.zarr")
        assert done.code == 3
        assert f"{tmp_path / 'a.star'} lists 7 tilts, and {stack} has 9 views" in done.error
        # What is there already is not asked for.
        assert (".rawtlt" in done.error) == (beside is None)
        assert not (tmp_path / "t.zarr").exists()


def test_every_other_view_is_so_among_all_views_of_the_stack(wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", ["TomoNominalStageTiltAngle"])
    (tmp_path / "a.rawtlt").write_text("".join(f"{angle}\n" for angle in ANGLES))
    for views, places in (("even", (0, 2, 4, 6)), ("odd", (3, 5, 7))):
        assert wedge("import", stack, "-o", tmp_path / "t.zarr", "--overwrite", "--views", views).code == 0
        assert open_tilts(tmp_path / "t.zarr").geometry.tilt_angles_deg == pytest.approx([ANGLES[place] + 0.2 for place in places])


def test_more_tilts_than_views_are_refused_as_ever(wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", ["MicrographName"], [*range(9), 2])
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert (done.code, "10 views in" in done.error) == (3, True)


def test_all_views_in_the_order_of_time_are_put_in_that_of_the_stack(wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", ["TomoTiltMovieIndex"], [*range(8, -1, -1)])
    write_mdoc(tmp_path / "a.mrc.mdoc")
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert (done.code, "is sorted otherwise than the views" in done.err) == (0, True), done.err
    assert open_tilts(tmp_path / "t.zarr").geometry.tilt_angles_deg == pytest.approx([angle + 0.2 for angle in ANGLES])


def test_place_that_is_no_number_is_refused(wedge, stack, tmp_path):
    write_star(tmp_path / "a.star", ["TomoTiltMovieIndex"])
    (tmp_path / "a.star").write_text((tmp_path / "a.star").read_text().replace("\n5 0.2", "\nfirst 0.2"))
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert (done.code, "rlnTomoTiltMovieIndex of tilt 0" in done.error) == (3, True), done.err
