"""What a frame's score means to a person: where it is unusual and how much, which evidence spoke, and how rare it is.

All of it is read from the normal video that the score comes from, on one scale for all frames and events: *spreads*,
how many standard deviations of normal video something lies above its mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bundles.calibration import Calibration
from inference.evidence import Evidence
from inference.rarity import Rate, rate_of, spreads_above
from inference.scoring import (
    BLOCK_S,
    SECONDS_PER_DAY,
    FrameMeasures,
    LiveScore,
    log_patch_error,
    supported_by,
    supported_false_alarms_per_day,
)
from inference.standard import ByMemory, Standard
from inference.taught import Usual
from memory_store.normality import Normality
from schemas.arrays import Float32, Float64


@dataclass(frozen=True, slots=True)
class Explainer:
    """Reads for people what a frame was scored by.

    Attributes:
        calibration: of the bundle.
        memory: what is remembered; None where the bundle has a line of speeds.
        usual: the worst patch of a normal frame.
        seconds_seen: of normal video that it rests on.
    """

    calibration: Calibration
    memory: Normality | None
    usual: Usual
    seconds_seen: float

    def spreads_of(self, map_RS: Float32) -> Float64:
        """How far each patch of a map lies above the *worst* patch of a usual frame, in spreads, (R, S).

        0 is as high as the worst patch of a usual frame, so that nearly all of a normal frame lies below.
        """
        return self.usual.spreads_of(map_RS)

    def evidence(self, measures: FrameMeasures) -> Mapping[str, float]:
        """What each evidence says, by its name, in spreads; empty where the calibration has no memory to ask."""
        if self.memory is None:
            return {}
        numbers = (log_patch_error(measures), measures.place_error, measures.background)
        values_EF = spreads_above(Evidence(*(np.array([number]) for number in numbers)), self.memory)
        return dict(zip(("motion", "place", "background"), values_EF[:, 0].tolist(), strict=True))

    def rate(self, live: LiveScore, fps: float) -> Rate:
        """How often a day normal video would be as unusual.

        Args:
            live: of the frame.
            fps: frames a second of its camera.
        """
        if self.memory is not None:
            return rate_of(live.smoothing.level, self.memory)
        chances_per_day = SECONDS_PER_DAY / max(self.calibration.smoothing_s, 1.0 / fps)
        per_day = chances_per_day * 10.0**live.log10_p
        return Rate(per_day, max(per_day, self.supported_per_day))

    @property
    def supported_per_day(self) -> float:
        """The lowest rate that the normal video behind it can vouch for."""
        if self.memory is not None:
            return supported_by(self.seconds_seen, BLOCK_S)
        return supported_false_alarms_per_day(self.calibration)

    def knows(self, camera_id: str) -> bool:
        """Whether that video is of this camera: a memory learns where it is used."""
        cameras = self.calibration.cameras
        return self.memory is not None or cameras == "any" or camera_id in cameras


def explainer_of(standard: Standard, calibration: Calibration) -> Explainer:
    """Make what a frame was scored by ready to explain.

    Args:
        standard: that it was scored by.
        calibration: of the bundle.
    """
    if not isinstance(standard, ByMemory):
        line = calibration.log_patch_error
        return Explainer(calibration, None, Usual(line.mean, line.std), standard.seconds_seen)
    return Explainer(calibration, standard.memory, standard.usual, standard.seconds_seen)
