"""A labelled data set on disk that a bundle of ``tests.small_bundle`` can be measured on."""

from pathlib import Path

import cv2
import numpy as np

from tests.small_bundle import jpeg

WIDTH, HEIGHT = 64, 48
CALM, NOISY = 50, 70
"""First frames of ``jpeg``'s calm and noisy stretches."""


def write_clip(folder: Path, first: int, count: int, camera: str = "calm") -> None:
    """Frames from ``first`` on, as the JPEG files they are made as."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index}.jpg").write_bytes(jpeg(camera, first + index))


def write_video(path: Path, first: int, count: int, camera: str = "calm") -> None:
    """The same frames as a motion JPEG video of 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for index in range(count):
        image = cv2.imdecode(np.frombuffer(jpeg(camera, first + index), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        writer.write(image)
    writer.release()


def write_labels(root: Path, clip: str, labels: np.ndarray) -> None:
    (root / "labels").mkdir(exist_ok=True)
    np.save(root / "labels" / f"{clip}.npy", labels.astype(np.uint8))


def write_masks(root: Path, clip: str, labels: np.ndarray, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """The left half of every abnormal frame is abnormal."""
    masks = np.zeros((len(labels), *size), np.uint8)
    masks[labels != 0, :, : size[1] // 2] = 1
    (root / "masks").mkdir(exist_ok=True)
    np.savez_compressed(root / "masks" / f"{clip}.npz", mask=masks)


def turning_noisy(count: int = 40) -> np.ndarray:
    """Labels of a clip that begins at ``CALM``."""
    return (np.arange(CALM, CALM + count) >= NOISY).astype(np.uint8)


def write_scene(root: Path) -> Path:
    """A test clip that turns noisy half way, with masks, and one that stays calm, a video."""
    write_clip(root / "test" / "turning", CALM, 40)
    write_video(root / "test" / "calm.avi", 0, 30)
    write_labels(root, "turning", turning_noisy())
    write_labels(root, "calm", np.zeros(30))
    write_masks(root, "turning", turning_noisy())
    return root
