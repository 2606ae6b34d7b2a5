"""Settings of training that belong together, by network and name.

A network's own recipe says what is trained and for how long; a preset adds the form of the live score that the bundle
is calibrated for, and how it is stored.
"""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from inference.scoring import StatisticOptions
from networks.network import Parameters, Recipe
from networks.registry import NETWORKS
from schemas.errors import SettingsError

PresetName = Literal["paper", "light", "tiny"]
"""``paper``: as published, needs a GPU. ``light``: one camera, CPU, an hour or two. ``tiny``: a demo, minutes."""


LIVE_STATISTIC = StatisticOptions(speed="remembered")
"""See docs/memory.md for how it compares with "weighed" on four scenes."""
DEMO_STATISTIC = StatisticOptions(feature_weight=0.3, speed="ignored")
"""On the synthetic walkway at 5 frames a second it found 23 of 25 anomalies; with speeds weighed, 21."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What is trained, and what becomes of it.

    Attributes:
        model: name of the network.
        name: of the preset.
        recipe: of the network; its parameters include what was overridden.
        statistic: form of the live score that the calibration is fitted for.
        half_weights: store weights as float16, for a bundle half the size.
    """

    model: str
    name: str
    recipe: Recipe
    statistic: StatisticOptions = field(default_factory=StatisticOptions)
    half_weights: bool = False

    @property
    def parameters(self) -> Parameters:
        """Shape of the network.

        Raises:
            SettingsError: values that its class refuses.
        """
        try:
            parameters: Parameters = NETWORKS[self.model].parameters_type(**self.recipe.parameters)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"parameters of '{self.model}': {error}; see 'engram train --help'") from error
        return parameters


def parameter_values(preset: Preset) -> dict[str, Any]:
    """All parameters of the network, as a bundle's manifest stores them."""
    shape: Any = preset.parameters
    return asdict(shape)


def find_preset(model: str, name: str) -> Preset:
    """The preset of a network.

    Raises:
        SettingsError: no such network, or it has no such recipe.
    """
    if model not in NETWORKS:
        raise SettingsError(f"model must be one of {', '.join(NETWORKS)}, got '{model}'{_guess(model, NETWORKS)}")
    recipes = NETWORKS[model].recipes
    if name not in recipes:
        raise SettingsError(f"preset of {model} must be one of {', '.join(recipes)}, got '{name}'; choose one of these")
    preset = Preset(model, name, recipes[name], LIVE_STATISTIC)
    return replace(preset, statistic=DEMO_STATISTIC, half_weights=True) if name == "tiny" else preset


def with_parameters(preset: Preset, given: Mapping[str, str]) -> Preset:
    """The preset with parameters of its network overridden, each as people type it.

    Raises:
        SettingsError: unknown name, or a value of another type.
    """
    hints = get_type_hints(NETWORKS[preset.model].parameters_type)
    read = {name: _read(preset.model, hints, name, value) for name, value in given.items()}
    changed = replace(preset, recipe=replace(preset.recipe, parameters={**preset.recipe.parameters, **read}))
    _ = changed.parameters
    return changed


def with_recipe(preset: Preset, given: Mapping[str, int | float | None]) -> Preset:
    """The preset with some numbers of its recipe overridden; None leaves one as it is."""
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(preset, recipe=replace(preset.recipe, **changed))


def with_channels(preset: Preset, grey: bool) -> Preset:
    """The preset with its number of channels settled; ``grey`` says what the footage is, for recipes that follow it."""
    channels = 1 if preset.recipe.colour == "grey" or (preset.recipe.colour == "source" and grey) else 3
    parameters = {**preset.recipe.parameters, "channels": channels}
    return replace(preset, recipe=replace(preset.recipe, parameters=parameters))


def _read(model: str, hints: Mapping[str, Any], name: str, value: str) -> object:
    if name == "channels" or name not in hints:
        known = [hint for hint in hints if hint != "channels"]
        text = f"a parameter of {model} must be one of {', '.join(known)}, got '{name}'"
        raise SettingsError(f"{text}{_guess(name, known)}")
    try:
        reader = TypeAdapter(hints[name])
        read: object = reader.validate_json(value) if value.startswith("[") else reader.validate_strings(value)
    except ValidationError as error:
        raise SettingsError(f"--set {name}: {error.errors()[0]['msg'].lower()}, got '{value}'") from error
    return read


def _guess(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else "; choose one of these"
