"""``engram ablate``: what the memory is worth."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DEFAULT_CACHE, RECIPE, CacheOption, DeviceOption, PresetOption, ThreadsOption
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.errors import SettingsError
from schemas.settings import WatchSettings

if TYPE_CHECKING:
    from training.evaluation.ablation import Variant

DataOption = Annotated[
    Path, typer.Option("--data", help="A data set: normal footage in train/, labelled footage in test/.")
]
ModelOption = Annotated[
    Literal["mnad-prediction", "mnad-reconstruction"],
    typer.Option("--model", help="The network.", rich_help_panel=RECIPE),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many trainings of each variant: seeds 0, 1, …")]
SeedOption = Annotated[list[int] | None, typer.Option("--seed", help="A seed, instead of --seeds; may be given again.")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="At most so many training steps.")]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder of the trained networks; finished ones are used again, others go on.")
]
VariantOption = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME:KEY=VALUE,…",
        help="Train a network with other parameters, too, as in sharp:temperature=0.1; may be given again.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "ablate", extra="train")(ablate)


def ablate(
    run: Invocation,
    data: DataOption,
    model: ModelOption = "mnad-prediction",
    preset: PresetOption = "light",
    seeds: SeedsOption = 3,
    seed: SeedOption = None,
    steps: StepsOption = None,
    variant: VariantOption = None,
    out: OutOption = Path("ablation"),
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Compare the network without memory, with a memory that stays, and with one that test frames may update.

    Each is trained from several seeds; the table has the mean frame AUC and its spread, and what the memory gains seed
    by seed.

    Example: engram ablate --data ped2 --steps 2000 --variant sharp:temperature=0.1
    """
    run.settings(WatchSettings)
    from training.evaluation.ablation import AblationOptions, as_json  # noqa: PLC0415 - needs an extra
    from training.evaluation.ablation import ablate as compare  # noqa: PLC0415

    wanted = AblationOptions(
        out=out,
        cache=cache,
        model=model,
        preset=preset,
        seeds=tuple(seed) if seed else tuple(range(seeds)),
        max_steps=steps,
        variants=tuple(_variant(text) for text in variant or []),
        device=device or "auto",
        threads=threads,
    )
    told = as_json(compare(data, wanted))
    if output == "json":
        print_json_line(told)
    else:
        _print(told)


def _variant(text: str) -> "Variant":
    from training.evaluation.ablation import Variant  # noqa: PLC0415 - needs an extra

    name, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")]
    if not re.fullmatch(r"[\w.-]+", name.strip()) or not colon or not all(equals for _, equals, _ in pairs):
        example = "write for example --variant sharp:temperature=0.1"
        raise SettingsError(f"--variant must be NAME:KEY=VALUE,KEY=VALUE, got '{text}'; {example}")
    return Variant(name.strip(), {key.strip(): value.strip() for key, _, value in pairs})


def _print(told: dict[str, Any]) -> None:
    gains = {row["name"]: row for row in told["difference_to_no_memory"]}
    names = list(told["protocol"])
    columns = [f"{name}: {what}" for name in names for what in ("AUC", "gain over no memory")]
    rows = [
        (row["name"], *(cell for name in names for cell in _cells(row, gains.get(row["name"]), name)))
        for row in told["frame_auc"]
    ]
    seeds = ", ".join(map(str, told["seeds"]))
    title = (
        f"{told['model']}, preset {told['preset']}, on {told['data']}: frame AUC in %, mean ± spread over seeds {seeds}"
    )
    print_table(title, ("memory", *columns), rows)
    for name, meaning in (*told["protocol"].items(), *told["memory"].items()):
        print(f"{name}: {meaning}")


def _cells(row: dict[str, Any], gain: dict[str, Any] | None, protocol: str) -> tuple[str, str | None]:
    return _percent(row[protocol]), None if gain is None else _percent(gain[protocol], "+")


def _percent(of: dict[str, Any], sign: str = "") -> str:
    spread = "" if of["spread"] is None else f" ± {100 * of['spread']:.2f}"
    return f"{100 * of['mean']:{sign}.2f}{spread}"
