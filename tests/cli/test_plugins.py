import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MIXED = """
    from wedge.plugin_api import Component, hookimpl

    @hookimpl
    def wedge_projectors():
        return [
            Component("skewed", "Its transpose is wrong", "mixed_body:Skewed", "mixed_body:Options"),
            Component("loose", "Accepts any option", "mixed_body:Right", "mixed_body:Loose"),
            Component("right", "Is right", "mixed_body:Right", "mixed_body:Options"),
            Component("demanding", "Has no defaults", "mixed_body:Right", "mixed_body:Demanding"),
            Component("untyped", "Options are no model", "mixed_body:Right", "mixed_body:Right"),
            Component("elsewhere", "Not here", "mixed_body:Right", "mixed_body:Options", probe="mixed_body:probe"),
        ]

    @hookimpl
    def wedge_networks():
        return [Component("flat", "Returns the wrong shape", "mixed_body:Flat")]

    @hookimpl
    def wedge_regularizers():
        return [
            Component("nan", "Returns no number", "mixed_body:Nan"),
            Component("heavy", "Has the fit's option", "mixed_body:Nan", "mixed_body:Heavy"),
        ]

    @hookimpl
    def wedge_metrics():
        return [Component("vague", "Knows no direction", "mixed_body:Vague")]

    @hookimpl
    def wedge_observers():
        return [Component("blind", "Lacks methods", "mixed_body:Vague")]

    @hookimpl
    def wedge_commands():
        return [Component("sound", "Does nothing.", "mixed_body:probe")]
"""
BODY = """
import torch
from pydantic import BaseModel, ConfigDict

class Loose(BaseModel):
    pass

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

class Demanding(Options):
    kernel: int

class Heavy(Options):
    weight: float = 1.0

def probe():
    return "needs a machine of another kind"

class Right:
    adjoint_tolerance = 1e-6
    factor = 1.0

    def __init__(self, geometry, options, device):
        self.geometry = geometry

    def project(self, slices):
        return slices.sum(1, keepdim=True).repeat(1, self.geometry.num_tilts, 1)

    def backproject(self, sinograms):
        return self.factor * sinograms.sum(1, keepdim=True).repeat(1, self.geometry.volume_shape[0], 1)

    def memory_bytes(self, n_slices):
        return 0

    def close(self):
        pass

class Skewed(Right):
    factor = 1.1

class Flat(torch.nn.Module):
    def __init__(self, box, options):
        super().__init__()

    def forward(self, lattice):
        return torch.zeros(3)

class Nan:
    halo_rows = 0

    def __init__(self, geometry, options):
        pass

    def __call__(self, slices, context):
        return slices.sum() * float("nan")

class Vague:
    scope, better = "slice", "sideways"

    def __init__(self, options):
        pass
"""


@pytest.fixture
def mixed(make_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, wedge: Callable) -> Iterator[Callable]:
    """Return a function that runs ``wedge plugins`` where a mixed and a broken distribution are installed."""
    site = make_distribution("mixed", MIXED)
    make_distribution("bad", "raise RuntimeError('no licence')")
    (site / "mixed_body.py").write_text(BODY)
    monkeypatch.syspath_prepend(site)
    yield lambda *arguments: wedge("plugins", *arguments)
    for name in ("mixed", "mixed_body", "bad"):
        sys.modules.pop(name, None)


def test_list_shows_components_with_their_owners_and_what_is_broken(mixed: Callable) -> None:
    done = mixed("list")
    assert done.code == 0
    lines = done.out.splitlines()
    assert any(line.split()[:4] == ["projector", "right", "mixed", "1.0"] for line in lines)
    assert any(line.split()[:4] == ["projector", "torch", "wedge-tomo", "0.1.0"] for line in lines)
    assert any(
        line.startswith("broken") and "bad" in line and "RuntimeError: no licence; update or uninstall bad" in line for line in lines
    )
    assert any("elsewhere" in line and "[needs a machine of another kind]" in line for line in lines)


def test_list_as_json(mixed: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(mixed("list", "--json", "--kind", "network").out)
    assert {row["kind"] for row in listed["components"]} == {"network"}
    assert [bad["name"] for bad in listed["broken"]] == ["bad"]
    monkeypatch.setenv("WEDGE_PLUGINS", "mixed")
    assert json.loads(mixed("list", "--json").out)["disabled"] == ["bad"]


def test_check_finds_what_is_wrong_with_each(mixed: Callable) -> None:
    done = mixed("check", "--json")
    assert done.code == 4
    findings = {row["name"]: (row["status"], row["detail"]) for row in json.loads(done.out)["findings"]}
    expected = {
        "skewed": ("broken", "not the transpose"),
        "loose": ("broken", "accepts unknown options"),
        "right": ("ok", "transpose right"),
        "demanding": ("ok", "not built: projector demanding: option 'kernel' is missing"),
        "untyped": ("broken", "not a pydantic model"),
        "elsewhere": ("unavailable", "another kind"),
        "flat": ("broken", "expected (2, 6, 8)"),
        "nan": ("broken", "expected one finite number"),
        "heavy": ("broken", "the fit applies it"),
        "vague": ("broken", "expected slice or volume, higher or lower"),
        "blind": ("broken", "lacks start, step, preview, end, failed"),
        "sound": ("ok", "imported"),
        "bad": ("broken", "no licence"),
    }
    assert {name: (findings[name][0], words) for name, (_, words) in expected.items()} == expected
    for name, (_, words) in expected.items():
        assert words in findings[name][1], name
    assert done.err.startswith("wedge: error: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("right", 0), ("skewed", 4), ("elsewhere", 4), ("bad", 4), ("mixed", 4), ("rihgt", 2)])
def test_check_of_one_answers_for_it_alone(mixed: Callable, name: str, code: int) -> None:
    assert mixed("check", name).code == code


def test_show_tells_options_and_availability(wedge: Callable) -> None:
    shown = wedge("plugins", "show", "torch").out
    assert shown.startswith("projector torch: ")
    assert "from plugin torch of wedge-tomo" in shown
    assert "model=strip" in shown
    assert "strip|joseph" in shown
    (component,) = json.loads(wedge("plugins", "show", "torch", "--json").out)["components"]
    assert {row["key"] for row in component["options"]} >= {"model", "cache"}
    assert all(row["description"] for row in component["options"])


@pytest.mark.parametrize("arguments", [("list", "--kind", "netwrok"), ("show", "torhc"), ("check", "torhc")])
def test_an_unknown_name_gets_the_nearest(wedge: Callable, arguments: tuple[str, ...]) -> None:
    outcome = wedge("plugins", *arguments)
    assert outcome.code == 2
    assert "did you mean" in outcome.error


def test_every_option_of_every_component_is_described() -> None:
    from wedge.options import describe_options
    from wedge.registry import Registry, option_model, unavailable

    for entry in Registry.load({"WEDGE_PLUGINS": ""}).entries():
        if unavailable(entry) is None:
            undescribed = [row.key for row in describe_options(option_model(entry)) if not row.description]
            assert not undescribed, entry.title
