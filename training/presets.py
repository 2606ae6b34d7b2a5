"""Settings of training that belong together, by name."""

from dataclasses import dataclass, field
from typing import Literal

from networks.losses import LossWeights
from networks.mnad import MnadParameters
from workers.scoring import StatisticOptions

Colour = Literal["grey", "colour", "source"]
"""``source`` is grey when the first video is."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What is trained and for how long.

    Attributes:
        network: shape of the network; its ``channels`` are overruled when ``colour`` is "source".
        width, height: model size in pixels.
        colour: grey or colour.
        epochs: passes over the clips, ended early by ``max_steps``.
        max_steps: bound on steps, so that the time does not grow with the footage.
        batch: clips a step.
        learning_rate: of Adam at the start; falls to 0 along a cosine.
        losses: weights of the auxiliary losses.
        statistic: form of the live score that the calibration is fitted for.
        half_weights: store weights as float16, for a bundle half the size.
    """

    name: str
    network: MnadParameters
    width: int
    height: int
    colour: Colour
    epochs: int
    max_steps: int
    batch: int = 4
    learning_rate: float = 2e-4
    losses: LossWeights = field(default_factory=LossWeights)
    statistic: StatisticOptions = field(default_factory=StatisticOptions)
    half_weights: bool = False


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "light",
            MnadParameters(width=16, channels=1),
            192,
            128,
            "source",
            epochs=8,
            max_steps=4400,
            learning_rate=5e-4,
        ),
        Preset(
            "tiny",
            MnadParameters(width=16, depth=3, channels=1),
            128,
            96,
            "grey",
            epochs=20,
            max_steps=1800,
            learning_rate=6e-4,
            statistic=StatisticOptions(feature_weight=0.3),
            half_weights=True,
        ),
        Preset("paper", MnadParameters(), 256, 256, "colour", epochs=60, max_steps=1_000_000),
    )
}
"""``light``: one camera, CPU, under an hour. ``tiny``: synthetic demo, minutes. ``paper``: Park et al., needs a GPU."""
