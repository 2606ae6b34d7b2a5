"""A bundle on labelled video, by the paper's protocol and by the live score.

The paper's protocol needs whole videos (it scales each by its own minimum and maximum), so it says how good the network
is, not how good a live system would be. The live protocol runs the very code that scores in a worker.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundles.bundle import Bundle
from inference.loading import open_engine
from inference.standard import standard_of
from networks.network import PaperTest
from networks.registry import network_class
from schemas.arrays import Float32
from schemas.errors import FatalError
from schemas.settings.detection import BackendSetting, EventsSection
from training.evaluation.events import EventsTold, JudgedClip, events_told
from training.evaluation.measures import (
    RECALLS,
    PixelCounts,
    ScoredClip,
    average_precision,
    enlarged,
    false_alarms_per_hour,
    frame_auc,
)
from training.evaluation.measuring import Measuring, Run
from training.evaluation.protocols import Protocol, live_scores, paper_scores, scored_frame
from training.footage.dataset import CacheFormat, Video
from training.footage.labelled import LabelledFootage, open_labelled
from training.footage.timing import RATE_TOLERANCE

log = logging.getLogger(__name__)

OPERATING_POINTS = (1.0, 24.0)
"""False alarms a day: once a day, and once an hour."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        cache: folder of decoded footage.
        labels: folder of ``CLIP.npy``; None = where the data set keeps them.
        protocols: which to run.
        device: "auto" or a torch device name.
        threads: of torch; None = its own choice.
        image_fps: rate of footage that comes as folders of images.
        jpeg_quality: of the round trip a live frame makes; None = none.
        backend: what computes the network, see ``inference.backends.choose``.
        target_false_alarms_per_day: of one camera, from which the live protocol's threshold follows.
    """

    cache: Path
    labels: Path | None = None
    protocols: tuple[Protocol, ...] = ("paper", "live")
    device: str = "auto"
    threads: int | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    backend: BackendSetting = "auto"
    target_false_alarms_per_day: float = EventsSection().target_false_alarms_per_day


@dataclass(frozen=True, slots=True, eq=False)
class Examiner:
    """A bundle's network in front of labelled footage."""

    bundle: Bundle
    measuring: Measuring
    footage: LabelledFootage

    @property
    def paper_test(self) -> PaperTest:
        """Of the network."""
        return network_class(self.bundle.model).paper_test

    @property
    def map_frame(self) -> int:
        """Index within a video of the frame of the first map: the newest that the first clip has."""
        return self.measuring.predictor.clip_format.span - 1

    def fixed(self) -> Run:
        """One pass with the memory as trained."""
        return self.measuring.fixed(self.footage.cache, self._videos, self.bundle.items_MC)

    def carried(self, gate: float) -> Run:
        """One pass with a memory that frames below ``gate`` update."""
        return self.measuring.carried(self.footage.cache, self._videos, self.bundle.items_MC, gate)

    def scored(self, protocol: Protocol, run: Run) -> tuple[ScoredClip, ...]:
        """Scores of a run beside the labels of the frames they belong to."""
        first = self.first_frame(protocol)
        if protocol == "paper":
            scores = [paper_scores(video, self.paper_test) for video in run.videos]
        else:
            scores = [live_scores(video, self.bundle.calibration) for video in run.videos]
        return tuple(
            ScoredClip(values, clip.labels_T[first : first + len(values)], clip.video.fps)
            for clip, values in zip(self.footage.clips, scores, strict=True)
        )

    def auc(self, protocol: Protocol, run: Run) -> float:
        """Frame AUC of a run, in [0, 1].

        Raises:
            FatalError: the scored frames are all of one class.
        """
        clips = self.scored(protocol, run)
        area = frame_auc(clips)
        if area is None:
            kind = "abnormal" if any(clip.num_abnormal for clip in clips) else "normal"
            text = f"labels must hold normal and abnormal frames, all {run.num_frames} scored frames are {kind}"
            raise FatalError(f"{text}; add clips of the other kind, or check the labels")
        return area

    def first_frame(self, protocol: Protocol) -> int:
        """Index within a video of the frame that the first score belongs to."""
        clip = self.measuring.predictor.clip_format
        return clip.stride * scored_frame(protocol, self.paper_test, clip.length)

    @property
    def _videos(self) -> tuple[Video, ...]:
        return tuple(clip.video for clip in self.footage.clips)


def open_examiner(path: Path, data: Path, options: EvaluateOptions) -> Examiner:
    """Load a bundle and the footage it is to be measured on. Raises as ``evaluate`` does."""
    engine = open_engine(path, options.device, options.threads, options.backend)
    frame, fps = engine.predictor.frame_format, engine.bundle.manifest.fps
    wanted = CacheFormat(frame, fps, options.image_fps, options.jpeg_quality)
    footage = open_labelled(data, options.labels, wanted, engine.predictor.clip_format, options.cache)
    footage.check_masks()
    _warn_of_other_rate(engine.bundle, footage)
    return Examiner(engine.bundle, Measuring(engine.predictor, engine.bundle.calibration), footage)


def paper_gate(bundle: Bundle) -> float | None:
    """Below which a regular score lets a frame update the memory in the paper's test; None = it has none to update."""
    return network_class(bundle.model).paper_test.gate if bundle.items_MC.size else None


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
        events: that a worker would have told of, each clip a session of its own, at ``OPERATING_POINTS`` and what was
            asked for; none by the paper's protocol, which has no thresholds.
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
    events: tuple[EventsTold, ...] = ()

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
        target_false_alarms_per_day: that was asked for.
    """

    path: Path
    bundle: Bundle
    data: Path
    footage: LabelledFootage
    outcomes: Mapping[Protocol, Outcome]
    frames_per_s: float
    target_false_alarms_per_day: float

    @property
    def opens_at(self) -> float:
        """Live score at which a worker opens an event, as ``engram watch`` has it at the bundle's own rate."""
        standard = standard_of(self.bundle.calibration)
        return standard.thresholds(self.target_false_alarms_per_day, self.bundle.manifest.fps)[0]


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
    target = options.target_false_alarms_per_day
    outcomes = {protocol: judge(examiner, protocol, run, target) for protocol, run in runs.items()}
    return Evaluation(path, examiner.bundle, data, examiner.footage, outcomes, num_frames / seconds, target)


def judge(examiner: Examiner, protocol: Protocol, run: Run, per_day: float) -> Outcome:
    """Score a run and hold it against the truth in all ways, at ``per_day`` false alarms a day among others.

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
        _events(examiner, clips, maps, per_day) if protocol == "live" else (),
    )


def _events(
    examiner: Examiner, clips: Sequence[ScoredClip], maps: Sequence[Float32], per_day: float
) -> tuple[EventsTold, ...]:
    standard, first = standard_of(examiner.bundle.calibration), examiner.first_frame("live")
    judged = []
    for labelled, clip, maps_NRS in zip(examiner.footage.clips, clips, maps, strict=True):
        masks_THW = labelled.masks()
        masks_NHW = None if masks_THW is None else masks_THW[first : first + len(clip.scores_N)]
        judged.append(JudgedClip(clip.scores_N, clip.labels_N, maps_NRS, masks_NHW, clip.fps))
    rates = sorted({*OPERATING_POINTS, per_day})
    return tuple(events_told(judged, rate, *standard.thresholds(rate, examiner.bundle.manifest.fps)) for rate in rates)


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


def _warn_of_other_rate(bundle: Bundle, footage: LabelledFootage) -> None:
    wanted = bundle.manifest.fps
    rates = sorted({clip.video.fps for clip in footage.clips if abs(clip.video.fps / wanted - 1) > RATE_TOLERANCE})
    if rates:
        told = ", ".join(f"{rate:g}" for rate in rates)
        log.warning("the bundle is for %g frames a second, the footage has %s: things move otherwise", wanted, told)


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
