"""An evaluation as plain values: the one JSON object that ``engram evaluate`` prints. Rates and areas are in [0, 1]."""

from dataclasses import asdict
from typing import Any

from training.evaluation.evaluate import Evaluation, Outcome, paper_gate
from training.evaluation.events import EventsTold
from training.evaluation.measures import frame_auc
from training.evaluation.protocols import MEANINGS, Protocol

UPDATED = "updated by frames whose regular score is below {gate:g}, carried from clip to clip"
FIXED = "as trained"
NONE = "none to update"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but scores and maps.

    ``num_frames`` and ``num_abnormal`` count the frames that the first protocol scored; under ``protocol`` they stand
    for each, since MemAE's paper scores another frame of a clip than a live system can.
    """
    outcomes = evaluation.outcomes
    first = next(iter(outcomes.values()))
    return {
        "bundle": str(evaluation.path),
        "bundle_digest": evaluation.bundle.digest,
        "model": evaluation.bundle.model,
        "data": str(evaluation.data),
        "protocol": {name: _protocol(evaluation, outcome) for name, outcome in outcomes.items()},
        "frame_auc": {name: outcome.frame_auc for name, outcome in outcomes.items()},
        "average_precision": {name: outcome.average_precision for name, outcome in outcomes.items()},
        "pixel_auc": {name: outcome.pixel_auc for name, outcome in outcomes.items()},
        "false_alarms_per_hour": {
            name: {str(recall): rate for recall, rate in outcome.false_alarms_per_hour.items()}
            for name, outcome in outcomes.items()
        },
        "events": {name: [_told(told) for told in outcome.events] for name, outcome in outcomes.items()},
        "num_frames": first.num_frames,
        "num_abnormal": first.num_abnormal,
        "clips": [_clip(evaluation, index) for index in range(len(first.clips))],
        "frames_per_s": evaluation.frames_per_s,
    }


def _told(told: EventsTold) -> dict[str, Any]:
    return {**asdict(told), "median_delay_s": told.median_delay_s}


def _protocol(evaluation: Evaluation, outcome: Outcome) -> dict[str, Any]:
    return {
        "meaning": MEANINGS[outcome.protocol],
        "memory": memory_in(evaluation, outcome.protocol),
        "num_frames": outcome.num_frames,
        "num_abnormal": outcome.num_abnormal,
    }


def memory_in(evaluation: Evaluation, protocol: Protocol) -> str:
    """What became of the memory while this protocol ran."""
    if not evaluation.bundle.items_MC.size:
        return NONE
    gate = paper_gate(evaluation.bundle)
    return UPDATED.format(gate=gate) if protocol == "paper" and gate is not None else FIXED


def _clip(evaluation: Evaluation, index: int) -> dict[str, Any]:
    clips = {name: outcome.clips[index] for name, outcome in evaluation.outcomes.items()}
    first = next(iter(clips.values()))
    return {
        "name": evaluation.footage.clips[index].name,
        "num_frames": len(first.scores_N),
        "num_abnormal": first.num_abnormal,
        "frame_auc": {name: frame_auc([clip]) for name, clip in clips.items()},
        "max_score": {name: float(clip.scores_N.max()) for name, clip in clips.items()},
    }
