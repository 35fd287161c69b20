"""Laws of the pictures: right planes, right frequencies, a PNG of the size that the volumes ask for."""

import sys

import numpy as np
import pytest

from wedge.data import Volume
from wedge.errors import InputError
from wedge.geometry import TiltGeometry
from wedge.picture import (
    AS_USUAL,
    Look,
    _draw_cone,
    _draw_planes,
    _draw_spectrum,
    comparison_picture,
    orthoslices,
    plane_images,
    scale_bar,
    spectrum_zx,
)

SHAPE = (20, 7, 32)


def volume(array: np.ndarray, **options) -> Volume:
    return Volume(np.asarray(array, dtype=np.float32), **options)


@pytest.fixture
def numbered() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return 1000.0 * z + 40 * y + x


def wave(periods_z: int, periods_x: int) -> np.ndarray:
    z, _, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return np.cos(2 * np.pi * (periods_z * z / SHAPE[0] + periods_x * x / SHAPE[2]))


def test_orthoslices_are_the_middle_planes(numbered):
    along, across = orthoslices(volume(numbered))
    assert np.array_equal(along, numbered[10])
    assert np.array_equal(across, numbered[:, 3])


@pytest.mark.parametrize("periods", [(3, 0), (0, 5), (4, 7), (4, -7)])
def test_spectrum_has_a_wave_at_its_frequency_z_first(periods):
    power = spectrum_zx(volume(wave(*periods) + 100))
    assert power.shape == (SHAPE[0], SHAPE[2])
    peaks = {(int(i) // 32 - 10, int(i) % 32 - 16) for i in np.argsort(power.ravel())[-2:]}
    assert peaks == {periods, (-periods[0], -periods[1])}


def test_spectrum_is_the_mean_over_y_whatever_the_slabs():
    random = np.random.default_rng(0)
    rows = random.normal(size=(SHAPE[0], 40, SHAPE[2]))
    whole = spectrum_zx(volume(rows))
    one_by_one = np.mean([spectrum_zx(volume(rows[:, [y]])) for y in range(40)], axis=0)
    assert np.allclose(whole, one_by_one, rtol=1e-4)


def test_constants_have_no_spectrum():
    assert spectrum_zx(volume(np.full(SHAPE, 37.5))).max() < 1e-6


def missing_share(angles_deg: tuple[float, float], power: np.ndarray) -> float:
    """Power outside the cone between two angles: where ``|kz / kx|`` is beyond what views at those angles see."""
    kz = np.fft.fftshift(np.fft.fftfreq(power.shape[0]))[:, None]
    kx = np.fft.fftshift(np.fft.fftfreq(power.shape[1]))[None]
    angle = np.rad2deg(np.arctan2(kz, kx))
    angle = (angle + 90) % 180 - 90
    outside = ((angle < angles_deg[0]) | (angle > angles_deg[1])) & (np.hypot(kz, kx) > 0.1)
    return float(power[outside].sum() / power.sum())


def test_spectrum_and_cone_lines_agree_with_the_geometry(tmp_path, monkeypatch):
    """Views of one side alone: a mirrored axis would put the power on the other side of the lines."""
    import torch

    from wedge import picture
    from wedge.fbp import fbp_slices
    from wedge.registry import Registry

    geometry = TiltGeometry(tuple(np.linspace(10, 50, 41)), (1, 64), (64, 1, 64))
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(geometry, torch.device("cpu"))
    noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    slices = fbp_slices(projector.project(noise), projector, geometry)
    made = Volume(np.ascontiguousarray(slices.numpy().transpose(1, 0, 2)), tilt_angles_deg=geometry.tilt_angles_deg)
    power = spectrum_zx(made)
    assert missing_share((5.0, 55.0), power) < 0.15
    assert missing_share((-55.0, -5.0), power) > 0.7

    lines = Lines()
    monkeypatch.setattr(picture, "_draw_cone", lambda axis, angles: _draw_cone(lines, angles))
    comparison_picture([("fbp", made)], tmp_path / "a.png")
    drawn = sorted(np.rad2deg(np.arctan2(end[1], end[0])) for end in lines.ends)
    assert drawn == pytest.approx([10, 50])
    # From border to border of the spectrum, whose frequencies go from -.5 to .5.
    assert all(np.abs(end).max() == pytest.approx(0.5) for end in lines.ends)


@pytest.mark.parametrize("shape", [(8, 32), (9, 32), (8, 33), (31, 10)])
def test_pixels_of_a_spectrum_lie_around_their_frequencies(shape):
    """Of even numbers zero is beside the middle: lines through the middle would miss the power they are drawn for."""
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    noise = np.random.default_rng(0).normal(size=(shape[0], 1, shape[1]))
    _draw_spectrum(axis, volume(noise), AS_USUAL, (-60.0, 60.0))
    left, right, bottom, top = axis.images[0].get_extent()
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(count)) for count in shape)
    assert top + (np.arange(shape[0]) + 0.5) / shape[0] * (bottom - top) == pytest.approx(rows)
    assert left + (np.arange(shape[1]) + 0.5) / shape[1] * (right - left) == pytest.approx(columns)
    assert (*axis.get_xlim(), *axis.get_ylim()) == (left, right, bottom, top)


class Lines:
    """Axes that remember the far ends ``(kx, kz)`` of the lines through 0."""

    def __init__(self) -> None:
        self.ends: list[np.ndarray] = []

    def plot(self, x, y, **style) -> None:
        assert (x[0], y[0]) == (-x[1], -y[1])
        self.ends.append(np.array([x[1], y[1]]))


def test_no_angles_no_cone():
    lines = Lines()
    _draw_cone(lines, None)
    _draw_cone(lines, ())
    assert lines.ends == []


def read_png(path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)


def test_picture_has_a_column_for_each_volume(tmp_path, numbered):
    volumes = [(f"title {i}", volume(numbered + i)) for i in range(3)]
    comparison_picture(volumes[:1], tmp_path / "one.png")
    comparison_picture(volumes, tmp_path / "three.png")
    one, three = read_png(tmp_path / "one.png"), read_png(tmp_path / "three.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert three.shape[1] == pytest.approx(3 * one.shape[1], abs=2)
    assert three.shape[0] == one.shape[0]
    assert one.shape[1] > 300


def test_deeper_volumes_need_higher_pictures(tmp_path):
    for name, depth in (("flat", 4), ("deep", 64)):
        comparison_picture([("a", volume(np.random.default_rng(0).normal(size=(depth, 16, 64))))], tmp_path / f"{name}.png")
    assert read_png(tmp_path / "deep.png").shape[0] > read_png(tmp_path / "flat.png").shape[0] + 200


def test_all_planes_of_a_column_have_one_scale(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    save, kept = Figure.savefig, []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: (save(figure, *args, **options), kept.append(figure)))
    for planes in (("yx", "zx", "zy"), ("zy", "yx")):
        comparison_picture([("a", volume(np.zeros((17, 29, 41)), voxel_size_angstrom=10.0))], tmp_path / "a.png", Look(planes))
        drawn = kept[-1].axes[: len(planes)]
        scales = np.array([np.diff(axis.transData.transform([(0, 0), (1, 1)]), axis=0)[0] for axis in drawn])
        assert np.abs(scales) == pytest.approx(np.full(scales.shape, abs(scales[0, 0])), rel=0.01)
        assert abs(scales[0, 0]) * 41 == pytest.approx(352, rel=0.15)


def test_picture_shows_what_is_there(tmp_path):
    dark, bright = np.zeros(SHAPE), np.zeros(SHAPE)
    bright[:, :, 16:] = 1.0
    for name, array in (("dark", dark), ("bright", bright)):
        comparison_picture([("a", volume(array))], tmp_path / f"{name}.png")
    a, b = read_png(tmp_path / "dark.png")[..., :3], read_png(tmp_path / "bright.png")[..., :3]
    differs = np.abs(a - b).max(axis=2) > 0.5
    left, right = differs[:, : differs.shape[1] // 2].sum(), differs[:, differs.shape[1] // 2 :].sum()
    assert right > 2 * left
    assert right > 1000


def test_empty_constant_and_tiny_volumes_make_a_picture(tmp_path):
    for index, shape in enumerate([(1, 1, 1), (2, 3, 5), SHAPE]):
        comparison_picture([("nothing", volume(np.zeros(shape), tilt_angles_deg=(0.0,)))], tmp_path / f"{index}.png")
        assert read_png(tmp_path / f"{index}.png").ndim == 3


def test_picture_leaves_the_callers_matplotlib_alone(tmp_path, numbered):
    import matplotlib

    # A copy: reading the settings one by one would choose a backend.
    before = (matplotlib.get_backend(auto_select=False), matplotlib.rcParams.copy(), "matplotlib.pyplot" in sys.modules)
    comparison_picture([("a", volume(numbered))], tmp_path / "a.png")
    assert (matplotlib.get_backend(auto_select=False), matplotlib.rcParams.copy(), "matplotlib.pyplot" in sys.modules) == before


def test_folder_that_is_not_there_is_refused_in_a_line(tmp_path, numbered):
    with pytest.raises(InputError, match=r"cannot write the picture .*none"):
        comparison_picture([("a", volume(numbered))], tmp_path / "none" / "a.png")


@pytest.mark.parametrize("at", [(3, 5, 30), (0, 0, 0), (19, 6, 31)])
def test_planes_go_through_the_voxel_that_is_named(numbered, monkeypatch, at):
    from wedge import picture

    monkeypatch.setattr(picture, "_SLAB_VALUES", 2 * 20 * 32)  # slabs of two rows
    planes = plane_images(volume(numbered), ("zy", "yx", "zx"), at)
    z, y, x = at
    assert list(planes) == ["zy", "yx", "zx"]
    assert np.array_equal(planes["yx"], numbered[z])
    assert np.array_equal(planes["zx"], numbered[:, y])
    assert np.array_equal(planes["zy"], numbered[:, :, x])


def test_spectrum_of_some_rows_is_that_of_slabs_spread_evenly():
    rows = np.random.default_rng(0).normal(size=(4, 160, 6))
    for y in range(160):
        rows[:, y] *= 10.0 ** (y // 16)
    whole = volume(rows)
    some = spectrum_zx(whole, most_values=2 * 4 * 16 * 6)
    expected = np.mean([spectrum_zx(volume(rows[:, part])) for part in (np.s_[32:48], np.s_[112:128])], axis=0)
    assert np.allclose(some, expected, rtol=1e-5)
    assert np.array_equal(spectrum_zx(whole, most_values=10**9), spectrum_zx(whole))
    assert spectrum_zx(whole, most_values=1).max() > 0


def test_a_coarser_copy_is_read_where_it_is_fine_enough():
    class Counted:
        def __init__(self, side: int) -> None:
            self.shape, self.dtype, self.reads = (side, side, side), np.dtype(np.float32), 0

        def __getitem__(self, key):
            self.reads += 1
            return np.zeros(self.shape, np.float32)[key]

    levels = [Counted(side) for side in (32, 16, 8)]
    for pixels, read in ((9, 1), (16, 1), (17, 0), (5, 2)):
        for level in levels:
            level.reads = 0
        axes = Axes()
        _draw_planes([axes], Volume(levels[0], coarser=tuple(levels[1:])), Look(("zx",), (31, 31, 31), width_pixels=pixels))
        assert [level.reads > 0 for level in levels] == [i == read for i in range(3)]
        assert axes.extent == (0, 32, 32, 0)


class Axes:
    """Axes that remember what was drawn."""

    def imshow(self, image, **style) -> None:
        self.image, self.extent, self.style = image, style["extent"], style


def test_contrast_is_as_told_and_high_density_may_be_dark():
    axes = Axes()
    _draw_planes([axes], volume(np.zeros(SHAPE)), Look(("yx",), contrast=(-1.0, 3.0), invert=True))
    assert (axes.style["vmin"], axes.style["vmax"], axes.style["cmap"]) == (-1.0, 3.0, "gray_r")
    ramp = np.broadcast_to(np.arange(32.0), SHAPE)
    _draw_planes([axes], volume(ramp), Look(("yx",)))
    assert (axes.style["vmin"], axes.style["vmax"], axes.style["cmap"]) == (pytest.approx(0, abs=0.1), pytest.approx(31, abs=0.1), "gray")


@pytest.mark.parametrize(
    ("width", "voxel", "voxels", "text"),
    [
        (300, 10.0, 100, "100 nm"),
        (100, 1.0, 20, "2 nm"),
        (64, 3.7, 50 / 3.7, "5 nm"),
        (4000, 20.0, 1000, "2 µm"),
        (6, 1.5, 2 / 1.5, "0.2 nm"),
    ],
)
def test_the_scale_bar_is_round_and_at_most_a_third_of_the_width(width, voxel, voxels, text):
    assert scale_bar(width, voxel) == (pytest.approx(voxels), text)


def test_the_scale_bar_is_drawn_where_the_voxel_size_is_known(tmp_path):
    for name, size in (("without", None), ("with", 10.0)):
        comparison_picture([("a", volume(np.zeros(SHAPE), voxel_size_angstrom=size))], tmp_path / f"{name}.png")
    without, drawn = (read_png(tmp_path / f"{name}.png")[..., :3] for name in ("without", "with"))
    white = (drawn.min(axis=2) == 1) & (without.max(axis=2) == 0)
    # 32 voxels are one column wide: the bar is 10 of them.
    assert white.sum(axis=1).max() == pytest.approx(10 / 32 * 330, rel=0.1)
