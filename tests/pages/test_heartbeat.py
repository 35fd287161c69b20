"""Laws of signs of life: they are judged by how often they come, and a wrong clock of another machine misleads nobody."""

import os
import socket
import subprocess
import sys

import pytest

from wedge.pages.heartbeat import Heartbeat
from wedge.pages.process_place import is_gone, process_place

WRITTEN = 1_000_000.0
ELSEWHERE, HERE = "another-machine", socket.gethostname()


class Clock:
    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def state(beat=1, host=ELSEWHERE, every=2.0, **more):
    return {"beat": beat, "host": host, "pid": 1, "beat_seconds": every, "written": WRITTEN, **more}


@pytest.mark.parametrize("clock_error", [-1e6, -300.0, 0.0, 300.0, 1e6])
def test_beats_that_come_are_life_whatever_the_other_clock_says(clock, clock_error):
    heart = Heartbeat(clock, lambda: WRITTEN + clock.now + clock_error)
    heart.judge(state(1))
    for beat in range(2, 40):
        clock.now += 2.0
        assert heart.judge(state(beat)) == "alive"


def test_an_old_beat_of_another_machine_is_waited_for_before_it_is_called_stalled(clock):
    heart = Heartbeat(clock, lambda: WRITTEN + 3600)
    assert heart.judge(state()) == "waiting"
    clock.now = 79.0  # ten beats, and what a shared disk may take
    assert heart.judge(state()) == "waiting"
    clock.now = 81.0
    assert heart.judge(state()) == "stalled"
    clock.now = 82.0
    assert heart.judge(state(2)) == "alive"


def test_an_old_beat_of_this_machine_is_stalled_at_once(clock):
    assert Heartbeat(clock, lambda: WRITTEN + 21).judge(state(host=HERE)) == "stalled"
    assert Heartbeat(clock, lambda: WRITTEN + 19).judge(state(host=HERE)) == "alive"


@pytest.mark.parametrize("every", [0.1, 2.0, 30.0])
def test_the_limit_follows_the_beats_own_distance(clock, every):
    heart = Heartbeat(clock, lambda: WRITTEN)
    assert heart.judge(state(host=HERE, every=every)) == "alive"
    clock.now = 9.9 * every
    assert heart.judge(state(host=HERE, every=every)) == "alive"
    clock.now = 10.1 * every
    assert heart.judge(state(host=HERE, every=every)) == "stalled"


@pytest.mark.parametrize("nonsense", [None, "fast", -1, float("nan"), 1e30, True])
def test_nonsense_in_a_state_does_no_harm(clock, nonsense):
    told = state(every=nonsense) | {"written": nonsense, "pid": nonsense, "place": nonsense}
    assert Heartbeat(clock, lambda: WRITTEN).judge(told) in ("alive", "waiting")


def test_a_process_that_is_no_more_is_known_to_be_gone():
    code = "import time; from wedge.pages.process_place import process_place; print(process_place(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        place = process.stdout.readline().strip()
        assert place
        assert not is_gone(place, process.pid)
        process.kill()
        process.wait()
        assert is_gone(place, process.pid)
    # Another process of that number, another machine, and nothing told: nobody knows.
    assert is_gone(place, os.getpid())
    assert not is_gone("elsewhere " + place.partition(" ")[2], process.pid)
    assert not is_gone(None, process.pid)
    assert not is_gone(process_place(), os.getpid())


def test_a_process_that_is_gone_is_told_before_its_beats_are_missed(clock):
    heart = Heartbeat(clock, lambda: WRITTEN)
    gone = process_place().rpartition(" ")[0] + " 1"
    assert heart.judge(state(host=HERE, place=gone, pid=os.getpid())) == "gone"
