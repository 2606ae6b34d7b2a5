"""``engram train`` and ``engram evaluate``: making a bundle, and measuring one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DeviceOption
from engram.cli.output import OutputOption, print_json_line, print_table
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
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder of decoded footage, used again the next time.")]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed and footage give the same bundle.")]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames a second to keep; cameras should send as many.")]
ImageFpsOption = Annotated[float, typer.Option("--image-fps", help="Rate of footage that comes as images.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads of the training library.")]
BoardOption = Annotated[Path | None, typer.Option("--tensorboard", help="Folder for loss curves.")]
BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
VideosOption = Annotated[Path, typer.Option("--data", help="Folder of test videos, or of folders of images.")]
LabelsOption = Annotated[Path, typer.Option("--labels", help="Folder of VIDEO.npy, one value a frame, 1 = abnormal.")]
ProtocolOption = Annotated[
    Literal["paper", "live"],
    typer.Option("--protocol", help="paper: scaled over each clip, memory carried; live: causal and calibrated."),
]
DEFAULT_CACHE = Path(".engram/cache")


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    command(app, "train", extra="train")(train)
    command(app, "evaluate", extra="train")(evaluate)


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


def evaluate(
    run: Invocation,
    bundle: BundleOption,
    data: VideosOption,
    labels: LabelsOption,
    protocol: ProtocolOption = "live",
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Measure a bundle on labelled video: area under the ROC curve over all frames.

    Example: engram evaluate --bundle bundles/ped2 --data ped2/test --labels ped2/labels --protocol paper
    """
    run.settings(WatchSettings)
    from training.evaluate import Footage  # noqa: PLC0415 - needs an extra
    from training.evaluate import evaluate as measure  # noqa: PLC0415

    found = asdict(measure(bundle, Footage(data, labels, cache), protocol, device or "auto", threads))
    if output == "json":
        print_json_line(found)
    else:
        print_table(f"{bundle} on {data}", ("", ""), list(found.items()))
