"""What the ``torch`` projector promises beyond the laws of projectors."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from wedge_torch import matrix, matrix_cache
from wedge_torch.projector import TorchProjector, TorchProjectorOptions

from wedge.errors import DeviceError, InputError
from wedge.geometry import TiltGeometry

CPU = torch.device("cpu")
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 11)), (2, 48), (20, 2, 40), axis_offset_pixels=0.75)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own that keeps matrices of any size."""
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(matrix_cache, "_WORTH_KEEPING", 0)
    return tmp_path / "matrices"


def built(geometry: TiltGeometry = GEOMETRY, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    pair = TorchProjector(geometry, TorchProjectorOptions(**options), CPU)._pair
    assert pair is not None
    return pair


def same(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(x.values(), y.values()) and torch.equal(x.col_indices(), y.col_indices()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("model", ["strip", "joseph"])
def test_matrices_are_sound_and_transposes_of_each_other(model: str) -> None:
    forward, backward = built(model=model)
    for part in (forward, backward):
        assert part.col_indices().dtype == torch.int32
        torch.sparse_csr_tensor(part.crow_indices(), part.col_indices(), part.values(), size=part.shape, check_invariants=True)
    assert torch.equal(forward.to_dense().T, backward.to_dense())
    assert (forward.values() > 0).all()
    assert forward.values().numel() <= matrix.entries_bound(GEOMETRY, model)


def test_strip_model_has_no_ripple_on_a_uniform_slab() -> None:
    wide = TiltGeometry(tuple(np.linspace(-60, 60, 31)), (1, 64), (32, 1, 512))
    sinogram = TorchProjector(wide, TorchProjectorOptions(), CPU).project(torch.ones(1, 32, 512))[0]
    expected = torch.from_numpy(32 / np.cos(wide.tilt_angles_rad)).float()[:, None].expand_as(sinogram)
    torch.testing.assert_close(sinogram, expected, rtol=2e-6, atol=0)
    inside = wide.with_volume((16, 1, 24))
    ones = TorchProjector(inside, TorchProjectorOptions(), CPU).backproject(torch.ones(1, 31, 64))
    torch.testing.assert_close(ones, torch.full_like(ones, 31), rtol=2e-6, atol=0)


def test_a_matrix_is_read_back_as_it_was_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built()
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]
    monkeypatch.setattr(matrix, "build", None)
    assert same(built(), first)


def test_rows_of_y_share_a_matrix_and_nothing_else_does(cache: Path) -> None:
    built()
    built(replace(GEOMETRY, detector_shape=(7, 48), volume_shape=(20, 7, 40)))
    assert len(list(cache.iterdir())) == 1
    others = [
        replace(GEOMETRY, axis_offset_pixels=0.5),
        replace(GEOMETRY, detector_shape=(2, 49)),
        replace(GEOMETRY, tilt_angles_deg=GEOMETRY.tilt_angles_deg[::-1]),
        GEOMETRY.with_volume((20, 2, 40), 0.5),
        GEOMETRY.with_volume((20, 2, 40), 1.0, (0.0, 1.0)),
        GEOMETRY.with_volume((20, 2, 40), 1.0, (1.0, 0.0)),
        GEOMETRY.with_volume((40, 2, 20)),
    ]
    for other in others:
        built(other)
    built(model="joseph")
    built(precision="float64")
    assert len(list(cache.iterdir())) == 3 + len(others)


@pytest.mark.parametrize("damage", ["cut", "one byte", "empty", "text", "a folder"])
def test_a_damaged_file_is_built_again(cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built()
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "one byte": bytes(flipped), "empty": b"", "text": b"not a matrix"}[damage])
    assert same(built(), first)
    assert list(cache.iterdir()) == [path]
    if damage != "a folder":
        monkeypatch.setattr(matrix, "build", None)
        assert same(built(), first)


def test_a_cache_that_cannot_be_written_does_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(matrix_cache, "_WORTH_KEEPING", 0)
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path / "file"))
    built()


def test_cache_off_and_small_matrices_write_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(cache=False)
    monkeypatch.setattr(matrix_cache, "_WORTH_KEEPING", 10**6)
    built()
    assert not cache.exists()


def test_files_used_least_recently_make_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geometries = [replace(GEOMETRY, axis_offset_pixels=float(offset)) for offset in range(3)]
    built(geometries[0])
    (first,) = cache.iterdir()
    monkeypatch.setattr(matrix_cache, "_KEPT_BYTES", int(2.5 * first.stat().st_size))
    time.sleep(0.02)
    built(geometries[1])
    (second,) = set(cache.iterdir()) - {first}
    time.sleep(0.02)
    built(geometries[0])
    built(geometries[2])
    assert first.exists()
    assert not second.exists()
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("model", ["strip", "joseph"])
def test_matrices_too_large_to_keep_give_the_same_results(model: str) -> None:
    stored, computed = (TorchProjector(GEOMETRY, TorchProjectorOptions(model=model, matrix_gib=gib), CPU) for gib in (8, 2e-4))
    assert computed._pair is None
    assert 1 < computed._num_blocks < GEOMETRY.num_tilts
    slices, sinograms = torch.randn(19, 20, 40), torch.randn(19, 11, 48)
    torch.testing.assert_close(computed.project(slices), stored.project(slices))
    torch.testing.assert_close(computed.backproject(sinograms), stored.backproject(sinograms))


def test_memory_bound_counts_the_matrices_and_falls_when_they_are_not_kept() -> None:
    stored, computed = (TorchProjector(GEOMETRY, TorchProjectorOptions(matrix_gib=gib), CPU) for gib in (8, 1e-5))
    parts = [part for rows in built() for part in (rows.crow_indices(), rows.col_indices(), rows.values())]
    assert stored.memory_bytes(0) == sum(part.numel() * part.element_size() for part in parts)
    assert computed.memory_bytes(0) < stored.memory_bytes(0)


def test_matrices_that_do_not_fit_are_a_device_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(matrix, "build", build)
    with pytest.raises(DeviceError, match="GiB do not fit on cpu; use a smaller box, a smaller matrix_gib"):
        TorchProjector(GEOMETRY, TorchProjectorOptions(cache=False), CPU)


def test_a_wrong_shape_is_one_clear_line() -> None:
    projector = TorchProjector(GEOMETRY, TorchProjectorOptions(), CPU)
    with pytest.raises(InputError, match=r"got shape \(2, 40, 20\): expected \(y, 20, 40\)"):
        projector.project(torch.zeros(2, 40, 20))
    with pytest.raises(InputError, match=r"got shape \(11, 48\): expected \(y, 11, 48\)"):
        projector.backproject(torch.zeros(11, 48))


def test_unknown_options_and_values_are_refused() -> None:
    for wrong in ({"modell": "strip"}, {"model": "ray"}, {"matrix_gib": 0}):
        with pytest.raises(ValidationError):
            TorchProjectorOptions(**wrong)
