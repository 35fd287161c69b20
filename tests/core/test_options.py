from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from wedge.errors import UsageError
from wedge.options import build_options, describe_options, parse_choice, parse_setting, parse_settings


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["strip", "joseph"] = Field("strip", description="how voxels\ncast shadows")
    step: float = Field(0.5, gt=0)
    levels: list[int] = [16, 32]
    count: int | None = None
    rank: Annotated[int, Field(ge=1, le=9)] = 3
    exact: bool = False
    path: str = "a=b"


class Demanding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kernel: int


def test_a_setting_splits_at_its_first_equals_sign() -> None:
    assert parse_setting("path=a=b") == ("path", "a=b")
    assert parse_setting("max-steps = 3") == ("max_steps", "3")


@pytest.mark.parametrize("text", ["weight", "=3", " =3", ""])
def test_a_setting_without_key_or_sign_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected key=value"):
        parse_setting(text)


def test_a_repeated_key_becomes_a_list() -> None:
    assert parse_settings(["a=1", "b=2", "a=3", "a=4"]) == {"a": ["1", "3", "4"], "b": "2"}


def test_a_choice_is_a_name_and_settings() -> None:
    assert parse_choice("tv:weight=0.01,halo=2") == ("tv", {"weight": "0.01", "halo": "2"})
    assert parse_choice("tv") == ("tv", {})


@pytest.mark.parametrize("text", ["", ":a=1", "tv:", "tv:weight", "tv:a=1,"])
def test_a_malformed_choice_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        parse_choice(text)


def test_strings_become_typed_values() -> None:
    options = build_options(
        Options, {"step": "1e-3", "levels": ["8", "9"], "count": "4", "exact": "true", "model": "joseph"}, "projector p"
    )
    assert options == Options(step=1e-3, levels=[8, 9], count=4, exact=True, model="joseph")


def test_one_value_is_enough_for_a_list() -> None:
    assert build_options(Options, {"levels": "8"}, "projector p").levels == [8]


def test_typed_values_pass_as_they_are() -> None:
    assert build_options(Options, {"levels": [1, 2], "step": 2.5, "count": None}, "projector p") == Options(levels=[1, 2], step=2.5)


def test_defaults_stand_where_nothing_is_said() -> None:
    assert build_options(Options, {}, "projector p") == Options()


def test_an_unknown_key_names_the_nearest_and_all_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"projector p has no option 'modle': did you mean model\?") as caught:
        build_options(Options, {"modle": "strip"}, "projector p")
    assert all(key in str(caught.value) for key in Options.model_fields)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"step": "much"}, ["'step'", "'much'", "number", "expected float >0"]),
        ({"step": "-1"}, ["'step'", "greater than 0"]),
        ({"model": "strap"}, ["'model'", "'strap'", "strip|joseph"]),
        ({"count": "1.5"}, ["'count'", "'1.5'"]),
        ({"rank": "10"}, ["'rank'", "less than or equal to 9"]),
        ({"levels": ["8", "x"]}, ["'levels.1'", "'x'", "list of int"]),
        ({"step": ["1", "2"]}, ["'step'", "takes one value, got 2"]),
    ],
)
def test_a_wrong_value_is_told_in_one_line_with_what_fits(settings: dict, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        build_options(Options, settings, "projector p")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("projector p: option ")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"network n: option 'kernel' is missing.*expected int"):
        build_options(Demanding, {}, "network n")


def test_a_component_without_options_refuses_any() -> None:
    assert build_options(None, {}, "metric m") is None
    with pytest.raises(UsageError, match="metric m has no options: remove depth"):
        build_options(None, {"depth": "3"}, "metric m")


def test_options_describe_themselves() -> None:
    rows = {row.key: row for row in describe_options(Options)}
    assert list(rows) == list(Options.model_fields)
    assert (rows["model"].kind, rows["model"].default, rows["model"].description) == ("strip|joseph", "strip", "how voxels cast shadows")
    assert (rows["step"].kind, rows["step"].default) == ("float >0", "0.5")
    assert (rows["levels"].kind, rows["levels"].default) == ("list of int", "16,32")
    assert (rows["count"].kind, rows["count"].default) == ("int or none", "none")
    assert rows["rank"].kind == "int >=1 <=9"
    assert rows["exact"].default == "false"
    assert describe_options(Demanding)[0].default == "required"
    assert describe_options(None) == []
