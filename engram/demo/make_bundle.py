"""``python -m engram.demo.make_bundle NAME OUT``: how a shipped bundle was made, from nothing but this code.

``walkway`` is the demo's: eight minutes of the synthetic walkway without anomalies, at 5 frames a second: the coarser
the steps, the more a fast mover differs from a walker. About ten minutes on one CPU core.

``anywhere`` is for any camera: walkways filmed by many cameras, each at a place of its own, where people are slower or
faster; in grey, which all cameras have. Half an hour to an hour on one CPU core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from engram.build.shipped import ANYWHERE, WALKWAY, ShippedName
from producers.synthetic import SyntheticScene, write_video
from training.options import TrainOptions
from training.presets import Preset, find_preset, with_parameters
from training.train import train


@dataclass(frozen=True, slots=True)
class Film:
    """One film to learn from.

    Attributes:
        camera: whose.
        name: of the film.
        scene: what is filmed.
        num_frames: how long.
    """

    camera: str
    name: str
    scene: SyntheticScene
    num_frames: int


WALKWAY_SEEDS = range(1001, 1009)
"""None of these is played by the demos."""
ANYWHERE_CAMERAS = range(1, 49)
SLOWEST_FPS, FASTEST_FPS = 5.0, 16.0
"""At which the scene is filmed; it is played at ``ANYWHERE_FPS``, so people are up to twice as fast, or slower."""
WALKWAY_FPS, ANYWHERE_FPS = 5.0, 10.0


def make_bundle(
    name: Annotated[ShippedName, typer.Argument(help="Which bundle.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle to make; must not exist.")],
    work: Annotated[Path, typer.Option(help="Folder for films, decoded frames and checkpoints.")] = Path(".engram"),
) -> None:
    """Film normal footage and train on it; goes on where an earlier call broke off."""
    films, play_fps, preset, fps = {
        WALKWAY: (_of_the_walkway(), None, find_preset("mnad-prediction", "tiny"), WALKWAY_FPS),
        ANYWHERE: (_of_anywhere(), ANYWHERE_FPS, _for_anywhere(), ANYWHERE_FPS),
    }[name]
    folders = {}
    for film in films:
        folder = folders[film.camera] = work / "films" / name / film.camera
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{film.name}.avi"
        if not path.with_suffix(".avi.json").exists():
            write_video(path, film.scene, film.num_frames, play_fps)
    options = TrainOptions(work / "runs" / name, work / "cache", resume=True, threads=1, fps=fps)
    train(list(folders.values()), out, preset, options)


def _of_the_walkway() -> Iterator[Film]:
    for seed in WALKWAY_SEEDS:
        yield Film("walkway", f"normal-{seed}", SyntheticScene(seed, anomalies=False), 600)


def _of_anywhere() -> Iterator[Film]:
    for camera in ANYWHERE_CAMERAS:
        filmed_fps = float(np.random.default_rng((camera, 7)).uniform(SLOWEST_FPS, FASTEST_FPS))
        scene = SyntheticScene(camera, filmed_fps, anomalies=False, camera=camera)
        yield Film(f"camera-{camera}", "normal", scene, 180)


def _for_anywhere() -> Preset:
    light = with_parameters(find_preset("mnad-prediction", "light"), {"depth": "3"})
    return replace(light, recipe=replace(light.recipe, colour="grey", max_steps=2400), half_weights=True)


if __name__ == "__main__":
    typer.run(make_bundle)
