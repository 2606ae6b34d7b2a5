"""Presets: what each network brings, and what may be overridden."""

from dataclasses import replace

import pytest

from networks.memae import MemaeParameters
from networks.mnad import MnadParameters
from networks.registry import NETWORKS, build_network
from schemas.errors import SettingsError
from tests.unit.training.small_footage import MINIATURE
from training.presets import find_preset, parameter_values, with_channels, with_parameters, with_recipe

EVERY = [(model, name) for model, network in NETWORKS.items() for name in network.recipes]


@pytest.mark.parametrize(("model", "name"), EVERY)
def test_every_recipe_builds_its_network_at_its_size(model: str, name: str) -> None:
    preset = find_preset(model, name)
    assert {"paper", "light"} <= NETWORKS[model].recipes.keys()
    multiple = preset.parameters.size_multiple
    assert preset.recipe.width % multiple == preset.recipe.height % multiple == 0
    if name != "paper":
        network = build_network(model, parameter_values(with_channels(preset, grey=True)))
        assert network.shape.channels == 1


def test_the_demo_keeps_its_score_and_size() -> None:
    tiny, light = find_preset("mnad-prediction", "tiny"), find_preset("mnad-prediction", "light")
    assert (tiny.statistic.feature_weight, tiny.half_weights) == (0.3, True)
    assert (light.statistic.feature_weight, light.half_weights) == (0.0, False)


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("mnad-predicton", "paper", r"model must be one of .*, got 'mnad-predicton'; did you mean 'mnad-prediction'"),
        ("memae", "tiny", r"preset of memae must be one of paper, light, got 'tiny'"),
    ],
)
def test_unknown_presets_are_explained(model: str, name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        find_preset(model, name)


def test_parameters_are_overridden_as_people_type_them() -> None:
    given = {"temperature": "0.1", "num_items": "20", "update_maximum": "assigned"}
    shape = with_parameters(MINIATURE, given).parameters
    assert shape == MnadParameters(width=4, depth=2, num_items=20, temperature=0.1, update_maximum="assigned")
    widths = with_parameters(find_preset("memae", "light"), {"widths": "[8, 16]"}).parameters
    assert isinstance(widths, MemaeParameters)
    assert widths.widths == (8, 16)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temprature", "0.1", r"must be one of width, .*, got 'temprature'; did you mean 'temperature'\?"),
        ("zzz", "1", "got 'zzz'; choose one of these"),
        ("channels", "3", "got 'channels'"),
        ("temperature", "warm", r"--set temperature: .*number.*, got 'warm'"),
        ("num_items", "2.5", r"--set num_items: .*integer.*, got '2.5'"),
        ("update_maximum", "some", r"--set update_maximum: .*'all' or 'assigned', got 'some'"),
    ],
)
def test_wrong_parameters_are_explained(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        with_parameters(MINIATURE, {name: value})


def test_values_that_the_network_refuses_are_explained() -> None:
    with pytest.raises(SettingsError, match=r"parameters of 'memae': clip_length must be a multiple of 8, got 12"):
        with_parameters(find_preset("memae", "light"), {"clip_length": "12"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", "0", r"width, depth and clip_length must be at least 1 and num_items .* got \(4, 0, 5\) and 3; see"),
        ("width", "-4", r"must be at least 1 .* got \(-4, 2, 5\) and 3"),
        ("clip_length", "0", r"must be at least 1 .* got \(4, 2, 0\) and 3"),
        ("num_items", "-1", r"num_items at least 0, got \(4, 2, 5\) and -1"),
        ("temperature", "0", r"temperature must be above 0 .* got 0.0 and 0.0"),
        ("temperature", "nan", r"temperature must be above 0 .* got nan and 0.0"),
        ("update_momentum", "1", r"update_momentum in \[0, 1\), got 1.0 and 1.0"),
        ("update_momentum", "-0.1", r"update_momentum in \[0, 1\), got 1.0 and -0.1"),
    ],
)
def test_shapes_that_no_network_can_have_are_explained(name: str, value: str, message: str) -> None:
    """Before anything is decoded or trained, not by whatever the layers say of them."""
    with pytest.raises(SettingsError, match=f"parameters of 'mnad-prediction': .*{message}"):
        with_parameters(MINIATURE, {name: value})


def test_the_least_of_each_is_allowed() -> None:
    least = {"depth": "1", "width": "1", "clip_length": "1", "num_items": "0", "temperature": "1e-6"}
    shape = with_parameters(MINIATURE, {**least, "update_momentum": "0"}).parameters
    assert shape == MnadParameters(width=1, depth=1, clip_length=1, num_items=0, temperature=1e-6)


def test_numbers_of_the_recipe_are_overridden() -> None:
    changed = with_recipe(MINIATURE, {"epochs": 9, "learning_rate": None})
    assert (changed.recipe.epochs, changed.recipe.learning_rate) == (9, MINIATURE.recipe.learning_rate)


@pytest.mark.parametrize(
    ("model", "name", "grey", "channels"),
    [
        ("mnad-prediction", "light", True, 1),
        ("mnad-prediction", "light", False, 3),
        ("mnad-prediction", "tiny", False, 1),
        ("mnad-prediction", "paper", True, 3),
    ],
)
def test_channels_follow_the_recipe_and_the_footage(model: str, name: str, grey: bool, channels: int) -> None:
    assert with_channels(find_preset(model, name), grey).parameters.channels == channels


def test_an_override_keeps_those_before_it_and_changes_nothing_else() -> None:
    once = with_parameters(MINIATURE, {"num_items": "5"})
    twice = with_parameters(once, {"temperature": "0.5"})
    assert parameter_values(twice) == {**parameter_values(MINIATURE), "num_items": 5, "temperature": 0.5}
    assert parameter_values(MINIATURE)["num_items"] == 3
    assert twice.recipe.epochs == MINIATURE.recipe.epochs
    assert (twice.statistic, twice.half_weights, twice.name) == (MINIATURE.statistic, False, "miniature")


def test_zero_is_a_number_to_override_with() -> None:
    assert with_recipe(MINIATURE, {"max_steps": 0}).recipe.max_steps == 0


def test_parameters_of_a_preset_that_its_network_does_not_have_are_explained() -> None:
    foreign = replace(MINIATURE, recipe=replace(MINIATURE.recipe, parameters={"breadth": 4}))
    with pytest.raises(SettingsError, match=r"parameters of 'mnad-prediction': .*breadth.*; see 'engram train --help'"):
        _ = foreign.parameters
