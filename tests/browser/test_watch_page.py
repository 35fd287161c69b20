"""The page of a run in a browser: it renews itself, keeps what the reader chose, and says what became of the fit."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wedge.pages.heartbeat import Heartbeat
from wedge.pages.run_state import RunState
from wedge.pages.server import PageServer
from wedge.pages.subject import Subject
from wedge.pages.watch_page import watch_page

_spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).parents[1] / "pages" / "conftest.py")
fake_runs = importlib.util.module_from_spec(_spec)
sys.modules["fake_runs"] = fake_runs
_spec.loader.exec_module(fake_runs)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def fake(tmp_path):
    made = fake_runs.FakeRun(tmp_path / "o.zarr")
    made.tell(progress=[3, 10])
    return made


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(fake, clock):
    made = PageServer(RunState(Subject(fake.run_dir, fake.output), Heartbeat(clock, time.time)), watch_page())
    yield made
    made.close()


def wait(page, condition, arg=None):
    """Wait until something is so; asked from outside, since the page's policy forbids it to evaluate text."""
    deadline = time.monotonic() + 120
    while not page.evaluate(condition, arg):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def has_state(page, name):
    wait(page, f"document.getElementById('badge').dataset.state === '{name}'")


@pytest.fixture
def opened(page, server, fake):
    fake.show(3)
    page.goto(server.address)
    wait(page, "window.Wedge && Wedge.watch && Wedge.watch.shown.preview && Wedge.watch.shown.curves && Wedge.watch.shown.spectrum")
    return page


def test_a_running_fit_is_shown_whole(opened, page_log, server):
    assert opened.title() == "30 % · o.zarr · wedge"
    assert opened.locator("#badge").inner_text() == "running"
    text = opened.locator("#facts").inner_text()
    for words in ("3 of 10", "12 s", "about 28 s", "0.5000", "0.2500", "1.00 GiB", "cpu", "network", "wedge reconstruct t.zarr"):
        assert words in text
    for part in ("#scene canvas", "#slices canvas", "#spectrum svg", "#curves svg"):
        assert opened.locator(part).first.is_visible(), part
    assert opened.locator("[data-plane]").count() == 3
    assert "60" in opened.locator("#spectrum").inner_text()
    assert {url.split("/")[3] for url in page_log.requests if url.startswith("http")} == {server.token}


def test_the_page_renews_itself_and_keeps_what_the_reader_chose(opened, fake, page_log):
    opened.evaluate("Wedge.watch.slices.setCursor({z: 0.2, y: 0.7, x: 0.9})")
    opened.evaluate("Wedge.watch.slices.setWindow(0.1, 0.6)")
    opened.evaluate("Wedge.watch.scene.setMode('surface')")
    opened.evaluate("Wedge.watch.scene.setThreshold(0.4)")
    opened.evaluate("(() => { const c = Wedge.watch.scene.camera(); c.zoom = 2; Wedge.watch.scene.setCamera(c); })()")
    chosen = (
        "JSON.stringify([Wedge.watch.scene.camera(), Wedge.watch.slices.cursor(), Wedge.watch.slices.window(), Wedge.watch.scene.state])"
    )
    before, shown = opened.evaluate(chosen), opened.evaluate("Wedge.watch.shown")
    codes = opened.evaluate("Array.from(Wedge.watch.slices._preview.codes).filter((code) => code > 127).length")
    fake.show(9)
    fake.tell(progress=[9, 10], step=9, preview={"step": 9, "what": "the field at step 9"})
    wait(opened, "document.title.startsWith('90 %')")
    wait(opened, "(before) => Wedge.watch.shown.preview !== before", arg=shown["preview"])
    wait(opened, "(before) => Wedge.watch.shown.curves !== before", arg=shown["curves"])
    assert "the field at step 9" in opened.locator("#what").inner_text()
    grown = opened.evaluate("Array.from(Wedge.watch.slices._preview.codes).filter((code) => code > 127).length")
    assert grown > 1.3 * codes
    assert opened.evaluate(chosen) == before
    # Pictures are sent when they are new, and not otherwise.
    sent = sum(url.endswith("/preview") for url in page_log.requests)
    fake.tell(progress=[10, 10])
    wait(opened, "document.title.startsWith('100 %')")
    assert sum(url.endswith("/preview") for url in page_log.requests) == sent == 2


@pytest.mark.parametrize("how", ["ended", "failed", "interrupted"])
def test_the_end_of_a_fit_is_told(opened, fake, how):
    if how != "ended":
        fake.checkpoint()
    fake.tell(how, **({} if how == "ended" else {"error": "the loss is not finite"}))
    has_state(opened, how)
    assert opened.title().startswith(how)
    if how == "ended":
        assert "The fit has ended" in opened.locator("#text").inner_text()
        fake.result()
        wait(opened, "Wedge.watch.state.result && document.getElementById('what').textContent.includes('the result')")
        return
    assert opened.locator("#banner").inner_text() == "the loss is not finite"
    assert opened.locator("#resume code").inner_text() == "wedge reconstruct t.zarr -o o.zarr --resume"


def test_a_fit_that_gives_no_sign_of_life_is_told_to_be_stalled_until_it_does(opened, fake, clock):
    clock.now = 21.0
    has_state(opened, "stalled")
    assert "no sign of life" in opened.locator("#text").inner_text()
    fake.tell()
    has_state(opened, "running")


def test_a_server_that_goes_away_is_told_and_the_last_state_stays(opened, server, page_log):
    before = opened.locator("#facts").inner_text()
    server._server.source.look = lambda: {"state": "running"} and 1 / 0  # a fault, as of a killed process: no answer at all
    has_state(opened, "lost")
    assert "No answer from the server" in opened.locator("#banner").inner_text()
    assert opened.locator("#facts").inner_text() == before
    assert opened.locator("#slices canvas").first.is_visible()
    page_log.errors.clear()


def test_the_end_of_the_fits_own_server_is_no_loss(opened, fake, server):
    fake.tell("ended")
    server.close()
    has_state(opened, "ended")
    wait(opened, "document.getElementById('text').textContent.includes('wedge watch o.zarr')")


def test_a_page_whose_server_ends_before_the_fit_does_not_call_it_running(opened, server):
    server.close()
    has_state(opened, "lost")
    assert "No answer from the server" in opened.locator("#banner").inner_text()
    assert opened.title().startswith("connection lost")


def test_a_connection_that_only_seems_to_be_there_is_told(opened, fake, page_log):
    """As a tunnel to a machine that went away: what is asked is taken and not answered for longer than a server with no news takes."""
    opened.evaluate("Wedge.LONGEST_SILENCE_MS = 300")
    fake.tell()  # news, after which it asks again
    has_state(opened, "lost")
    page_log.errors.clear()


def test_a_fit_that_is_being_prepared_shows_how_far_that_is(page, server, fake):
    fake.tell(stage=["trial fits that choose the settings", 4, 13], progress=[0, 0], num_steps=None, step=None)
    page.goto(server.address)
    has_state(page, "running")
    assert page.locator("#stage").inner_text() == "preparing: trial fits that choose the settings, 4 of 13"
    assert page.locator("#pictures").is_hidden()


def test_a_fit_that_nobody_watched_says_what_is_missing(page, server, fake):
    (fake.run_dir / "watch" / "state.json").unlink()
    fake.checkpoint(4)
    page.goto(server.address)
    has_state(page, "unobserved")
    assert "checkpoint is of step 4" in page.locator("#text").inner_text()
    assert "--watch" in page.locator("#notes").inner_text()


def test_a_wrong_word_shows_nothing(page, server, page_log):
    answer = page.goto(server.address[:-2] + "x/")
    assert answer.status == 404
    assert "o.zarr" not in page.content()
    page_log.errors.clear()


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
def test_the_page_fits_any_width(page, server, fake, screenshot, width, scheme):
    fake.show(3)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(server.address)
    wait(page, "Wedge.watch && Wedge.watch.shown.preview && Wedge.watch.shown.spectrum")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = screenshot(f"{width}-{scheme}", full_page=True)
    corner = picture[2, 2].astype(int)
    assert (corner.mean() < 80) == (scheme == "dark")
    assert np.ptp(picture.reshape(-1, 3), axis=0).min() > 100
