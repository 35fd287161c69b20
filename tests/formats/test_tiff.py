import numpy as np
import pytest
import tifffile

from wedge import formats
from wedge.errors import InputError, UsageError
from wedge.formats.tiff import read_tiff

VIEWS = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
GREY = {"photometric": "minisblack"}
WAYS = {
    "plain": {},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "compressed": {"compression": "zlib"},
    "tiles": {"tile": (16, 16)},
    "strips": {"rowsperstrip": 2},
    "no metadata": {"metadata": None},
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
}


@pytest.fixture
def tiff(tmp_path):
    def write(values=VIEWS, **options):
        tifffile.imwrite(tmp_path / "a.tif", values, **(GREY | options))
        return tmp_path / "a.tif"

    return write


@pytest.mark.parametrize("way", WAYS)
def test_views_are_those_of_tifffile_with_rows_from_the_bottom_up(way, tiff):
    path = tiff(**WAYS[way])
    array, _ = read_tiff(path)
    expected = tifffile.imread(path)[:, ::-1]
    np.testing.assert_array_equal(expected, VIEWS[:, ::-1])
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    for key in (1, -1, slice(None), (slice(0, 2), slice(1, 3), slice(None, None, 2)), (slice(None), 2), (..., 3), (slice(2, 0, -1), 0, 1)):
        np.testing.assert_array_equal(array[key], expected[key])


def test_stack_of_imagej_with_one_page_for_all_views_is_read(tiff):
    """ImageJ does so beyond 4 GB."""
    path = tiff(imagej=True, truncate=False)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].offset
        tags = file.pages[0].tags
    content = bytearray(path.read_bytes())
    end = offset + 2 + 12 * len(tags)
    content[end : end + 4] = bytes(4)  # no further page
    path.write_bytes(content)
    np.testing.assert_array_equal(read_tiff(path)[0][:], VIEWS[:, ::-1])


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"resolution": (1e8 / 33.6, 1e8 / 33.6), "resolutionunit": "centimeter"}, 33.6),
        ({"resolution": (72, 72), "resolutionunit": "inch"}, None),
        ({"imagej": True, "resolution": (1 / 0.336, 1 / 0.336), "metadata": {"unit": "nm"}}, 3.36),
        ({"imagej": True, "resolution": (1 / 0.0005, 1 / 0.0005), "metadata": {"unit": "um"}}, 5.0),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.336, "PhysicalSizeXUnit": "nm"}}, 3.36),
    ],
)
def test_pixel_size_is_taken_where_it_makes_sense(tiff, options, size):
    assert read_tiff(tiff(**options))[1] == (None if size is None else pytest.approx(size, rel=1e-5))


def test_stack_is_a_tilt_series_with_angles_beside_it(tiff, tmp_path, wedge):
    path = tiff(resolution=(1e8 / 33.6, 1e8 / 33.6), resolutionunit="centimeter")
    assert formats.kind_of(path) == "tilts"
    with pytest.raises(InputError, match="no tilt angles for"):
        formats.open_tilts(path)
    (tmp_path / "a.rawtlt").write_text("-60\n0\n60\n")
    series = formats.open_tilts(path)
    assert series.geometry.tilt_angles_deg == (-60, 0, 60)
    assert series.geometry.pixel_size_angstrom == pytest.approx(33.6, rel=1e-5)
    np.testing.assert_array_equal(np.asarray(series.array[:]), VIEWS[:, ::-1])
    assert "tilt series" in wedge("info", path).out
    assert wedge("import", path, "-o", tmp_path / "b.mrc").code == 0
    np.testing.assert_array_equal(np.asarray(formats.open_tilts(tmp_path / "b.mrc").array[:]), VIEWS[:, ::-1])


def test_tiff_is_no_output_and_no_volume(tiff, tmp_path):
    with pytest.raises(UsageError, match="suffix of"):
        formats.create_volume(tmp_path / "b.tif", (3, 4, 5))
    with pytest.raises(InputError, match="is a tilt series, expected a volume"):
        formats.open_volume(tiff())


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), {"photometric": "rgb"}, "colours in"),
        (np.zeros((3, 4, 5), np.complex64), {}, "expected real numbers"),
        (np.zeros((2, 3, 4, 5), np.uint8), {"volumetric": True, "tile": (16, 16, 16)}, "are volumes"),
    ],
)
def test_what_is_no_stack_of_grey_views_is_refused(tiff, values, options, message):
    with pytest.raises(InputError, match=message):
        read_tiff(tiff(values, **options))


def test_damage_is_told(tiff, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_tiff(tmp_path / "none.tif")
    (tmp_path / "b.tif").write_bytes(b"not a TIFF at all")
    with pytest.raises(InputError, match="not a TIFF that can be read"):
        read_tiff(tmp_path / "b.tif")
    path = tiff(np.zeros((3, 64, 64), np.float32))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="truncated TIFF"):
        read_tiff(path)
    with tifffile.TiffWriter(path) as file:  # each page before its values
        for view in range(3):
            file.write(np.full((64, 64), view, np.float32), contiguous=False, metadata=None, **GREY)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="ends within view 2"):
        read_tiff(path)
    with tifffile.TiffWriter(tmp_path / "c.tif") as file:
        file.write(VIEWS[0], **GREY)
        file.write(VIEWS[0, :3], **GREY)
    with pytest.raises(InputError, match=r"page 1 of .* is of another shape"):
        read_tiff(tmp_path / "c.tif")
