"""A bundle on labelled video, by the paper's protocol and by the live score.

The paper's protocol needs whole videos (it scales each by its own minimum and maximum), so it says how good the network
is, not how good a live system would be. The live protocol runs the very code that scores in a worker.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundles.bundle import Bundle
from schemas.arrays import Float32
from training.evaluation.detection_measures import RECALLS, ScoredClip, average_precision, false_alarms_per_hour
from training.evaluation.examiner import EvaluateOptions, Examiner, open_examiner, paper_gate
from training.evaluation.measuring import Run
from training.evaluation.pixel_measures import PixelCounts, enlarged
from training.evaluation.protocols import Protocol
from training.footage.labelled import LabelledFootage


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one protocol says.

    Attributes:
        protocol: which.
        clips: scores of each clip of the footage, in its order.
        first_frame: index within a clip of the frame that the first score belongs to.
        map_frame: the same of the first map; maps are of the newest frame the network saw.
        maps: of each clip, (N, R, S), >= 0, high = anomalous.
        frame_auc, average_precision: over all scored frames, in [0, 1].
        pixel_auc: over all pixels, in [0, 1]; None where there are no masks.
        false_alarms_per_hour: by recall; None where there is no normal footage.
    """

    protocol: Protocol
    clips: tuple[ScoredClip, ...]
    first_frame: int
    map_frame: int
    maps: tuple[Float32, ...]
    frame_auc: float
    average_precision: float
    pixel_auc: float | None
    false_alarms_per_hour: Mapping[float, float | None]

    @property
    def num_frames(self) -> int:
        """Of all clips that were scored."""
        return sum(len(clip.scores_N) for clip in self.clips)

    @property
    def num_abnormal(self) -> int:
        """Of the frames that were scored."""
        return sum(clip.num_abnormal for clip in self.clips)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that was found about a bundle.

    Attributes:
        path: of the bundle.
        bundle: its content.
        data: folder of the footage.
        footage: decoded.
        outcomes: by protocol, in the order they were asked for.
        frames_per_s: rate of scoring, one pass over the footage.
    """

    path: Path
    bundle: Bundle
    data: Path
    footage: LabelledFootage
    outcomes: Mapping[Protocol, Outcome]
    frames_per_s: float


def evaluate(path: Path, data: Path, options: EvaluateOptions) -> Evaluation:
    """Measure a bundle.

    Args:
        path: folder of the bundle.
        data: folder laid out as ``training.footage.layouts`` knows it.
        options: how.

    Raises:
        FatalError: no test footage, or truth that does not fit it or holds one class only; BundleError: the bundle.
    """
    examiner = open_examiner(path, data, options)
    began = time.perf_counter()
    runs = _runs(examiner, options.protocols)
    seconds = time.perf_counter() - began
    num_frames = sum(run.num_frames for run in {id(run): run for run in runs.values()}.values())
    outcomes = {protocol: judge(examiner, protocol, run) for protocol, run in runs.items()}
    return Evaluation(path, examiner.bundle, data, examiner.footage, outcomes, num_frames / seconds)


def judge(examiner: Examiner, protocol: Protocol, run: Run) -> Outcome:
    """Score a run and hold it against the truth in all ways.

    Raises:
        FatalError: the scored frames are all of one class.
    """
    clips, maps, footage = examiner.scored(protocol, run), _maps(protocol, run), examiner.footage
    return Outcome(
        protocol,
        clips,
        examiner.first_frame(protocol),
        examiner.map_frame,
        maps,
        examiner.auc(protocol, run),
        average_precision(clips),
        pixel_auc(footage, maps, examiner.map_frame),
        {recall: false_alarms_per_hour(recall, clips) for recall in RECALLS},
    )


def pixel_auc(footage: LabelledFootage, maps: Sequence[Float32], map_frame: int) -> float | None:
    """ROC AUC over the pixels of all clips that have masks, in [0, 1]; None if there are none, or of one class only.

    Args:
        footage: with masks.
        maps: of each clip, (N, R, S).
        map_frame: index within a clip of the frame of its first map.
    """
    counts = PixelCounts()
    for clip, maps_NRS in zip(footage.clips, maps, strict=True):
        masks_THW = clip.masks()
        if masks_THW is not None:
            for map_RS, mask_HW in zip(maps_NRS, masks_THW[map_frame:], strict=True):
                counts.add(enlarged(map_RS, *mask_HW.shape), mask_HW)
    return counts.auc()


def _runs(examiner: Examiner, protocols: Sequence[Protocol]) -> dict[Protocol, Run]:
    """One pass for both protocols where the paper's test leaves the memory alone."""
    gate = paper_gate(examiner.bundle)
    fixed = examiner.fixed() if "live" in protocols or gate is None else None
    runs: dict[Protocol, Run] = {}
    for protocol in protocols:
        if protocol == "paper" and gate is not None:
            runs[protocol] = examiner.carried(gate)
        elif fixed is not None:
            runs[protocol] = fixed
    return runs


def _maps(protocol: Protocol, run: Run) -> tuple[Float32, ...]:
    if protocol == "paper":
        return tuple(np.stack([measured.error_map_RS for measured in video]) for video in run.videos)
    return tuple(np.stack([measured.irregularity.map_RS for measured in video]) for video in run.videos)
