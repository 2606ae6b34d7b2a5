"""The folder of a run: what it is for, so that nobody goes on from another training's checkpoint."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from schemas.errors import FatalError
from training.loop.state import CHECKPOINT
from training.options import Precision, TrainOptions

log = logging.getLogger(__name__)

SETTINGS = "settings.json"
MOST_NAMED = 4


def claim_run(run: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Note what a run folder is for, or make sure that it is for the same.

    Args:
        run: folder; is made if it does not exist.
        settings: all that decides the result.
        resume: whether an earlier run is wanted to go on; with none there, a run begins.

    Raises:
        FatalError: the folder holds a training that is not wanted to go on, or one with other settings.
    """
    begun = (run / CHECKPOINT).exists()
    if begun and not (run / SETTINGS).exists():
        raise FatalError(f"a checkpoint must have its '{SETTINGS}' beside it, '{run}' has none; remove that folder")
    if begun and not resume:
        text = f"the run folder must be new, '{run}' holds a training that was begun"
        raise FatalError(f"{text}; give --resume to go on with it, or remove the folder")
    if begun:
        _compare(run, settings)
        return
    if resume:
        log.warning("nothing to go on from in '%s': the training begins", run)
    run.mkdir(parents=True, exist_ok=True)
    (run / SETTINGS).write_text(json.dumps(settings, indent=1))


def read_settings(run: Path) -> dict[str, Any]:
    """What a run folder is for; empty if it has not begun."""
    path = run / SETTINGS
    settings: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return settings


def precision_of(options: TrainOptions) -> Precision:
    """What was asked for; left open, that with which a run that goes on began, or the fastest here."""
    if options.precision != "auto":
        return options.precision
    begun: Precision | None = read_settings(options.run).get("precision") if options.resume else None
    return begun or fastest_precision(options.device)


def fastest_precision(device: str) -> Precision:
    """bfloat16 where the hardware multiplies it for certain: on GPUs, and on CPUs with AMX."""
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return "bf16"
    processor = Path("/proc/cpuinfo")
    return "bf16" if processor.exists() and "amx_bf16" in processor.read_text() else "fp32"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings without nesting: names are joined by dots."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _compare(run: Path, settings: Mapping[str, Any]) -> None:
    before, now = flat(read_settings(run)), flat(json.loads(json.dumps(settings)))
    differ = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if differ:
        told = ", ".join(f"{name} (was {before.get(name)}, now {now.get(name)})" for name in differ[:MOST_NAMED])
        text = f"a run must go on with the settings it began with, '{run}' differs in {told}"
        raise FatalError(f"{text}; give the same settings, or another --run folder")
