"""``engram memory-worth``: all arms on all scenes, into one list of figures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import FatalError
from training.worth.arms import ARMS, Row, drift
from training.worth.changes import DISTURBANCES, DRIFTS
from training.worth.poison import poison
from training.worth.recognising import disturbance, own_camera, wrong_camera
from training.worth.saying import verdict
from training.worth.scenes import Camera, Scene, SceneOptions, find_scenes

log = logging.getLogger(__name__)

AS_THEY_ARE = {**ARMS, "poison": poison, "own-camera": own_camera, "wrong-camera": wrong_camera, "verdict": verdict}
ALL_ARMS = (*AS_THEY_ARE, "disturbance", "drift")


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
        arms: which questions to ask, of ``ALL_ARMS``; all if none is named.

    Raises:
        FatalError: there is no scene, its footage or labels do not fit, or no such arm.
        BundleError: the bundle.
    """
    unknown = [arm for arm in arms if arm not in ALL_ARMS]
    if unknown:
        raise FatalError(f"an arm must be one of {', '.join(ALL_ARMS)}, got '{unknown[0]}'")
    camera = Camera(bundle, options)
    folders = find_scenes(data)
    scenes = [_scene(camera, folder) for folder in folders]
    rows: list[Row] = []
    for name in arms or ALL_ARMS:
        log.info("%s", name)
        if name in AS_THEY_ARE:
            rows += AS_THEY_ARE[name](scenes)
        else:
            for scene, folder in zip(scenes, folders, strict=True):
                rows += _changed(name, camera, scene, folder)
    return Worth(bundle, camera.bundle.digest, tuple(scene.name for scene in scenes), tuple(rows))


def _scene(camera: Camera, folder: Path) -> Scene:
    scene = camera.scene(folder)
    seconds = sum(take.seconds for take in scene.normal)
    log.info("%s: %.0f s of normal video, %d labelled clips", scene.name, seconds, len(scene.test))
    return scene


def _changed(arm: str, camera: Camera, scene: Scene, folder: Path) -> Iterator[Row]:
    if arm == "disturbance":
        return disturbance(scene, {name: camera.changed_normal(folder, do, name) for name, do in DISTURBANCES.items()})
    return drift(scene, {name: camera.changed(folder, do, name) for name, do in DRIFTS.items()})
