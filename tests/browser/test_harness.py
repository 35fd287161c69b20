"""The harness of the tests of pages sees what it must see."""

import numpy as np
import pytest

RED = '<div style="width: 60px; height: 40px; background: rgb(255, 0, 0)"></div>'


def test_parts_are_served_under_the_strict_policy(open_parts):
    script = b"let result; try { result = new Function('return 1')() } catch (error) { result = error.name } document.title = result"
    page = open_parts("assets/preview.js", "eval.js", body="<p id=text>here</p>", files={"/eval.js": script})
    assert page.evaluate("typeof Wedge.decodePreview") == "function"
    assert page.locator("#text").inner_text() == "here"
    assert page.title() == "EvalError"


@pytest.mark.parametrize(
    "script",
    ["console.error('broken')", "setTimeout(() => { throw new Error('broken') })"],
    ids=["console", "script"],
)
def test_errors_are_seen(open_parts, page_log, script):
    page = open_parts("broken.js", files={"/broken.js": script.encode()})
    for _ in range(500):
        if page_log.errors:
            break
        page.wait_for_timeout(20)
    assert any("broken" in error for error in page_log.errors)
    page_log.errors.clear()


def test_requests_to_others_are_seen_and_refused(open_parts, page_log):
    page = open_parts(csp="default-src *")
    assert page.evaluate("fetch('https://example.org/x').then(() => 'answered', () => 'refused')") == "refused"
    assert page_log.outside == ["https://example.org/x"]
    page_log.requests.clear()
    page_log.errors.clear()


def test_screenshots_are_pixels(open_parts, screenshot):
    page = open_parts(body=RED)
    pixels = screenshot("red", page.locator("div"))
    assert pixels.shape == (40, 60, 3)
    assert np.array_equal(pixels[20, 30], [255, 0, 0])


def test_webgl2_is_there(open_parts):
    assert open_parts().evaluate("document.createElement('canvas').getContext('webgl2') !== null")
