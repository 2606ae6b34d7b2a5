"""``engram memory-worth``: all arms on all scenes, into one list of figures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import FatalError
from training.worth.arms import ARMS, Row
from training.worth.scenes import Camera, Scene, SceneOptions, find_scenes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worth:
    """What was found.

    Attributes:
        bundle: folder of the bundle whose network looked.
        bundle_digest: of it.
        scenes: names.
        rows: all figures, by arm.
    """

    bundle: Path
    bundle_digest: str
    scenes: tuple[str, ...]
    rows: tuple[Row, ...]


def memory_worth(bundle: Path, data: Path, options: SceneOptions, arms: Sequence[str] = ()) -> Worth:
    """Measure.

    Args:
        bundle: folder of the bundle; its weights are used, its calibration is not.
        data: folder of scenes, or one scene.
        options: how scenes are measured.
        arms: which questions to ask, see ``training.worth.arms.ARMS``; all if none is named.

    Raises:
        FatalError: there is no scene, its footage or labels do not fit, or no such arm.
        BundleError: the bundle.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise FatalError(f"an arm must be one of {', '.join(ARMS)}, got '{unknown[0]}'")
    camera = Camera(bundle, options)
    scenes = [_scene(camera, folder) for folder in find_scenes(data)]
    rows: list[Row] = []
    for name in arms or ARMS:
        log.info("%s", name)
        rows += ARMS[name](scenes)
    return Worth(bundle, camera.bundle.digest, tuple(scene.name for scene in scenes), tuple(rows))


def _scene(camera: Camera, folder: Path) -> Scene:
    scene = camera.scene(folder)
    seconds = sum(take.seconds for take in scene.normal)
    log.info("%s: %.0f s of normal video, %d labelled clips", scene.name, seconds, len(scene.test))
    return scene
