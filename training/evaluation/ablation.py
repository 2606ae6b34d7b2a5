"""What a memory is worth: the same network trained without one, and with one that test frames may update or not.

Differences between trainings are often larger than those between variants, so each is trained from several seeds, and
variants are compared seed by seed.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from networks.registry import NETWORKS
from schemas.errors import FatalError, SettingsError
from training.evaluation.evaluate import EvaluateOptions, Examiner, open_examiner, paper_gate
from training.evaluation.protocols import MEANINGS, Protocol
from training.loop.run_folder import flat
from training.loop.state import CHECKPOINT
from training.options import TrainOptions
from training.presets import Preset, find_preset, with_parameters, with_recipe
from training.train import train

log = logging.getLogger(__name__)

Memory = Literal["none", "frozen", "gated"]
Aucs = Mapping[Protocol, float]

PROTOCOLS: tuple[Protocol, ...] = ("paper", "live")
MEMORIES: dict[Memory, str] = {
    "none": "a network trained without memory",
    "frozen": "the memory stays as trained",
    "gated": "frames below a gate update the memory after they were scored, carried from clip to clip; the gate is the "
    "paper's in the paper protocol, the calibrated one in the live protocol",
}
ASKED = "asked.json"
"""In a network's folder: what it is for, so that another training's is not taken for it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A network to train: parameters over the preset's, as people type them."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


WITHOUT_MEMORY = Variant("no-memory", {"num_items": "0"})
WITH_MEMORY = Variant("memory")


@dataclass(frozen=True, slots=True)
class AblationOptions:
    """What to compare, and how.

    Attributes:
        out: folder of the trained networks; those found there are not trained again, unfinished ones go on.
        cache: folder of decoded footage.
        model, preset: what to train.
        seeds: each variant is trained from each.
        max_steps: bound on training steps over the preset's; None = the preset's.
        variants: to train besides the network with and the one without memory.
        device: "auto" or a torch device name.
        threads: of torch; None = its own choice.
    """

    out: Path
    cache: Path
    model: str = "mnad-prediction"
    preset: str = "light"
    seeds: tuple[int, ...] = (0, 1, 2)
    max_steps: int | None = None
    variants: tuple[Variant, ...] = ()
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Frame AUCs of one variant with one use of its memory, by seed, in [0, 1]."""

    variant: str
    memory: Memory
    aucs: tuple[Aucs, ...]

    @property
    def name(self) -> str:
        """As tables show it."""
        if self.memory == "none":
            return "no memory"
        return self.memory if self.variant == WITH_MEMORY.name else f"{self.variant}, {self.memory}"


@dataclass(frozen=True, slots=True)
class Ablation:
    """All rows; the first is the network without memory."""

    data: Path
    options: AblationOptions
    rows: tuple[Row, ...]


def ablate(data: Path, options: AblationOptions) -> Ablation:
    """Train what is missing, and measure everything.

    Args:
        data: a data set with normal training footage and labelled test footage.
        options: what to compare.

    Raises:
        FatalError: as in training and evaluation; or a folder in ``out`` holds another training.
    """
    variants = (WITHOUT_MEMORY, WITH_MEMORY, *options.variants)
    presets = _presets(variants, options)
    found: dict[tuple[str, Memory], list[Aucs]] = {}
    for seed in options.seeds:
        for variant in variants:
            bundle = _trained(data, variant, presets[variant.name], seed, options)
            log.info("measuring '%s'", bundle)
            examine = EvaluateOptions(options.cache, device=options.device, threads=options.threads)
            for memory, aucs in _measured(open_examiner(bundle, data, examine)).items():
                found.setdefault((variant.name, memory), []).append(aucs)
    rows = tuple(Row(name, memory, tuple(aucs)) for (name, memory), aucs in found.items())
    return Ablation(data, options, rows)


def as_json(ablation: Ablation) -> dict[str, Any]:
    """Means and spreads of all rows, and of what each gains over the network without memory, seed by seed.

    ``spread`` is the sample standard deviation over seeds; None with one seed.
    """
    options, (base, *others) = ablation.options, ablation.rows
    return {
        "data": str(ablation.data),
        "model": options.model,
        "preset": options.preset,
        "max_steps": options.max_steps,
        "seeds": list(options.seeds),
        "protocol": dict(MEANINGS) | {"live": MEANINGS["live"].partition(", memory")[0]},
        "memory": MEMORIES,
        "frame_auc": [
            _told(row, {name: [aucs[name] for aucs in row.aucs] for name in PROTOCOLS}) for row in (base, *others)
        ],
        "difference_to_no_memory": [_told(row, _differences(row, base)) for row in others],
    }


def _presets(variants: Sequence[Variant], options: AblationOptions) -> dict[str, Preset]:
    updating = [name for name, network in NETWORKS.items() if network.paper_test.gate is not None]
    if options.model not in updating:
        text = f"model must be one whose memory can be left out and updated: {', '.join(updating)}"
        raise SettingsError(f"{text}; got '{options.model}'")
    names = [variant.name for variant in variants]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"variants must have different names, '{twice}' is there twice; rename one")
    preset = with_recipe(find_preset(options.model, options.preset), {"max_steps": options.max_steps})
    return {variant.name: with_parameters(preset, variant.parameters) for variant in variants}


def _trained(data: Path, variant: Variant, preset: Preset, seed: int, options: AblationOptions) -> Path:
    folder = options.out / f"{variant.name}-seed-{seed}"
    _claim(
        folder,
        {
            "data": str(data.resolve()),
            "model": options.model,
            "preset": options.preset,
            "seed": seed,
            "max_steps": options.max_steps,
            "parameters": dict(variant.parameters),
        },
    )
    bundle, run = folder / "bundle", folder / "run"
    if bundle.exists():
        log.info("found '%s'", bundle)
        return bundle
    log.info("training '%s'", bundle)
    resume = (run / CHECKPOINT).exists()
    # Of so many trainings nobody reads the reports, and each takes seconds to draw.
    how = TrainOptions(run, options.cache, resume, seed, options.device, options.threads, reported=False)
    return train([data], bundle, preset, how)


def _claim(folder: Path, asked: Mapping[str, Any]) -> None:
    path = folder / ASKED
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asked, indent=1))
        return
    before, now = flat(json.loads(path.read_text())), flat(asked)
    differ = [name for name in before.keys() | now.keys() if before.get(name) != now.get(name)]
    if differ:
        told = ", ".join(f"{name} (was {before.get(name)}, now {now.get(name)})" for name in sorted(differ))
        text = f"'{folder}' must be of the same training, it differs in {told}"
        raise FatalError(f"{text}; give another --out, or rename the variant")


def _measured(examiner: Examiner) -> dict[Memory, Aucs]:
    """One pass for a memory that stays, and one per protocol for one that is updated, since their gates differ."""
    fixed = examiner.fixed()
    still = {protocol: examiner.auc(protocol, fixed) for protocol in PROTOCOLS}
    gate = paper_gate(examiner.bundle)
    if gate is None:
        return {"none": still}
    gates: dict[Protocol, float] = {"paper": gate, "live": examiner.bundle.calibration.gate_threshold}
    updated = {protocol: examiner.auc(protocol, examiner.carried(gates[protocol])) for protocol in PROTOCOLS}
    return {"frozen": still, "gated": updated}


def _differences(row: Row, base: Row) -> dict[Protocol, list[float]]:
    pairs = list(zip(row.aucs, base.aucs, strict=True))
    return {name: [with_it[name] - without[name] for with_it, without in pairs] for name in PROTOCOLS}


def _told(row: Row, values: Mapping[Protocol, Sequence[float]]) -> dict[str, Any]:
    summaries: dict[str, Any] = {
        name: {"mean": float(np.mean(of)), "spread": _spread(of), "by_seed": list(of)} for name, of in values.items()
    }
    return {"name": row.name, "variant": row.variant, "memory": row.memory, **summaries}


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
