"""Laws of reading ahead and writing behind: the same order, one slab and no more, and nothing under way afterwards."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from wedge import store
from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fbp import fbp
from wedge.fit import data_term
from wedge.fit.config import DataTermConfig
from wedge.fit.data_term import DataTerm, Perturbation, whole_part
from wedge.fit.normalization import Normalization
from wedge.geometry import TiltGeometry
from wedge.out_of_memory import RowsAtOnce
from wedge.overlap import WriteBehind, computed, read_ahead
from wedge.registry import Registry
from wedge.slabs import slab_ranges

SOON = 10.0  # seconds, of what takes none
CPU = torch.device("cpu")


def test_the_next_slab_is_read_while_one_is_used_and_none_beyond_it():
    begun = [Event() for _ in range(4)]

    def read(rows: range) -> int:
        begun[rows.start].set()
        return 10 * rows.start

    for rows, value in read_ahead(read, slab_ranges(4, 1)):
        assert value == 10 * rows.start
        if rows.start < 3:
            assert begun[rows.start + 1].wait(SOON)
        assert not any(event.wait(0.02) for event in begun[rows.start + 2 :])


def test_what_cannot_be_read_is_told_in_its_turn():
    def read(rows: range) -> int:
        if rows.start == 2:
            raise InputError("cannot read rows 2..3")
        return rows.start

    seen: list[int] = []
    with pytest.raises(InputError, match=r"rows 2\.\.3"):
        seen.extend(value for _, value in read_ahead(read, slab_ranges(5, 1)))
    assert seen == [0, 1]


def test_later_slabs_are_smaller_where_memory_ran_out():
    read = []

    def work(block: torch.Tensor) -> torch.Tensor:
        if len(block) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * block

    def rows_read(rows: range) -> torch.Tensor:
        read.append(len(rows))
        return torch.arange(rows.start, rows.stop)

    with pytest.warns(UserWarning, match="out of memory"):
        found = list(computed(rows_read, work, 30, RowsAtOnce(8)))
    assert read == [8, 8, 2, 2, 2, 2, 2, 2, 2]
    assert torch.equal(torch.cat([block for _, block in found]), 2 * torch.arange(30))
    assert [row for rows, _ in found for row in rows] == list(range(30))


class Slow:
    """Writes when it is let; tells what was written."""

    def __init__(self) -> None:
        self.begun, self.let, self.rows = Event(), Event(), []

    def write_rows(self, y_start: int, block: str) -> None:
        self.begun.set()
        assert self.let.wait(SOON)
        self.rows.append((y_start, block))


def test_work_goes_on_while_rows_are_written_and_all_are_written_in_order_at_the_end():
    slow = Slow()
    with WriteBehind(slow) as behind:
        behind.write_rows(0, "a")
        assert slow.begun.wait(SOON)
        assert slow.rows == []
        slow.let.set()
        behind.write_rows(1, "b")
        behind.write_rows(2, "c")
    assert slow.rows == [(0, "a"), (1, "b"), (2, "c")]


def test_an_interruption_waits_for_the_rows_under_way_and_writes_no_others():
    slow = Slow()

    def interrupted() -> None:
        with WriteBehind(slow) as behind:
            behind.write_rows(0, "a")
            assert slow.begun.wait(SOON)
            slow.let.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert slow.rows == [(0, "a")]


@pytest.mark.parametrize("more", [0, 1])
def test_what_cannot_be_written_is_told_at_the_next_rows_or_at_the_end(more):
    class Full:
        def write_rows(self, y_start: int, block: str) -> None:
            raise InputError("disk is full")

    def run() -> None:
        with WriteBehind(Full()) as behind:
            behind.write_rows(0, "a")
            for _ in range(more):
                behind.write_rows(1, "b")
                pytest.fail("told too late")

    with pytest.raises(InputError, match="disk is full"):
        run()


@pytest.fixture
def tilts() -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 15)), (40, 16), (8, 40, 16))
    random = np.random.default_rng(0)
    views, weights = random.uniform(size=(2, 15, 40, 16)).astype(np.float32)
    return TiltSeries(views, geometry, "views", simulated=True, weights=weights)


def test_a_disk_that_fills_up_ends_the_backprojection_in_one_line_and_leaves_nothing(tilts, tmp_path, monkeypatch):
    def full(array: object, y_start: int, block: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_rows", full)
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": "false"})

    def run(path: Path) -> None:
        with store.create_volume(path, tilts.geometry.volume_shape) as writer:
            fbp(tilts, writer, projector.build, slab_rows=8)

    with pytest.raises(InputError, match=r"disk is full: cannot write .*v\.zarr"):
        run(tmp_path / "v.zarr")
    assert not list(tmp_path.iterdir())


def test_views_that_stay_on_the_device_are_those_that_are_read_when_asked_for(tilts, monkeypatch):
    monkeypatch.setattr(data_term, "_ROWS_READ", 7)
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": "false"}).build(tilts.geometry, CPU)
    units, noise = Normalization(0.3, 0.7, True), Perturbation(0.2, 5)
    slab = data_term.Slab(3, 31, 3, 31)
    kept, read = (
        DataTerm(whole_part(tilts), projector, units, DataTermConfig(), CPU, resident, perturbation=noise) for resident in (True, False)
    )
    assert torch.equal(kept.measured(slab), read.measured(slab))
    assert torch.equal(kept.ray_weights(slab), read.ray_weights(slab))
    assert torch.equal(kept.ray_weights(slab), torch.from_numpy(tilts.weights[:, 3:31].transpose(1, 0, 2).copy()))
