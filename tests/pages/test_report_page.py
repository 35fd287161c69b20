"""The file of a report: nothing from outside can become HTML or script, everything is inside, and its size is kept."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from wedge.contracts import Curve
from wedge.data import Volume
from wedge.errors import InputError, UsageError
from wedge.evaluate import Evaluation
from wedge.intensity import IntensityFit
from wedge.pages import report_page as page_module
from wedge.pages.report_build import Subject, refuse_unfit
from wedge.pages.report_made import command_of, made_of, time_text
from wedge.pages.report_page import LARGEST_BYTES, report_page

SHAPE = (12, 16, 20)
HOSTILE = "</script><script>alert(1)</script><!--\"'&<b>é\u2028</style>"
ABOUT = {"made": "2026-01-01", "command": "wedge report"}


class Reader(HTMLParser):
    """Collects what a browser would: scripts, their kinds, the elements, all text and all addresses."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self._script: dict[str, str | None] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        self.addresses += [str(known[name]) for name in ("src", "href", "action") if name in known]
        self.ids += [str(known["id"])] if "id" in known else []
        self._script = known if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((self._script, data))
        else:
            self.texts.append(data)


def volume(name: str, seed: int = 0, **known: Any) -> Volume:
    array = np.random.default_rng(seed).random(SHAPE).astype(np.float32)
    return Volume(array, 5.0, name, (-60.0, 0.0, 60.0), **known)


def record(text: str = HOSTILE) -> dict[str, Any]:
    return {"command": ["__main__.py", "fbp", text], "config": {text: [text]}, "device": text, "versions": {text: text},
            "inputs": [{"path": text, "blake2b": text}], "seconds": 3.0, "started": text}  # fmt: skip


def evaluation(text: str = "") -> Evaluation:
    curve = Curve("cycles per voxel", [0.25, 0.5], {"whole": [1.0, 0.2], "half-bit": [0.5, 0.5], f"cone{text}": [1.0, float("nan")]})
    values = {"psnr": 20.123456789, f"x{text}": 1.0, "fsc.resolution-0.5-angstrom": 12.5}
    return Evaluation(
        "v", "r", IntensityFit("affine", 2.0, 1.0), 1.0, values, {"psnr": [1.0] * SHAPE[1]}, {"fsc": curve}, {"psnr": f"note{text}"}
    )


def subject(text: str = "") -> Subject:
    volumes = [volume("truth.zarr"), volume(f"a{text.replace('/', '')}.zarr", 1, provenance=record(text or "x")), volume("b.zarr", 2)]
    return Subject(volumes, True, [evaluation(text), evaluation(text)], {"psnr": "higher"}, {"psnr": "dB"})


def test_hostile_names_and_records_stay_text() -> None:
    plain, hostile = (Reader(report_page(subject(text), text or "title", ABOUT)[0]) for text in ("", HOSTILE))
    assert hostile.tags == plain.tags
    assert len(hostile.scripts) == len(plain.scripts)
    text = "\n".join(hostile.texts)
    assert HOSTILE in text
    assert f"wedge fbp {command_of([HOSTILE])}" in text
    (data,) = [content for known, content in hostile.scripts if known.get("id") == "report-data"]
    assert "<" not in data
    assert any("<script>alert(1)<script>" in label for label in json.loads(data)["labels"])


def test_names_that_are_no_text_do_no_harm() -> None:
    """Bytes of a name that stand for no letter."""
    name = b"a\xff.zarr".decode("utf-8", "surrogateescape")
    page = report_page(Subject([volume(name), volume("b.zarr", 1)]), name, ABOUT)[0]
    assert "a?.zarr" in "\n".join(Reader(page).texts)
    assert page.encode()


def test_volumes_that_are_turned_over_are_named() -> None:
    first = volume("first.zarr")
    turned = Volume(3 - 2 * np.asarray(first.array), 5.0, "turned.zarr")
    told = "Turned over, since their high densities go with low ones of first: turned."
    assert told in Reader(report_page(Subject([first, volume("other.zarr"), turned]), "title", ABOUT)[0]).texts
    assert told not in Reader(report_page(Subject([first, turned], intensity_fit="none"), "title", ABOUT)[0]).texts


def test_no_text_of_a_script_ends_it() -> None:
    assert page_module._script("a = '</script><!-- </SCRIPT'") == "a = '<\\/script><\\!-- <\\/SCRIPT'"


def test_it_asks_for_nothing() -> None:
    page = report_page(subject(), "title", ABOUT)[0]
    reader = Reader(page)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in reader.addresses)
    assert "link" not in reader.tags
    assert not re.search(r"@import|url\(", page.split("</style>")[0])
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_every_script_is_one_that_the_policy_knows() -> None:
    page = report_page(subject(), "title", ABOUT)[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    known = set(re.findall(r"'sha256-([^']*)'", policy[1]))
    scripts = [content for attributes, content in Reader(page).scripts if not attributes.get("type")]
    assert len(scripts) > 8
    assert {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts} == known
    assert "unsafe-eval" not in policy[1]
    assert "script-src 'unsafe-inline'" not in policy[1]


def test_ids_differ_and_what_is_pointed_at_is_there() -> None:
    reader = Reader(report_page(subject(), "title", ABOUT)[0])
    assert len(set(reader.ids)) == len(reader.ids)
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_equal_input_gives_an_equal_page() -> None:
    assert report_page(subject(), "title", ABOUT)[0] == report_page(subject(), "title", ABOUT)[0]


def test_figures_are_there_without_scripts_and_for_scripts() -> None:
    page = report_page(subject(), "title", ABOUT)[0]
    assert 'data-value="20.123456789"' in page
    (data,) = [json.loads(content) for known, content in Reader(page).scripts if known.get("id") == "report-data"]
    figures = {figure["name"]: figure for figure in data["figures"]}
    assert figures["psnr"]["values"] == [20.123456789, 20.123456789]
    assert figures["psnr"]["unit"] == "dB"
    assert data["charts"]["resolution"][1]["series"][0]["y"] == [1.0, None]


def test_the_limit_is_kept_by_smaller_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, pictures = report_page(subject(), "title", ABOUT)
    assert pictures.longest_side == pictures.full_side == 20
    large = sum(map(len, pictures.packed))
    limit = len(whole) - large // 2
    monkeypatch.setattr(page_module, "LARGEST_BYTES", limit)
    monkeypatch.setattr(page_module, "_STILLS_BYTES", 20_000)
    small, pictures = report_page(subject(), "title", ABOUT)
    assert len(small.encode()) <= limit
    assert pictures.longest_side < 20
    assert f"binned to {pictures.longest_side} voxels along the longest side of 20" in small
    monkeypatch.setattr(page_module, "LARGEST_BYTES", 10_000)
    with pytest.raises(InputError, match="leave volumes out"):
        report_page(subject(), "title", ABOUT)


def test_the_limit_is_below_15_megabytes() -> None:
    assert LARGEST_BYTES <= 15e6


def test_what_cannot_stand_side_by_side_is_refused() -> None:
    with pytest.raises(UsageError, match="7 volumes"):
        refuse_unfit([volume(f"{place}.zarr") for place in range(7)])
    with pytest.raises(InputError, match="shapes"):
        refuse_unfit([volume("a.zarr"), Volume(np.zeros((2, 3, 4), np.float32), name="b.zarr")])


def test_other_voxel_sizes_are_said() -> None:
    two = Subject([volume("a.zarr"), replace(volume("b.zarr", 1), voxel_size_angstrom=7.0)])
    assert "Voxel sizes differ (a 5.0, b 7.0, in angstrom)" in report_page(two, "title", ABOUT)[0]


@pytest.mark.parametrize(
    "damaged", [{}, {"command": 3, "config": None, "inputs": "x", "versions": [], "seconds": "long"}, {"seconds": float("inf")}]
)
def test_damaged_records_are_shown_as_far_as_they_go(damaged: dict[str, Any]) -> None:
    made = made_of("a", volume("a.zarr", provenance=damaged))
    assert (made.command, made.config) == ("", "")
    page = report_page(Subject([volume("a.zarr", provenance=damaged)]), "title", ABOUT)[0]
    assert "Nobody recorded how it was made." in page or made.facts


def test_commands_can_be_typed_again() -> None:
    assert command_of(["__main__.py", "fbp", "my tilts.zarr", "-o", "it's.zarr"]) == "wedge fbp 'my tilts.zarr' -o 'it'\"'\"'s.zarr'"
    assert command_of(["other", "x"]) == "other x"
    assert command_of(None) == ""


def test_times_are_told_as_people_do() -> None:
    assert [time_text(seconds) for seconds in (0.2531, 145, 7300)] == ["0.253 s", "2 min 25 s", "2 h 1 min"]
