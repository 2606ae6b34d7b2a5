"""``engram train``: making a bundle."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

import bundles
from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    DEFAULT_CACHE,
    FOOTAGE,
    RECIPE,
    CacheOption,
    CameraQualityOption,
    DeviceOption,
    ImageFpsOption,
    PresetOption,
    ThreadsOption,
)
from schemas.errors import SettingsError
from schemas.settings import WatchSettings

RUN = "How it runs"

DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data",
        help="Normal video: a folder of videos or of folders of images; or a data set, of which only the normal part"
        " is learned: train/ test/ labels/, UCSD Ped1 and Ped2, Avenue, ShanghaiTech. Give it again for each further"
        " camera: all of them get one network.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the bundle to make; must not exist.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on where an earlier call broke off; begins if there was none.")
]
ModelOption = Annotated[
    Literal["mnad-prediction", "mnad-reconstruction", "memae", "mpn"],
    typer.Option("--model", help="The network.", rich_help_panel=RECIPE),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the network, as in --set temperature=0.1; may be given again.",
        rich_help_panel=RECIPE,
    ),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Over the preset's.", rich_help_panel=RECIPE)]
StepsOption = Annotated[
    int | None, typer.Option("--max-steps", min=1, help="Over the preset's.", rich_help_panel=RECIPE)
]
BatchOption = Annotated[
    int | None, typer.Option("--batch", min=1, help="Clips a step, over all processes.", rich_help_panel=RECIPE)
]
RateOption = Annotated[
    float | None, typer.Option("--learning-rate", min=0.0, help="Over the preset's.", rich_help_panel=RECIPE)
]
ItemsOption = Annotated[
    Literal["random", "kmeans"],
    typer.Option(
        "--items",
        help="What the memory starts from: random, as published; kmeans: clusters of normal features after a warm-up.",
        rich_help_panel=RECIPE,
    ),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        "--patience",
        min=1,
        help="Stop after so many epochs without a better error on normal clips held back, and keep the best weights."
        " Default: never stop early.",
        rich_help_panel=RECIPE,
    ),
]
MetaOption = Annotated[
    int,
    typer.Option(
        "--meta-steps",
        min=0,
        help="For mpn: steps of the meta phase after the training, which learns to adapt to a new camera; the step"
        " sizes go to the run folder.",
        rich_help_panel=RECIPE,
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option("--fps", help="Frames a second to keep; cameras should send as many.", rich_help_panel=FOOTAGE),
]
RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of checkpoints, curves and the report. Default: OUT.run", rich_help_panel=RUN),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", help="The same seed and footage give the same network, on the same machine.", rich_help_panel=RUN
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(
        "--precision",
        help="Of activations. auto: bf16 on GPUs and on CPUs with AMX, else fp32. On some other CPUs, such as AMD"
        " Zen 4, bf16 is about twice as fast, too.",
        rich_help_panel=RUN,
    ),
]
CompileOption = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Compile the network. Default: on GPUs.", rich_help_panel=RUN),
]
BoardOption = Annotated[
    Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard's curves.", rich_help_panel=RUN)
]
ReportOption = Annotated[
    bool, typer.Option("--report/--no-report", help="Draw the report at the end, some seconds.", rich_help_panel=RUN)
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "train", extra="train")(train)


def train(
    run: Invocation,
    data: DataOption,
    out: OutOption,
    resume: ResumeOption = False,
    model: ModelOption = "mnad-prediction",
    preset: PresetOption = "light",
    set_: SetOption = None,
    epochs: EpochsOption = None,
    max_steps: StepsOption = None,
    batch: BatchOption = None,
    learning_rate: RateOption = None,
    items: ItemsOption = "random",
    patience: PatienceOption = None,
    meta_steps: MetaOption = 0,
    fps: FpsOption = None,
    image_fps: ImageFpsOption = 10.0,
    jpeg_quality: CameraQualityOption = 90,
    run_folder: RunOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    compile_: CompileOption = None,
    tensorboard: BoardOption = None,
    report: ReportOption = True,
) -> None:
    """Train on normal video and write a bundle: weights, memory, and a calibration from footage held back.

    The last 15 % of each camera's footage are not learned: the live score is calibrated on them, and
    OUT.run/report.html shows curves and what the network makes of them. A run that broke off goes on with --resume, to
    the same result.

    Example, one camera on a CPU: engram train --data footage/lobby --out models/lobby --fps 10

    Two cameras: engram train --data footage/lobby --data footage/yard --out models/house --fps 10

    As published, on a GPU: engram train --model mpn --preset paper --data ped2 --out models/ped2-mpn

    On four GPUs: torchrun --no-python --nproc-per-node 4 engram train --preset paper --data avenue --out models/avenue
    """
    run.settings(WatchSettings)
    refuse_source_folder(out)
    from training.options import TrainOptions  # noqa: PLC0415 - needs an extra
    from training.presets import find_preset, with_parameters, with_recipe  # noqa: PLC0415
    from training.train import train as train_bundle  # noqa: PLC0415

    changed = {"epochs": epochs, "max_steps": max_steps, "batch": batch, "learning_rate": learning_rate}
    wanted = with_recipe(with_parameters(find_preset(model, preset), _pairs(set_ or [])), changed)
    options = TrainOptions(
        run=run_folder or out.with_name(f"{out.name}.run"),
        cache=cache,
        resume=resume,
        seed=seed,
        device=device or "auto",
        threads=threads,
        fps=fps,
        image_fps=image_fps,
        jpeg_quality=jpeg_quality or None,
        precision=precision,
        compiled="auto" if compile_ is None else compile_,
        items=items,
        patience=patience,
        meta_steps=meta_steps,
        tensorboard=tensorboard,
        reported=report,
    )
    made = train_bundle(data, out, wanted, options)
    if os.environ.get("RANK", "0") == "0":  # torchrun's other processes have nothing to add
        print(made)


def refuse_source_folder(out: Path) -> None:
    """What is trained does not belong among the sources, where ``bundles/`` looks like the place for it.

    Raises:
        SettingsError: ``out`` lies in the folder of an imported package.
    """
    packages = Path(bundles.__file__).resolve().parents[1]
    inside = next((parent for parent in (out.resolve(), *out.resolve().parents) if parent.parent == packages), None)
    if inside is not None and (inside / "__init__.py").exists():
        text = f"--out must not lie in '{inside}', which holds Engram's own code, got '{out}'"
        raise SettingsError(f"{text}; give another folder, for example --out models/{out.name}")


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = next((name for name, equals, _ in pairs if not equals), None)
    if wrong is not None:
        raise SettingsError(f"--set must be NAME=VALUE, got '{wrong}'; write for example --set temperature=0.1")
    return {name.strip(): value.strip() for name, _, value in pairs}
