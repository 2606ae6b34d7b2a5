"""How to run a training, as opposed to what to train, which is the preset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16"]
"""Of activations in training; weights, losses and the memory are float32 in either case."""
StartingItems = Literal["random", "kmeans"]
"""What the bank starts from: as published, or the centres of what the encoder makes of normal video."""

STEPS_BETWEEN_CHECKPOINTS = 250


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to run a training.

    Attributes:
        run: folder of checkpoints, curves and the report.
        cache: folder of decoded footage.
        resume: whether a training that was broken off in ``run`` goes on.
        seed: of weights, items and the order of clips.
        device: "auto" or a torch device name.
        threads: of torch; None = its own choice.
        fps: frames a second to keep of the footage; None = all.
        image_fps: rate of footage that comes as folders of images.
        jpeg_quality: at which producers will send; None = frames are used as they are.
        precision: of activations; "auto" = bfloat16 where the hardware multiplies it, and what the run began with.
        compiled: whether the network is compiled; "auto" = on CUDA.
        items: what the bank starts from.
        patience: epochs without a better validation error after which to stop, with the best weights; None = never.
        meta_steps: of MPN's meta phase after the training; 0 = none.
        tensorboard: folder for curves besides the run's own; None = none.
        reported: whether the run ends with a report.
        steps_between_checkpoints: how much work a crash may cost.
    """

    run: Path
    cache: Path
    resume: bool = False
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    fps: float | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    precision: Precision | Literal["auto"] = "auto"
    compiled: bool | Literal["auto"] = "auto"
    items: StartingItems = "random"
    patience: int | None = None
    meta_steps: int = 0
    tensorboard: Path | None = None
    reported: bool = True
    steps_between_checkpoints: int = STEPS_BETWEEN_CHECKPOINTS
