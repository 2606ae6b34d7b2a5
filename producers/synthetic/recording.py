"""A synthetic film as a video file, with its truth beside it."""

from pathlib import Path

import cv2

from producers.synthetic.scene import SyntheticScene
from producers.synthetic.truth import Truth
from schemas.errors import FatalError, SettingsError

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


def write_video(path: Path, scene: SyntheticScene, num_frames: int, play_fps: float | None = None) -> Truth:
    """Render ``num_frames`` into ``path`` (.mp4 small, .avi closer to the original) and the truth into ``path``.json.

    Args:
        path: of the film.
        scene: what is filmed.
        num_frames: how many.
        play_fps: rate of the film where it is not that of the scene: all in it is slower, or faster.

    Raises:
        SettingsError: another suffix, or no frame.
        FatalError: the file cannot be written.
    """
    if path.suffix not in _CODECS or num_frames < 1:
        raise SettingsError(
            f"path must end in one of {sorted(_CODECS)} and num_frames be >= 1, got {path}, {num_frames}"
        )
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*_CODECS[path.suffix]), play_fps or scene.fps, scene.size
    )
    if not writer.isOpened():
        raise FatalError(f"a video must be writable, '{path}' is not; check the folder and its rights")
    try:
        for image in scene.frames(num_frames):
            writer.write(image)
    finally:
        writer.release()
    truth = scene.truth(num_frames)
    truth.write_json(path.with_suffix(path.suffix + ".json"))
    return truth
