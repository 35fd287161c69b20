"""Pictures of a report: images without scripts, one scale of density, spectra, and a size that fits."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from wedge.data import Volume
from wedge.errors import InputError
from wedge.intensity import IntensityFit
from wedge.pages import report_previews
from wedge.pages.png import block_means, coded, png, signed_palette
from wedge.pages.report_previews import alike, in_densities_of_first, packed, shrink_to_fit, spectrum_of
from wedge.preview import Preview, preview_of


def noise(shape: tuple[int, int, int] = (24, 40, 32), seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), 5.0, f"v{seed}")


def density(preview: Preview) -> np.ndarray:
    return preview.low + preview.codes * ((preview.high - preview.low) / 255)


def test_images_are_png() -> None:
    codes = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5)
    grey = imread(io.BytesIO(png(codes)))
    assert np.array_equal(np.rint(grey * 255), codes)
    coloured = imread(io.BytesIO(png(codes, signed_palette())))
    assert np.array_equal(np.rint(coloured[..., :3] * 255), signed_palette()[codes])


def test_zero_is_white_and_signs_differ_in_colour() -> None:
    palette = signed_palette().astype(int)
    assert np.abs(palette[[127, 128]] - 255).max() <= 2
    assert palette[0][2] > palette[0][0]
    assert palette[255][0] > palette[255][2]


def test_codes_are_clipped_and_nan_is_low() -> None:
    assert coded(np.array([[-1.0, 0.0, 1.0, 9.0, np.nan]]), 0.0, 2.0).tolist() == [[0, 0, 128, 255, 0]]


def test_means_over_blocks_leave_a_remainder_out() -> None:
    image = np.arange(5 * 7, dtype=np.float32).reshape(5, 7)
    small = block_means(image, 4)
    assert small.shape == (2, 3)
    assert small[1, 2] == image[2:4, 4:6].mean()


@pytest.mark.parametrize("scale", [2.0, -3.0])
def test_a_fitted_preview_shows_fitted_densities(scale: float) -> None:
    preview = preview_of(noise())
    fitted = in_densities_of_first(preview, IntensityFit("affine", scale, 1.5))
    assert np.allclose(density(fitted), scale * density(preview) + 1.5, atol=1e-4)
    assert fitted.low < fitted.window[0] < fitted.window[1] < fitted.high


@pytest.mark.parametrize("scale", [0.2, -4.0])
def test_volumes_that_differ_in_scale_alone_are_shown_alike(scale: float) -> None:
    first = noise()
    other = replace(first, array=scale * np.asarray(first.array) + 7)
    previews = preview_of(first), preview_of(other)
    shown = in_densities_of_first(previews[1], alike(previews[1], previews[0]))
    assert np.abs(density(shown) - density(previews[0])).max() < 0.02 * (previews[0].high - previews[0].low)


def test_a_constant_volume_is_shown_as_it_is() -> None:
    flat = preview_of(Volume(np.ones((4, 4, 4), np.float32)))
    assert in_densities_of_first(flat, alike(flat, preview_of(noise((4, 4, 4))))) == flat
    assert in_densities_of_first(flat, IntensityFit("affine", 0.0, 2.0)) == flat


def test_spectra_have_their_middle_in_the_middle() -> None:
    z, _, x = np.meshgrid(*(np.arange(n) for n in (32, 4, 600)), indexing="ij")
    wave = Volume(np.cos(2 * np.pi * x * 0.25).astype(np.float32) + 0 * z, None)
    spectrum, peak = spectrum_of(wave, 1.0, None, (-60.0, 10.0, 50.0))
    kz, kx = np.unravel_index(np.flatnonzero(spectrum.codes == 255), spectrum.codes.shape)
    assert spectrum.codes.shape == (32, 200)
    assert set(kz) == {16}
    assert sorted(kx - 100) == [-50, 50]
    assert spectrum.tilt_range_deg == (-60.0, 50.0)
    weaker, _ = spectrum_of(wave, 0.1, peak, None)
    assert weaker.codes.max() == pytest.approx(255 * (1 - 2 / 7), abs=1)


def test_nan_is_refused() -> None:
    array = np.zeros((4, 5, 6), np.float32)
    array[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"NaN or infinite values in bad\.zarr"):
        spectrum_of(Volume(array, None, "bad.zarr"), 1.0, None, None)


def test_previews_shrink_until_they_fit() -> None:
    several = [noise(seed=seed) for seed in range(6)]
    whole = sum(len(packed(preview_of(each).to_bytes())) for each in several)
    _, spread, side = shrink_to_fit(several, None, whole + 1000)
    assert (side, spread) == (40, None)
    small, spread, side = shrink_to_fit(several, several[0], whole // 4)
    assert spread is not None
    assert side == max(max(each.codes.shape) for each in small) < 40
    assert sum(len(packed(each.to_bytes())) for each in (*small, spread)) <= whole // 4
    assert len({each.codes.shape for each in small}) == 1


def test_what_compresses_less_than_guessed_shrinks_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_previews, "SIDES", (64, 32, 16))
    uniform = Volume(np.random.default_rng(0).random((32, 32, 64)).astype(np.float32))
    room = int(1.25 * 32 * 32 * 64)
    (small,), _, side = shrink_to_fit([uniform], None, room)
    assert side == 32
    assert len(packed(preview_of(uniform, 64).to_bytes())) > room > len(packed(small.to_bytes()))


def test_volumes_with_and_without_coarser_copies_are_binned_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_previews, "SIDES", (64,))
    plain = noise((6, 10, 401))
    array = np.asarray(plain.array)
    coarser = array[:, :, :400].reshape(3, 2, 5, 2, 200, 2).mean(axis=(1, 3, 5))
    previews, _, _ = shrink_to_fit([plain, replace(plain, coarser=(coarser,))], None, 20_000)
    assert np.array_equal(previews[0].codes, previews[1].codes)
    assert preview_of(replace(plain, coarser=(coarser,)), 64).codes.shape != previews[0].codes.shape


def test_binned_spectra_are_symmetric_about_their_middle() -> None:
    codes = spectrum_of(noise((32, 4, 600)), 1.0, None, None)[0].codes.astype(int)
    inner = codes[1:, 1:]
    assert inner.shape == (31, 199)
    assert np.abs(inner - inner[::-1, ::-1]).max() <= 1
