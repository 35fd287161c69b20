"""Laws of random draws: functions of seed, purpose and index, and of nothing else."""

import itertools
import subprocess
import sys

import numpy as np
import torch

from wedge.draws import generator_for, seed_for


def test_seeds_are_the_same_in_every_process():
    code = "from wedge.draws import seed_for; print(seed_for(3, 'poisson', 7))"
    told = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert told == {f"{seed_for(3, 'poisson', 7)}\n"}


def test_seeds_stay_as_they_were_published():
    # A change here would make every recorded run another one.
    assert seed_for(0, "network") == seed_for(0, "network", 0) == 4442142659187107703
    assert generator_for(0, "batches", 2).initial_seed() == seed_for(0, "batches", 2)


def test_every_seed_purpose_and_index_has_its_own():
    keys = list(itertools.product(range(12), ["network", "batches", "poisson", "regularizer-1", "regularizer-11"], range(40)))
    assert len({seed_for(*key) for key in keys}) == len(keys)


def test_neighbouring_digits_do_not_run_together():
    assert seed_for(1, "a", 11) != seed_for(11, "a", 1)
    assert seed_for(1, "a/1", 2) != seed_for(1, "a", 12)


def test_seeds_fit_every_generator():
    seeds = [seed_for(seed, "any", index) for seed in (0, 1, 2**31, 2**63) for index in range(100)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    # All bits are used.
    assert max(seeds) > 2**62
    assert len({seed % 2 for seed in seeds}) == 2
    np.random.Generator(np.random.Philox(seeds[0]))


def test_draws_do_not_depend_on_what_was_drawn_before_nor_move_the_global_state():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.rand(5, generator=generator_for(4, "batches", 9))
    torch.rand(3, generator=generator_for(4, "batches", 8))
    assert torch.equal(torch.rand(5, generator=generator_for(4, "batches", 9)), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_of_neighbouring_indices_are_not_alike():
    streams = torch.stack([torch.randn(2000, generator=generator_for(0, "batches", index)) for index in range(8)])
    correlation = torch.corrcoef(streams) - torch.eye(8)
    assert float(correlation.abs().max()) < 0.1
