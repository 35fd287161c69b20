import json
import subprocess
import sys
import warnings

import mrcfile
import numpy as np
import pytest

from wedge import formats
from wedge.errors import InputError, OutputExistsError, UsageError
from wedge.formats.mrc import read_mrc
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms

NUM_VIEWS, ROWS, COLUMNS = 5, 7, 9
ANGLES = (-40.0, -20.0, 0.0, 20.0, 41.5)


def write_mrc(path, data, pixel=2.5, angles=None, **header):
    with mrcfile.new(path, overwrite=True) as file:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of mrcfile, for NaN
            file.set_data(data)
        file.voxel_size = pixel
        for name, value in header.items():
            file.header[name] = value
    if angles is not None:
        path.with_suffix(".rawtlt").write_text("\n".join(map(str, angles)))
    return path


def stack(dtype=np.float32):
    return np.random.default_rng(0).integers(0, 100, (NUM_VIEWS, ROWS, COLUMNS)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float16, np.float32])
def test_every_real_mode_is_read(tmp_path, dtype):
    data = stack(dtype)
    tilts = formats.open_tilts(write_mrc(tmp_path / "a.mrc", data, angles=ANGLES))
    assert tilts.array.dtype == dtype
    assert np.array_equal(read_sinograms(tilts, 0, ROWS), data.transpose(1, 0, 2).astype(np.float32))
    assert tilts.geometry == TiltGeometry(ANGLES, (ROWS, COLUMNS), (COLUMNS, ROWS, COLUMNS), 2.5)
    assert not tilts.simulated


def test_reading_a_large_file_by_rows_takes_little_memory(tmp_path):
    write_mrc(tmp_path / "a.mrc", np.ones((100, 512, 512), np.float32))
    code = """
import sys
from wedge.formats import open_volume
from wedge.provenance import peak_memory_bytes
from wedge.slabs import read_slices
before = peak_memory_bytes()
volume = open_volume(sys.argv[1])
for start in range(0, 512, 16):
    assert read_slices(volume, start, start + 16).mean() == 1
print(peak_memory_bytes() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code, tmp_path / "a.mrc"], capture_output=True, check=True).stdout)
    assert grown < 40 * 2**20  # of 100 MiB


def test_bytes_of_imod_are_unsigned_unless_it_says_otherwise(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", np.full((2, 3, 4), -1, np.int8))
    assert read_mrc(path).array[0, 0, 0] == -1
    content = bytearray(path.read_bytes())
    for flags, value in ((0, 255), (1, -1)):
        content[152:160] = np.array([1146047817, flags], "<i4").tobytes()
        path.write_bytes(content)
        assert read_mrc(path).array[0, 0, 0] == value


@pytest.mark.parametrize("dtype", [">f4", ">i2", "i1"])
@pytest.mark.parametrize("stamped", [True, False])
def test_other_byte_order_is_read(tmp_path, dtype, stamped):
    path = write_mrc(tmp_path / "a.mrc", stack(">f4"))
    content = bytearray(path.read_bytes()[:1024])
    assert content[212:214] == b"\x11\x11"
    content[12:16] = np.array({">f4": 2, ">i2": 1, "i1": 0}[dtype], ">i4").tobytes()
    if not stamped and dtype != "i1":  # a header of bytes makes sense in both orders
        content[212:216] = bytes(4)
    path.write_bytes(bytes(content) + stack(dtype).tobytes())
    assert np.array_equal(read_mrc(path).array[:], stack())


def test_extended_header_is_stepped_over_whatever_is_in_it(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack())
    with mrcfile.open(path, "r+") as file:
        file.set_extended_header(np.frombuffer(b"\x01\x02" * 50, np.uint8))
        file.header.exttyp = b"SERI"
    assert np.array_equal(read_mrc(path).array[:], stack())


def test_missing_identifier_and_stamp_are_forgiven(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack())
    content = bytearray(path.read_bytes())
    content[208:216] = bytes(8)
    path.write_bytes(content)
    assert np.array_equal(read_mrc(path).array[:], stack())


def test_exchanged_axes_are_put_in_order(tmp_path):
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path = write_mrc(tmp_path / "a.mrc", data, mapc=3, mapr=2, maps=1)  # columns along z, sections along x
    assert np.array_equal(read_mrc(path).array[:], data.transpose(2, 1, 0))
    assert np.array_equal(read_mrc(write_mrc(path, data, mapc=0, mapr=0, maps=0)).array[:], data)


@pytest.mark.parametrize("kept_bytes", [0, 100, 1024, 1024 + NUM_VIEWS * ROWS * COLUMNS * 4 - 1])
def test_truncated_file_is_refused(tmp_path, kept_bytes):
    path = write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match=r"truncated .*a\.mrc") as caught:
        formats.open_tilts(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_mrc_file_is_refused(tmp_path):
    (tmp_path / "a.mrc").write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 20)
    with pytest.raises(InputError, match="not an MRC file"):
        read_mrc(tmp_path / "a.mrc")
    (tmp_path / "gz.mrc").write_bytes(b"\x1f\x8b" + bytes(5000))
    with pytest.raises(InputError, match="compressed file"):
        read_mrc(tmp_path / "gz.mrc")
    (tmp_path / "zero.mrc").write_bytes(bytes(5000))
    with pytest.raises(InputError, match="not an MRC file"):
        read_mrc(tmp_path / "zero.mrc")


def test_complex_values_and_stacks_of_volumes_are_refused(tmp_path):
    with pytest.raises(InputError, match="complex values"):
        read_mrc(write_mrc(tmp_path / "a.mrc", np.ones((2, 3, 4), np.complex64)))
    with pytest.raises(InputError, match="stack of volumes"):
        read_mrc(write_mrc(tmp_path / "a.mrc", np.ones((2, 2, 3, 4), np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_first_view_that_is_not_finite_is_named(tmp_path, value, dtype):
    data = stack(dtype)
    data[3, 1, 1] = data[3, 2, 2] = data[4, 0, 0] = value
    path = write_mrc(tmp_path / "a.mrc", data, angles=ANGLES)
    with pytest.raises(InputError, match=r"^view 3 of .*a\.mrc has 2 values that are NaN or infinite; .*--exclude-views"):
        formats.open_tilts(path)
    with pytest.raises(InputError, match=r"^view 3 of"):
        formats.open_tilts(path, exclude_views=[0, 1])
    assert formats.open_tilts(path, exclude_views=[3, 4]).geometry.num_tilts == 3


def test_volume_with_nan_is_refused(tmp_path):
    data = stack()
    data[1, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"^section 1 of .*a\.mrc has 1 values"):
        formats.open_volume(write_mrc(tmp_path / "a.mrc", data))


def test_large_values_are_finite(tmp_path):
    data = np.full((2, 300, 300), 3e38, np.float32)
    assert formats.open_volume(write_mrc(tmp_path / "a.mrc", data)).array.shape == data.shape


def test_voxel_size_of_the_header_is_kept_without_noise(tmp_path):
    assert formats.open_volume(write_mrc(tmp_path / "a.mrc", stack(), 3.3)).voxel_size_angstrom == 3.3


@pytest.mark.parametrize("opened", [formats.open_tilts, formats.open_volume])
def test_voxel_size_of_zero_is_unknown_and_said(tmp_path, opened):
    path = write_mrc(tmp_path / "a.mrc", stack(), 0)
    notes = []
    options = {"angles": tmp_path / "x.tlt"} if opened is formats.open_tilts else {}
    (tmp_path / "x.tlt").write_text("\n".join(map(str, ANGLES)))
    found = opened(path, on_note=notes.append, **options)
    assert (found.geometry.pixel_size_angstrom if options else found.voxel_size_angstrom) is None
    assert any("size unknown" in note and "--voxel-size" in note for note in notes)
    found = opened(path, voxel_size_angstrom=4, **options)
    assert (found.geometry.pixel_size_angstrom if options else found.voxel_size_angstrom) == 4


def test_voxel_size_of_one_is_doubted_aloud(tmp_path):
    notes = []
    path = write_mrc(tmp_path / "a.mrc", stack(), 1.0, angles=ANGLES)
    assert formats.open_tilts(path, on_note=notes.append).geometry.pixel_size_angstrom == 1.0
    assert any("pixel size 1 angstrom, as the header" in note for note in notes)
    notes.clear()
    formats.open_tilts(path, on_note=notes.append, voxel_size_angstrom=1.0)
    assert not any("pixel size" in note for note in notes)


def test_voxel_size_option_decides_over_the_header(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack(), 1.0, angles=ANGLES)
    assert formats.open_tilts(path, voxel_size_angstrom=33.6).geometry.pixel_size_angstrom == 33.6
    path.with_suffix(".rawtlt").unlink()
    assert formats.open_volume(path, voxel_size_angstrom=33.6).voxel_size_angstrom == 33.6


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_voxel_size_option_must_be_positive(tmp_path, size):
    path = write_mrc(tmp_path / "a.mrc", stack())
    with pytest.raises(UsageError, match="--voxel-size is"):
        formats.open_volume(path, voxel_size_angstrom=size)
    with pytest.raises(UsageError, match="--voxel-size is"):
        formats.open_tilts(write_mrc(tmp_path / "b.mrc", stack(), angles=ANGLES), voxel_size_angstrom=size)


def test_voxels_that_are_no_cubes_are_refused(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack(), (2, 2, 3))
    with pytest.raises(InputError, match=r"voxels are no cubes: .* 3 x 2 x 2 angstrom"):
        formats.open_volume(path)
    assert formats.open_volume(path, voxel_size_angstrom=2).voxel_size_angstrom == 2


def test_thickness_is_the_detector_width_unless_given_and_said(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES)
    notes = []
    assert formats.open_tilts(path, on_note=notes.append).geometry.volume_shape == (COLUMNS, ROWS, COLUMNS)
    assert any(f"thickness {COLUMNS} voxels, the width of the detector" in note for note in notes)
    notes.clear()
    assert formats.open_tilts(path, thickness=4, on_note=notes.append).geometry.volume_shape == (4, ROWS, COLUMNS)
    assert not any("voxels" in note for note in notes)


def test_angles_of_the_wrong_number_are_refused(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES[:4])
    with pytest.raises(InputError, match=r"4 tilt angles in .*a\.rawtlt, but 5 views in .*a\.mrc; .*--angles"):
        formats.open_tilts(path)


def test_stack_without_angles_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"neither a\.tlt, a\.rawtlt nor a\.mrc\.mdoc lies beside it; give --angles, unless it is a volume"
    ):
        formats.open_tilts(write_mrc(tmp_path / "a.mrc", stack()))


def test_angles_of_the_option_come_first(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES)
    (tmp_path / "b.tlt").write_text("1\n2\n3\n4\n5\n")
    assert formats.open_tilts(path, angles=tmp_path / "b.tlt").geometry.tilt_angles_deg == (1, 2, 3, 4, 5)
    assert formats.angles_path(path) == tmp_path / "a.rawtlt"
    assert formats.angles_path(path, tmp_path / "b.tlt") == tmp_path / "b.tlt"


@pytest.mark.parametrize("space_group", [0, 1])
def test_header_alone_decides_nothing(tmp_path, space_group):
    path = write_mrc(tmp_path / "a.mrc", stack(), ispg=space_group)
    formats.open_volume(path)
    (tmp_path / "b.tlt").write_text("1\n2\n3\n4\n5\n")
    formats.open_tilts(path, angles=tmp_path / "b.tlt")


def test_evidence_of_the_other_kind_is_heeded(tmp_path):
    volume = write_mrc(tmp_path / "a.rec", stack(), angles=ANGLES)
    with pytest.raises(InputError, match="is a volume, expected a tilt series"):
        formats.open_tilts(volume)
    with pytest.raises(InputError, match="is a tilt series, expected a volume"):
        formats.open_volume(write_mrc(tmp_path / "a.st", stack()))
    with pytest.raises(InputError, match=r"as many sections as a\.rawtlt beside it has angles"):
        formats.open_volume(write_mrc(tmp_path / "a.mrc", stack()))


def test_list_of_another_length_is_no_evidence(tmp_path):
    formats.open_volume(write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES[:3]))


def make_volume(path, **options):
    data = np.random.default_rng(2).normal(size=(4, 6, 5)).astype(np.float32)
    with formats.create_volume(path, data.shape, **options) as writer:
        for start in (0, 3):
            writer.write_rows(start, data[:, start : start + 3].transpose(1, 0, 2))
        writer.commit({"seed": 7})
    return data


def test_written_volume_is_valid_and_comes_back(tmp_path, capfd):
    data = make_volume(tmp_path / "v.mrc", voxel_size_angstrom=13.4, tilt_angles_deg=ANGLES)
    assert mrcfile.validate(tmp_path / "v.mrc"), capfd.readouterr()
    with mrcfile.open(tmp_path / "v.mrc") as file:
        assert np.array_equal(file.data, data)
        assert file.is_volume()
        assert [float(file.voxel_size[axis]) for axis in "zyx"] == pytest.approx([13.4] * 3)
        assert file.header.rms == pytest.approx(data.std(), rel=1e-5)
    volume = formats.open_volume(tmp_path / "v.mrc")
    assert (volume.voxel_size_angstrom, volume.tilt_angles_deg, volume.provenance) == (13.4, ANGLES, {"seed": 7})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.mrc", "v.mrc.json"]
    assert json.loads((tmp_path / "v.mrc.json").read_text())["wedge"]["provenance"] == {"seed": 7}
    with pytest.raises(InputError, match="is a volume"):
        formats.open_tilts(tmp_path / "v.mrc", angles=tmp_path / "none")


def test_written_tilts_are_valid_and_come_back(tmp_path, capfd):
    geometry = TiltGeometry(ANGLES, (6, 5), (3, 6, 5), 13.4, axis_offset_pixels=0.25)
    data = np.random.default_rng(2).normal(size=(5, 6, 5)).astype(np.float32)
    with formats.create_tilts(tmp_path / "t.st", geometry, simulated=True) as writer:
        writer.write_rows(0, data.transpose(1, 0, 2))
        writer.commit({})
    assert mrcfile.validate(tmp_path / "t.st"), capfd.readouterr()
    tilts = formats.open_tilts(tmp_path / "t.st")
    assert tilts.geometry == geometry
    assert tilts.simulated
    assert np.array_equal(tilts.array[:], data)
    with mrcfile.open(tmp_path / "t.st") as file:
        assert file.is_image_stack()
        assert float(file.voxel_size.x) == pytest.approx(13.4)


def test_unknown_voxel_size_stays_unknown(tmp_path, capfd):
    make_volume(tmp_path / "v.mrc")
    assert mrcfile.validate(tmp_path / "v.mrc"), capfd.readouterr()
    assert formats.open_volume(tmp_path / "v.mrc").voxel_size_angstrom is None


def test_record_of_another_array_says_nothing(tmp_path):
    make_volume(tmp_path / "v.mrc")
    write_mrc(tmp_path / "v.mrc", stack())
    assert formats.open_volume(tmp_path / "v.mrc").provenance == {}
    (tmp_path / "v.mrc.json").write_text("{")
    assert formats.open_volume(tmp_path / "v.mrc").provenance == {}


def test_uncommitted_file_leaves_nothing(tmp_path):
    with formats.create_volume(tmp_path / "v.mrc", (4, 6, 5)) as writer:
        writer.write_rows(0, np.ones((6, 4, 5)))
    assert list(tmp_path.iterdir()) == []


def test_volume_never_replaces_a_tilt_series(tmp_path):
    write_mrc(tmp_path / "a.mrc", stack(), angles=ANGLES)
    with pytest.raises(OutputExistsError, match="is not replaced by a volume"):
        formats.create_volume(tmp_path / "a.mrc", (4, 6, 5), overwrite=True)


def test_suffix_that_means_the_other_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"suffix \.st is for a tilt series"):
        formats.create_volume(tmp_path / "a.st", (4, 6, 5))
    with pytest.raises(UsageError, match=r"suffix \.rec is for a volume"):
        formats.create_tilts(tmp_path / "a.rec", TiltGeometry((0,), (6, 5), (3, 6, 5)))


def test_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected \.zarr or one of \.mrc"):
        formats.create_volume(tmp_path / "a.tif", (4, 6, 5))
    with pytest.raises(InputError, match="no such file"):
        formats.open_volume(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=r"expected \.zarr"):
        formats.open_volume(tmp_path / "a.png")


def test_stores_take_the_same_options(tmp_path):
    geometry = TiltGeometry(ANGLES, (6, 5), (3, 6, 5), 2.0)
    with formats.create_tilts(tmp_path / "t.zarr", geometry) as writer:
        writer.write_rows(0, np.ones((6, 5, 5)))
        writer.commit({})
    notes = []
    tilts = formats.open_tilts(tmp_path / "t.zarr", on_note=notes.append)
    assert tilts.geometry == geometry
    assert any("thickness 3 voxels, as" in note for note in notes)
    (tmp_path / "b.tlt").write_text("1\n2\n3\n4\n5\n")
    options = {"angles": tmp_path / "b.tlt", "voxel_size_angstrom": 7.0, "thickness": 9, "tilt_range": (2, 4), "exclude_views": [2]}
    tilts = formats.open_tilts(tmp_path / "t.zarr", **options)
    assert tilts.geometry == TiltGeometry((2, 4), (6, 5), (9, 6, 5), 7.0)
    assert tilts.array.shape == (2, 6, 5)


def test_carried_densities_are_read(example_data):
    sizes = {path.stem: formats.open_volume(path).voxel_size_angstrom for path in (example_data / "densities").glob("*.mrc")}
    assert sizes == {"ribosome_4v4r_5A": 5.0, "apoferritin_6pxm_10A": 10.0, "proteasome_3j9i_10A": 10.0}


def test_carried_needle_is_the_mean_of_the_full_one(example_data, shared_data):
    small = formats.open_tilts(example_data / "needle" / "needle_bin4.mrc")
    full = formats.open_tilts(shared_data / "needle" / "needle.mrc")
    assert small.geometry == full.geometry.binned(4)
    means = np.asarray(full.array[10], dtype=np.float64).reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(small.array[10] - means).max() <= 0.5
