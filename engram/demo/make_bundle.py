"""``python -m engram.demo.make_bundle OUT``: how the shipped bundle was made, from nothing but this code.

Films eight minutes of the synthetic walkway without anomalies, then trains the ``tiny`` preset on them at 5 frames a
second: the coarser the steps, the more a fast mover differs from a walker. About ten minutes on one CPU core.
"""

from pathlib import Path
from typing import Annotated

import typer

from producers.synthetic import SyntheticScene, write_video
from training.options import TrainOptions
from training.presets import find_preset
from training.train import train

SEEDS = range(1001, 1009)
"""None of these is played by the demos."""
FRAMES_PER_FILM = 600
FPS = 5.0


def make_bundle(
    out: Annotated[Path, typer.Argument(help="Folder of the bundle to make; must not exist.")],
    work: Annotated[Path, typer.Option(help="Folder for films, decoded frames and checkpoints.")] = Path(".engram"),
) -> None:
    """Film normal footage and train on it; goes on where an earlier call broke off."""
    films = work / "demo-data"
    films.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        path = films / f"normal-{seed}.avi"
        if not path.with_suffix(".avi.json").exists():
            write_video(path, SyntheticScene(seed, anomalies=False), FRAMES_PER_FILM)
    options = TrainOptions(run=work / "runs" / "walkway", cache=work / "cache", resume=True, threads=1, fps=FPS)
    train([films], out, find_preset("mnad-prediction", "tiny"), options)


if __name__ == "__main__":
    typer.run(make_bundle)
