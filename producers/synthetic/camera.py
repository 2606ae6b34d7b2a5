"""Which camera looks on, and at what kind of ground: number 0 is that of the demos, any other drawn by its number.

What a network learns of one camera is that camera. For one that is to serve others, walkways are filmed by many.
"""

import math
from dataclasses import dataclass

import numpy as np

from producers.synthetic.view import View

_AIM_M = 12.1
"""On the ground, from below the camera to what it looks at: the near half of the path."""

Colour = tuple[float, float, float]
"""Blue, green, red."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the place is made of.

    Attributes:
        seed: of its textures.
        grass, paving, kerb: colours, 0 to 255.
        grass_roughness, paving_roughness: deviation of their grain in grey levels.
        grain_per_m: texture pixels a metre, of its fine and its coarse part.
    """

    seed: int = 20210
    grass: Colour = (82.0, 112.0, 100.0)
    paving: Colour = (158.0, 163.0, 166.0)
    kerb: Colour = (190.0, 193.0, 195.0)
    grass_roughness: float = 15.0
    paving_roughness: float = 5.0
    grain_per_m: tuple[float, float] = (40.0, 6.0)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        ground: what it looks at.
        height_m: above the ground.
        pitch: downwards, radians.
        yaw: of the path against that of camera 0, radians.
        zoom: focal length by the width of the picture.
        contrast: of the picture, around its middle grey.
        noise: of the sensor, by that of camera 0.
    """

    ground: Ground = Ground()
    height_m: float = 7.0
    pitch: float = math.radians(30.0)
    yaw: float = 0.0
    zoom: float = 1.34
    contrast: float = 1.0
    noise: float = 1.0

    @classmethod
    def numbered(cls, number: int) -> "Camera":
        """The same camera for the same number, >= 0."""
        if number == 0:
            return cls()
        rng = np.random.default_rng((number, 6))
        pitch = float(rng.uniform(math.radians(22.0), math.radians(60.0)))
        return cls(
            ground=_ground(rng, number),
            height_m=_AIM_M * math.tan(pitch),
            pitch=pitch,
            yaw=float(rng.uniform(-math.pi, math.pi)),
            zoom=float(math.cos(pitch) * rng.uniform(0.9, 3.0)),
            contrast=float(rng.uniform(0.4, 1.2)),
            noise=float(rng.uniform(0.2, 2.0)),
        )

    def view(self, width: int, height: int) -> View:
        """Onto a picture of so many pixels."""
        return View(width, height, self.height_m, self.pitch, self.yaw, self.zoom)


def _ground(rng: np.random.Generator, number: int) -> Ground:
    grass, paving, kerb = (_colour(rng) for _ in range(3))
    grain_per_m = (float(40.0 * 2.0 ** rng.uniform(-1.0, 1.0)), float(6.0 * 2.0 ** rng.uniform(-2.0, 1.0)))
    return Ground(
        number, grass, paving, kerb, float(rng.uniform(3.0, 30.0)), float(rng.uniform(1.0, 15.0)), grain_per_m
    )


def _colour(rng: np.random.Generator) -> Colour:
    """Of any brightness, hardly coloured."""
    grey = rng.uniform(35.0, 215.0)
    blue, green, red = (grey + rng.uniform(-15.0, 15.0, 3)).tolist()
    return blue, green, red
