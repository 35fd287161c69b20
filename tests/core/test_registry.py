import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from wedge.contracts import API_VERSION, Component
from wedge.errors import InputError, PluginError, UsageError
from wedge.manifest import HOOK_OF_KIND, BrokenPlugin
from wedge.registry import KINDS, Registry, unavailable

SOUND = """
    from pydantic import BaseModel, ConfigDict
    from wedge.plugin_api import Component, InputError, hookimpl

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        depth: int = 3

    class Thing:
        def __init__(self, *args):
            self.args = args

    class Refuser(Thing):
        def __init__(self, *args):
            raise InputError("thin slices")

    class Faulty(Thing):
        def __init__(self, *args):
            raise ValueError("no luck\\nat all")

    def never():
        return "needs a GPU; buy one"

    def always():
        return None

    @hookimpl
    def wedge_projectors():
        return [
            Component("good", "A sound one", "{module}:Thing", "{module}:Options"),
            Component("plain", "Without options", "{module}:Thing", probe="{module}:always"),
            Component("absent", "Not here", "{module}:Thing", probe="{module}:never"),
            Component("needy", "Needs what is not there", "{module}:Thing", requires=("no-such-distribution",)),
            Component("missing", "Names what is not there", "{module}:Nothing"),
            Component("refuser", "Refuses", "{module}:Refuser"),
            Component("faulty", "Fails", "{module}:Faulty"),
        ]
"""
ONE = """
    from wedge.plugin_api import Component, hookimpl

    @hookimpl
    def {hook}():
        return [Component({name!r}, "A thing", "{module}:Thing")]
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, make_distribution: Callable[..., Path]) -> Iterator[Callable[..., Registry]]:
    """Return a function that installs sources as distributions of their own and loads the registry from these alone."""
    before = set(sys.modules)

    def load_from(sources: dict[str, str], environ: dict[str, str] | None = None) -> Registry:
        for name, source in sources.items():
            site = make_distribution(name, source.replace("{module}", name.replace("-", "_")), plugin=f"{name}-plugin")
        monkeypatch.syspath_prepend(site)
        points = [point for found in metadata.distributions(path=[str(site)]) for point in found.entry_points]
        return Registry.load(environ or {}, points)

    yield load_from
    for name in set(sys.modules) - before:
        del sys.modules[name]


def one(name: str, hook: str = "wedge_projectors") -> str:
    return ONE.replace("{hook}", hook).replace("{name!r}", repr(name))


def test_a_sound_plugin_offers_its_components(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": SOUND})
    assert not registry.broken
    entry = registry.find("projector", "good")
    assert (entry.plugin, entry.distribution, entry.version, entry.kind) == ("alpha-plugin", "alpha", "1.0", "projector")
    assert registry.names("projector") == sorted(registry.names("projector"))


def test_options_reach_the_place_that_the_contract_gives_them(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": SOUND})
    resolved = registry.resolve("projector", "good", {"depth": "5"})
    assert resolved.build("geometry", "device").args == ("geometry", resolved.options, "device")
    assert resolved.build("geometry").args == ("geometry", resolved.options)
    assert resolved.build().args == (resolved.options,)
    assert resolved.options.depth == 5
    assert registry.resolve("projector", "plain").options is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "no function in it is marked with hookimpl"),
        ("WEDGE_API = (2, 0)\n" + textwrap.dedent(one("a")), "made for plugin API 2.0, this wedge has 1.0"),
        (f"WEDGE_API = (1, {API_VERSION[1] + 1})\n" + textwrap.dedent(one("a")), "made for plugin API"),
        ("WEDGE_API = 'new'\n" + textwrap.dedent(one("a")), "expected (major, minor)"),
        (one("a", "wedge_projector"), "did you mean wedge_projectors?"),
        (one("Big_Name"), "a name consists of a-z, 0-9 and dashes"),
        (one(""), "a name consists of"),
        (one("a").replace('"A thing"', '"two\\nlines"'), "not one line"),
        (one("a").replace(":Thing", ".Thing"), "expected 'package.module:name'"),
        (one("a").replace(':Thing"', ':Thing", options="nowhere"'), "options is 'nowhere'"),
        (one("a").replace(':Thing"', ':Thing", probe="nowhere"'), "probe is 'nowhere'"),
        (one("a").replace(':Thing"', ':Thing", requires="torch"'), "tuple of distribution names"),
        (one("a").replace("return [", "return {1: ").replace('Thing")]', 'Thing")}'), "expected a list of Component"),
        (one("a").replace("return [Component", "return 3; [Component"), "returned int"),
        (one("a").replace("return [Component", "return None; [Component"), "returned NoneType"),
        (one("a").replace("return [Component", "return ['a']; [Component"), "expected a list of Component"),
        (one("a").replace("return [", "raise OSError('gone'); ["), "OSError: gone"),
        (one("a").replace("projectors()", "projectors(shape)"), "shape"),
    ],
)
def test_a_broken_plugin_is_reported_and_disturbs_no_other(load: Callable[..., Registry], source: str, reason: str) -> None:
    registry = load({"a-broken-one": source, "sound": SOUND, "zeta": one("zeta")})
    (bad,) = registry.broken
    assert isinstance(bad, BrokenPlugin)
    assert (bad.name, bad.distribution, bad.version) == ("a-broken-one-plugin", "a-broken-one", "1.0")
    assert reason in bad.reason
    assert "\n" not in bad.reason
    assert "a-broken-one" in bad.mend
    assert {"good", "zeta"} <= set(registry.names("projector"))


def test_a_broken_plugin_of_wedge_itself_cannot_be_left_out(load: Callable[..., Registry]) -> None:
    (bad,) = load({"wedge-tomo": "raise RuntimeError('damaged')"}, {"WEDGE_PLUGINS": ""}).broken
    assert bad.mend == "install wedge-tomo again"


def test_choosing_a_broken_plugin_is_a_plugin_error_that_says_why(load: Callable[..., Registry]) -> None:
    registry = load({"bad": "raise RuntimeError('no licence')", "sound": SOUND})
    for name in ("bad", "bad-plugin"):
        with pytest.raises(PluginError, match=r"'bad-plugin' of bad failed to load: RuntimeError: no licence; update"):
            registry.find("projector", name)


def test_an_unknown_name_gives_the_nearest_ones_and_names_what_failed(load: Callable[..., Registry]) -> None:
    registry = load({"bad": "raise RuntimeError('no licence')", "sound": SOUND})
    with pytest.raises(UsageError, match=r"unknown projector 'goood': did you mean good\?.*failed to load: bad-plugin"):
        registry.resolve("projector", "goood")


def test_a_name_of_another_kind_is_unknown(load: Callable[..., Registry]) -> None:
    with pytest.raises(UsageError, match="unknown network 'good': there are no networks"):
        load({"alpha": SOUND}).find("network", "good")


def test_two_owners_of_a_name_are_both_named_and_others_work(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": one("twin"), "beta": one("twin"), "gamma": SOUND})
    with pytest.raises(PluginError, match=r"'twin' has 2 owners: 'alpha-plugin' of alpha 1.0 and 'beta-plugin' of beta 1.0"):
        registry.resolve("projector", "twin")
    assert registry.find("projector", "good").distribution == "gamma"


def test_one_name_may_serve_two_kinds(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": one("twin"), "beta": one("twin", "wedge_networks")})
    assert registry.find("projector", "twin").distribution == "alpha"
    assert registry.find("network", "twin").distribution == "beta"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, {"alpha", "beta"}),
        ("", set()),
        (" , ", set()),
        ("alpha-plugin", {"alpha"}),
        ("beta", {"beta"}),
        ("alpha , beta-plugin", {"alpha", "beta"}),
    ],
)
def test_the_switch_chooses_third_parties_and_keeps_the_first(load: Callable[..., Registry], value: str | None, kept: set[str]) -> None:
    environ = {} if value is None else {"WEDGE_PLUGINS": value}
    registry = load({"alpha": one("alpha"), "beta": one("beta"), "wedge-tomo": one("own")}, environ)
    assert set(registry.names("projector")) == kept | {"own"}
    assert set(registry.disabled) == {f"{name}-plugin" for name in {"alpha", "beta"} - kept}
    assert not registry.broken


def test_the_switch_keeps_a_plugin_from_being_imported(load: Callable[..., Registry]) -> None:
    registry = load({"bomb": "raise RuntimeError('imported')", "wedge-tomo": one("own")}, {"WEDGE_PLUGINS": ""})
    assert not registry.broken
    assert "bomb" not in sys.modules
    with pytest.raises(UsageError, match="kept out by WEDGE_PLUGINS: bomb-plugin"):
        registry.find("projector", "bomb")


def test_a_name_in_the_switch_that_is_not_installed_is_reported(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": one("alpha")}, {"WEDGE_PLUGINS": "alpha,ghost"})
    assert [bad.name for bad in registry.broken] == ["ghost"]
    with pytest.raises(PluginError, match="not installed"):
        registry.find("projector", "ghost")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "is not available: needs a GPU; buy one"),
        ("needy", "no-such-distribution not installed; pip install no-such-distribution"),
        ("missing", "could not be loaded: AttributeError"),
    ],
)
def test_a_chosen_component_that_cannot_be_used_is_a_plugin_error(load: Callable[..., Registry], name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        load({"alpha": SOUND}).resolve("projector", name)
    assert "plugin 'alpha-plugin' of alpha 1.0" in str(caught.value)


def test_a_failure_while_building_names_the_plugin_and_a_wedge_error_passes(load: Callable[..., Registry]) -> None:
    registry = load({"alpha": SOUND})
    with pytest.raises(
        PluginError, match=r"'faulty' \(plugin 'alpha-plugin' of alpha 1.0\) could not be built: ValueError: no luck at all"
    ):
        registry.resolve("projector", "faulty").build("geometry")
    with pytest.raises(InputError, match="thin slices"):
        registry.resolve("projector", "refuser").build("geometry")


def test_what_a_plugin_prints_stays_off_stdout(load: Callable[..., Registry], capsys: pytest.CaptureFixture[str]) -> None:
    load({"alpha": "print('hello from alpha')\n" + textwrap.dedent(one("alpha"))})
    assert capsys.readouterr().out == ""


def test_every_kind_has_a_hook_and_every_hook_a_kind() -> None:
    from wedge import hookspecs

    assert set(HOOK_OF_KIND.values()) == {name for name in vars(hookspecs) if name.startswith("wedge_")}
    assert set(KINDS) == set(HOOK_OF_KIND)


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_is_asked(load: Callable[..., Registry], kind: str) -> None:
    registry = load({"alpha": one("thing", HOOK_OF_KIND[kind])})
    assert registry.find(kind, "thing").component == Component("thing", "A thing", "alpha:Thing")


def test_the_installed_plugins_all_load_and_are_found_through_entry_points_alone() -> None:
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    assert not registry.broken
    assert all(entry.distribution == "wedge-tomo" for entry in registry.entries())
    assert {"torch", "odl", "astra"} <= set(registry.names("projector"))
    assert unavailable(registry.find("projector", "torch")) is None
