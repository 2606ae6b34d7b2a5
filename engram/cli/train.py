"""``engram train``: making a bundle."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DEFAULT_CACHE, CacheOption, DeviceOption, ThreadsOption
from schemas.settings import WatchSettings

PresetName = Literal["light", "tiny", "paper"]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of videos, or of folders of images: normal only.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the bundle to make; must not exist.")]
PresetOption = Annotated[
    PresetName,
    typer.Option("--preset", help="light: one camera, CPU, under an hour; tiny: minutes; paper: needs a GPU."),
]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="Folder of checkpoints; a training broken off goes on. Default: OUT.run")
]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed and footage give the same bundle.")]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames a second to keep; cameras should send as many.")]
ImageFpsOption = Annotated[float, typer.Option("--image-fps", help="Rate of footage that comes as images.")]
BoardOption = Annotated[Path | None, typer.Option("--tensorboard", help="Folder for loss curves.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "train", extra="train")(train)


def train(
    run: Invocation,
    data: DataOption,
    out: OutOption,
    preset: PresetOption = "light",
    run_folder: RunOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    seed: SeedOption = 0,
    fps: FpsOption = None,
    image_fps: ImageFpsOption = 10.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    tensorboard: BoardOption = None,
) -> None:
    """Train on normal video and write a bundle: weights, memory, and a calibration from footage held back.

    Example: engram train --data footage/lobby --preset light --out bundles/lobby --fps 10
    """
    run.settings(WatchSettings)
    from training.presets import PRESETS  # noqa: PLC0415 - needs an extra
    from training.train import TrainOptions  # noqa: PLC0415
    from training.train import train as train_bundle  # noqa: PLC0415

    options = TrainOptions(
        run=run_folder or out.with_name(f"{out.name}.run"),
        cache=cache,
        seed=seed,
        device=device or "auto",
        threads=threads,
        fps=fps,
        image_fps=image_fps,
        tensorboard=tensorboard,
    )
    print(train_bundle(data, out, PRESETS[preset], options))
