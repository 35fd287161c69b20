"""Laws of teams: each row is one's, sums are everyone's, and what ends one is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wedge.errors import DeviceError, WedgeError
from wedge.fit import team
from wedge.fit.launch import followers

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("segments", [[(0, 10)], [(0, 3), (9, 12)], [(4, 5)], []])
def test_every_row_is_one_processs_and_all_are_taken(monkeypatch, size, segments):
    monkeypatch.setattr(team, "size", lambda: size)
    taken = []
    for rank in range(size):
        monkeypatch.setattr(team, "rank", lambda rank=rank: rank)
        taken += [row for start, stop in team.share(segments) for row in range(start, stop)]
    assert taken == [row for start, stop in segments for row in range(start, stop)]


def test_a_process_of_its_own_is_a_team_of_one():
    parameter = torch.nn.Parameter(torch.ones(2))
    team.add_up_gradients([parameter])
    assert (team.size(), team.rank(), team.leads(), team.total(2.5, CPU), parameter.grad) == (1, 0, True, 2.5, None)


def sum_up(rank: int, store: Path, ready: Callable[[], None]) -> None:
    ready()
    with team.membership(rank, 2, store, CPU):
        parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (3, 1, 2)]
        parameters[0].grad = torch.tensor([1.0, 2.0, 3.0])
        team.add_up_gradients(iter(parameters))
        team.total(float(parameters[0].grad.sum()), CPU)
        team.least(3, CPU)
        team.collect(torch.full((2, 1), 7.0), [(1, 1), (2, 1)], CPU)


def test_gradients_numbers_and_blocks_come_together():
    with followers(sum_up, ["cpu", "cpu"]) as store, team.membership(0, 2, store, CPU):
        parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (3, 1, 2)]
        parameters[1].grad = torch.tensor([5.0])
        team.add_up_gradients(iter(parameters))
        assert [part.grad.tolist() for part in parameters[:2]] == [[1.0, 2.0, 3.0], [5.0]]
        # An optimizer would move it, along what it remembers.
        assert parameters[2].grad is None
        assert team.total(0.5, CPU) == 6.5
        assert team.least(4, CPU) == 3
        blocks = team.collect(torch.zeros(1, 1), [(1, 1), (2, 1)], CPU)
        assert [block.tolist() for block in blocks] == [[[0.0]], [[7.0], [7.0]]]
    assert team.size() == 1


def finish(rank: int, store: Path, ready: Callable[[], None]) -> None:
    ready()


def test_an_error_of_the_one_that_leads_is_its_own():
    def lead() -> None:
        with followers(finish, ["cpu", "cpu"]):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        lead()


def refuse(rank: int, store: Path, ready: Callable[[], None]) -> None:
    raise DeviceError("no memory left")


def vanish(rank: int, store: Path, ready: Callable[[], None]) -> None:
    os._exit(1)


def break_down(rank: int, store: Path, ready: Callable[[], None]) -> None:
    ready()
    with team.membership(rank, 2, store, CPU):
        raise ValueError("a step that fails")


@pytest.mark.parametrize(("follow", "words"), [(refuse, "cpu: no memory left"), (vanish, "cpu: its process ended")])
def test_who_cannot_begin_says_why(follow, words):
    with pytest.raises(DeviceError, match=words), followers(follow, ["cpu", "cpu"]):
        pytest.fail("the block must not begin")


def test_who_fails_on_the_way_ends_all_and_says_why():
    def lead() -> None:
        with followers(break_down, ["cpu", "cpu"]) as store, team.membership(0, 2, store, CPU):
            while True:
                team.total(1.0, CPU)

    with pytest.raises(WedgeError, match="ValueError: a step that fails"):
        lead()
