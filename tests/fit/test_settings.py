"""Laws of the settings: which layer is stronger, and that every record of a run can be read back."""

import json
from pathlib import Path

import numpy as np
import pytest

from wedge import formats, store
from wedge.errors import InputError, UsageError
from wedge.fit.config import FitConfig
from wedge.fit.settings import merge, read_config_file, regularizer_choice, resolve_plugins, validate
from wedge.registry import Registry

NAMED = {"network": {"name": "voxel"}, "projector": {"name": "torch"}}


def test_later_layers_are_stronger_and_tables_merge_key_by_key():
    layers = [
        {"passes": 1, "seed": 1, "data_term": {"loss": "l2", "weighting": "plain"}},
        {"passes": 2, "data_term": {"loss": "l1"}},
        {"passes": 3},
    ]
    assert merge(layers) == {"passes": 3, "seed": 1, "data_term": {"loss": "l1", "weighting": "plain"}}


def test_merging_leaves_the_layers_alone():
    layers = [{"network": {"name": "a", "options": {"x": 1}}, "data_term": {"loss": "l2"}}, {"network": {"options": {"y": 2}}}]
    before = json.dumps(layers)
    merge(layers)["network"]["options"]["z"] = 3
    assert json.dumps(layers) == before


def test_options_of_the_same_component_merge():
    layers = [{"network": {"name": "a", "options": {"x": 1, "y": 1}}}, {"network": {"options": {"y": 2}}}, {"network": {"name": "a"}}]
    assert merge(layers)["network"] == {"name": "a", "options": {"x": 1, "y": 2}}


@pytest.mark.parametrize("kind", ["network", "projector"])
def test_options_of_another_component_are_dropped(kind):
    layers = [{kind: {"name": "a", "options": {"x": 1}}}, {kind: {"name": "b"}}, {kind: {"options": {"z": 1}}}]
    assert merge(layers)[kind] == {"name": "b", "options": {"z": 1}}
    # Nor do they return with the name.
    assert merge([*layers, {kind: {"name": "a"}}])[kind] == {"name": "a", "options": {}}


def test_regularizers_are_replaced_as_a_whole():
    assert merge([{"regularizers": [{"name": "tv"}, {"name": "crowther"}]}, {"regularizers": []}])["regularizers"] == []


def test_regularizer_keys_of_the_fit_are_split_from_its_own():
    choice = regularizer_choice("tv", {"weight": "0.1", "start": "0.5", "final_weight": "0.2", "epsilon": "3"})
    assert choice == {"name": "tv", "weight": "0.1", "start": "0.5", "final_weight": "0.2", "options": {"epsilon": "3"}}
    (made,) = validate(NAMED | {"regularizers": [choice]}).regularizers
    assert (made.weight, made.final_weight, made.start) == (0.1, 0.2, 0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"passez": 3}, "unknown setting 'passez'.*passes"),
        ({"data_term": {"los": "l1"}}, r"data_term\.los"),
        ({"passes": 0}, "passes: .*greater than 0, got 0"),
        ({"seed": -1}, "seed"),
        ({"data_term": {"loss": "l3"}}, r"data_term\.loss: .*got 'l3'"),
        ({"regularizers": [{"name": "tv", "weight": -1}]}, r"regularizers\.0\.weight"),
        ({"offset": "much"}, "offset"),
    ],
)
def test_wrong_settings_are_refused_in_a_line(settings, words):
    with pytest.raises(UsageError, match=words) as refused:
        validate(NAMED | settings, "run.toml")
    assert str(refused.value).startswith("run.toml: ")
    assert "\n" not in str(refused.value)


def test_resolved_configuration_holds_all_options_and_resolves_to_itself():
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    settings = NAMED | {"network": {"name": "feature-grid", "options": {"levels": "3"}}, "regularizers": [{"name": "tv", "weight": 0.1}]}
    full, plugins = resolve_plugins(validate(settings), registry)
    assert full.network.options["levels"] == 3
    assert len(full.network.options) > 1
    assert "epsilon" in full.regularizers[0].options
    assert plugins.network.entry.component.name == "feature-grid"
    assert resolve_plugins(full, registry)[0] == full
    # Through JSON as well: that is what records hold.
    assert FitConfig.model_validate(json.loads(full.model_dump_json())) == full


def test_unknown_option_of_a_component_is_a_usage_error():
    with pytest.raises(UsageError, match="levels"):
        resolve_plugins(
            validate(NAMED | {"network": {"name": "feature-grid", "options": {"levls": 3}}}), Registry.load({"WEDGE_PLUGINS": ""})
        )


FIT = {"network": {"name": "voxel", "options": {}}, "passes": 7, "seed": 3}
INPUT = {"thickness": 12, "exclude_views": [1, 4]}


def test_toml_names_components_shortly_or_in_full(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('network = "voxel"\nprojector = { name = "torch", options = { model = "strip" } }\n[data_term]\nloss = "l1"\n')
    fit, inputs = read_config_file(path)
    assert fit == {
        "network": {"name": "voxel"},
        "projector": {"name": "torch", "options": {"model": "strip"}},
        "data_term": {"loss": "l1"},
    }
    assert inputs == {}


@pytest.mark.parametrize(
    "record",
    [
        {"provenance": {"config": {"fit": FIT, "input": INPUT}, "seed": 3}},
        {"config": {"fit": FIT, "input": INPUT}},
        {"fit": FIT, "input": INPUT},
    ],
)
def test_json_record_of_any_depth_repeats_its_run(tmp_path, record):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    assert read_config_file(path) == (FIT, INPUT)


def test_json_of_settings_alone_is_a_configuration(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"network": "siren", "passes": 2}))
    assert read_config_file(path) == ({"network": {"name": "siren"}, "passes": 2}, {})


def reconstruction(path: Path) -> Path:
    """A volume with the record that a reconstruction leaves."""
    with store.create_volume(path, (3, 4, 5), voxel_size_angstrom=10.0) as writer:
        writer.write_rows(0, np.ones((4, 3, 5), dtype=np.float32))
        writer.commit({"config": {"fit": FIT, "input": INPUT}, "seed": 3, "fit": {"steps": 14}})
    return path


def test_zarr_output_repeats_its_run(tmp_path):
    assert read_config_file(reconstruction(tmp_path / "out.zarr")) == (FIT, INPUT)


def test_record_beside_an_mrc_output_repeats_its_run(tmp_path):
    with formats.create_volume(tmp_path / "out.mrc", (3, 4, 5), voxel_size_angstrom=10.0) as writer:
        writer.write_rows(0, np.ones((4, 3, 5), dtype=np.float32))
        writer.commit({"config": {"fit": FIT, "input": INPUT}})
    (record,) = tmp_path.glob("*.json")
    assert read_config_file(record) == (FIT, INPUT)
    assert read_config_file(tmp_path / "out.mrc") == (FIT, INPUT)


@pytest.mark.parametrize("suffix", ["mrc", "zarr"])
def test_record_of_an_exported_output_repeats_the_run_behind_it(wedge, tmp_path, suffix):
    source = reconstruction(tmp_path / "out.zarr")
    exported = tmp_path / f"exported.{suffix}"
    done = wedge("export", source, "-o", exported)
    assert done.code == 0, done.err
    assert read_config_file(exported) == (FIT, INPUT)
    # And so does an export of the export.
    assert wedge("export", exported, "-o", tmp_path / "again.mrc").code == 0
    assert read_config_file(tmp_path / "again.mrc") == (FIT, INPUT)


@pytest.mark.parametrize(
    ("name", "content"), [("a.toml", "passes = "), ("a.json", "{"), ("a.json", "[1, 2]"), ("a.txt", "passes: 3"), ("a.mrc", "\xff")]
)
def test_unreadable_configuration_is_refused_in_a_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=f"cannot read the configuration .*{name}") as refused:
        read_config_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ['{"config": [1]}', '{"provenance": {"config": 3}}', '{"config": null}'])
def test_record_of_something_else_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config_file(path)


def test_folder_that_is_no_output_and_missing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no configuration at"):
        read_config_file(tmp_path)
    with pytest.raises(InputError, match="no configuration at"):
        read_config_file(tmp_path / "none.toml")
    (tmp_path / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config_file(tmp_path)
