"""``wedge watch`` and ``wedge reconstruct --watch``: where the page is, how it ends, and what is refused."""

import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from wedge import store
from wedge.cli import watching
from wedge.cli.fit_run import FitRun
from wedge.pages.run_files import RunFiles

QUICK = ["--method", "network", "--tune", "none", "--passes", "12", "--batch-rows", "8", "--projector-opt", "cache=false"]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/[\w-]{43,}/")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("phantom")
    sizes = ["--shape", "8", "16", "24", "--num-tilts", "13", "--tilt-range", "-60", "60"]
    assert run(["simulate-spheres", "-o", str(folder), *sizes, "--seed", "3"]) == 0
    return folder


@contextmanager
def taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def get(address, tag=None):
    request = urllib.request.Request(address, headers={"If-None-Match": tag} if tag else {})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read(), answer.headers["ETag"]


@pytest.fixture
def heard(monkeypatch):
    """Watch the page of a fit of this process: ``heard.states`` are all states that it told, up to the last."""

    class Heard:
        def __init__(self):
            self.said, self.states, self.thread = [], [], None

        def say(self, message):
            self.said.append(message)
            if (found := ADDRESS.search(message)) and self.thread is None:
                self.thread = threading.Thread(target=self.read, args=(found[0],))
                self.thread.start()

        def read(self, address):
            tag = None
            while not self.states or not self.states[-1].get("closing"):
                try:
                    body, tag = get(f"{address}state?wait=20", tag)
                except urllib.error.HTTPError as error:
                    if error.code != 304:
                        raise
                    continue
                self.states.append(json.loads(body))

    made = Heard()
    monkeypatch.setattr(watching, "say", made.say)
    yield made
    if made.thread is not None:
        made.thread.join(120)
        assert not made.thread.is_alive()


def test_a_watched_fit_has_a_page_from_beginning_to_end_and_the_same_result(wedge, phantom, tmp_path, heard):
    done = wedge("reconstruct", phantom / "tilts.zarr", "-o", tmp_path / "w.zarr", *QUICK, "--watch")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [str(tmp_path / "w.zarr")]
    assert re.search(r"ssh -L (\d+):127\.0\.0\.1:\1 ", heard.said[0])
    heard.thread.join(120)
    assert heard.states[0]["title"] == "w.zarr"
    assert heard.states[-1]["state"] == "ended"
    assert heard.states[-1]["progress"] == [24, 24]
    assert wedge("reconstruct", phantom / "tilts.zarr", "-o", tmp_path / "p.zarr", *QUICK).code == 0
    watched, plain = (np.asarray(store.open_volume(tmp_path / name).array[:]) for name in ("w.zarr", "p.zarr"))
    assert np.array_equal(watched, plain)
    assert not (tmp_path / "p.zarr.run" / "watch").exists()


def test_halves_are_followed_one_after_another(wedge, phantom, tmp_path, heard):
    halves = [tmp_path / "even.zarr", tmp_path / "odd.zarr"]
    done = wedge("reconstruct", phantom / "tilts.zarr", "-o", tmp_path / "v.zarr", *QUICK, "--watch", "--halves", *halves)
    assert done.code == 0, done.err
    heard.thread.join(120)
    assert heard.states[-1]["title"] == "odd.zarr"
    for path in (tmp_path / "v.zarr", *halves):
        assert RunFiles(path.with_name(path.name + ".run") / "watch").state()["state"] == "ended"


def test_a_fit_that_cannot_begin_says_so_on_its_page(wedge, tmp_path, heard):
    done = wedge("reconstruct", tmp_path / "nothing.zarr", "-o", tmp_path / "v.zarr", "--watch")
    assert done.code == 3
    heard.thread.join(120)
    assert heard.states[-1]["state"] == "failed"
    assert heard.states[-1]["error"] == done.error


def test_those_who_take_part_in_a_watched_fit_serve_no_page(monkeypatch, tmp_path):
    class EnoughError(Exception):
        pass

    def followers(follow, devices):
        follower = pickle.loads(pickle.dumps(follow)).args[0]
        assert (follower.page, follower.devices) == (None, ("cpu", "cpu"))
        raise EnoughError

    monkeypatch.setattr("wedge.fit.launch.followers", followers)
    run = FitRun(tmp_path / "t.zarr", tmp_path / "v.zarr", devices=("cpu", "cpu"), page=watching.FitPage(tmp_path / "v.zarr"))
    with pytest.raises(EnoughError), run._team(None, {}, None, None):
        pass


def test_json_tells_the_state_and_ends(wedge, phantom, tmp_path):
    assert wedge("reconstruct", phantom / "tilts.zarr", "-o", tmp_path / "v.zarr", *QUICK, "--observer", "watch").code == 0
    for path in (tmp_path / "v.zarr.run", tmp_path / "v.zarr"):
        done = wedge("watch", path, "--json")
        assert (done.code, done.err) == (0, "")
        state = json.loads(done.out)
        assert (state["state"], state["step"], state["result"]) == ("ended", 24, True)
    assert json.loads(wedge("watch", phantom / "volume.zarr", "--json").out)["state"] == "volume"


def test_the_command_serves_until_it_is_interrupted(phantom):
    call = [sys.executable, "-m", "wedge", "watch", str(phantom / "volume.zarr")]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert ADDRESS.fullmatch(line.strip())
        assert json.loads(get(line.strip() + "state")[0])["state"] == "volume"
        assert b"<title>wedge</title>" in get(line.strip())[0]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    assert "ssh -L" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.run", "no such run"),
        ("tilts.zarr", "is a tilt series"),
        ("", "is no run of wedge"),
        ("damaged.mrc", "damaged.mrc"),
        ("unknown.xyz", "unknown.xyz"),
    ],
)
def test_what_is_no_run_is_one_line(wedge, phantom, name, words):
    (phantom / "damaged.mrc").write_bytes(b"no map")
    (phantom / "unknown.xyz").write_bytes(b"?")
    done = wedge("watch", phantom / name if name else phantom)
    assert done.code in (2, 3)
    assert words in done.error
    assert done.out == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_run_that_may_not_be_read_is_one_line(wedge, tmp_path):
    run = tmp_path / "o.zarr.run"
    run.mkdir(mode=0)
    try:
        done = wedge("watch", run)
    finally:
        run.chmod(0o700)
    assert done.code == 3
    assert "permission" in done.error.lower()


def test_ports_that_cannot_be_had_are_one_line(wedge, phantom, tmp_path):
    fit = ("reconstruct", phantom / "tilts.zarr", "-o", tmp_path / "v.zarr")
    with taken_port() as port:
        for command in (("watch", phantom / "volume.zarr"), (*fit, "--watch")):
            done = wedge(*command, "--port", port)
            assert done.code == 2
            assert f"--port {port} cannot be had" in done.error
    for port in ("0", "65536", "x"):
        assert wedge("watch", phantom / "volume.zarr", "--port", port).code == 2
    refused = wedge(*fit, "--port", "8000")
    assert refused.code == 2
    assert "--watch" in refused.error
    assert wedge(*fit, "--watch", "--dry-run").code == 2
    assert not list(tmp_path.iterdir())
