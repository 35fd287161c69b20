import pytest

from wedge.defaults import load_defaults, preset, preset_names, reconstruct_settings
from wedge.errors import UsageError
from wedge.fit.config import FitConfig
from wedge.registry import Registry

REGISTRY = Registry.load({"WEDGE_PLUGINS": ""})


def test_default_choices_are_installed() -> None:
    choices = load_defaults()
    for kind in ("projector", "network"):
        assert REGISTRY.find(kind, choices[kind])
    for kind in ("regularizer", "metric", "observer"):
        assert all(REGISTRY.find(kind, name) for name in choices[f"{kind}s"])


@pytest.mark.parametrize("name", [None, *preset_names()])
def test_every_preset_chooses_what_is_installed(name: str | None) -> None:
    settings = reconstruct_settings() if name is None else preset(name)
    for kind in ("projector", "network"):
        if kind in settings:
            chosen = settings[kind]
            REGISTRY.resolve(kind, chosen["name"], chosen.get("options", {}))
    for chosen in settings.get("regularizers", []):
        REGISTRY.find("regularizer", chosen["name"])


def test_the_presets_are_there() -> None:
    assert {"study", "wucon", "fast", "default", "high"} <= set(preset_names())


def test_fast_and_high_are_for_whatever_noise_there_is() -> None:
    """A preset that one kind of fit takes no notice of would be a name alone."""
    told = [FitConfig.model_validate(reconstruct_settings() | preset(name)).restore for name in ("fast", "default", "high")]
    for steps in ([each.steps for each in told], [each.clear_steps for each in told]):
        assert steps == sorted(set(steps))


def test_an_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown preset 'studdy': did you mean study\?"):
        preset("studdy")


def test_callers_cannot_change_the_defaults() -> None:
    load_defaults()["metrics"].clear()
    preset("study")["network"] = None
    assert load_defaults()["metrics"]
    assert preset("study")["network"]
