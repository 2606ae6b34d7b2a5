"""Small footage on disk: a bright square that moves over a grey ground."""

from pathlib import Path

import cv2
import numpy as np

from networks.network import Recipe
from training.presets import Preset

WIDTH, HEIGHT = 64, 48

MINIATURE = Preset(
    "mnad-prediction",
    "miniature",
    Recipe(
        {"width": 4, "depth": 2, "num_items": 3},
        width=32,
        height=24,
        colour="source",
        epochs=2,
        max_steps=6,
        learning_rate=1e-3,
    ),
)


def image(index: int, colour: bool = False) -> np.ndarray:
    """Frame ``index``; its ground tells which of the first 40 it is, then fades back without a jump."""
    level = 40 - abs(index % 80 - 40)
    picture = np.full((HEIGHT, WIDTH, 3), 40 + 4 * level, np.uint8)
    x = (3 * index) % (WIDTH - 12)
    picture[12:24, x : x + 12] = (0, 0, 255) if colour else 230
    return picture


def write_images(folder: Path, count: int, first: int = 0, suffix: str = ".png") -> None:
    """A folder of images whose names have no leading zeros."""
    folder.mkdir(parents=True)
    for index in range(count):
        assert cv2.imwrite(str(folder / f"{first + index}{suffix}"), image(first + index))


def write_video(path: Path, count: int, fps: float = 10.0, colour: bool = False) -> None:
    """A motion JPEG video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(count):
        writer.write(image(index, colour))
    writer.release()
