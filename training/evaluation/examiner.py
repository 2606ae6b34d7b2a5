"""A bundle's network in front of labelled footage: runs it, scores what it measured, compares with the labels."""

import logging
from dataclasses import dataclass
from pathlib import Path

from bundles.bundle import Bundle
from inference.loading import open_engine
from networks.network import PaperTest
from networks.registry import network_class
from schemas.errors import FatalError
from schemas.settings.detection import BackendSetting
from training.evaluation.detection_measures import ScoredClip, frame_auc
from training.evaluation.measuring import Measuring, Run
from training.evaluation.protocols import Protocol, live_scores, paper_scores, scored_frame
from training.footage.dataset import CacheFormat, Video
from training.footage.labelled import LabelledFootage, open_labelled

log = logging.getLogger(__name__)

FPS_TOLERANCE = 0.1
"""Share by which the footage's rate may differ from the bundle's before it is worth a warning."""


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
    """

    cache: Path
    labels: Path | None = None
    protocols: tuple[Protocol, ...] = ("paper", "live")
    device: str = "auto"
    threads: int | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    backend: BackendSetting = "auto"


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
    wanted = CacheFormat(engine.frame_format, image_fps=options.image_fps, jpeg_quality=options.jpeg_quality)
    footage = open_labelled(data, options.labels, wanted, engine.clip_format, options.cache)
    footage.check_masks()
    _warn_of_other_rate(engine.bundle, footage)
    return Examiner(engine.bundle, Measuring(engine, engine.bundle.calibration.speed_scale), footage)


def paper_gate(bundle: Bundle) -> float | None:
    """Below which a regular score lets a frame update the memory in the paper's test; None = it has none to update."""
    return network_class(bundle.model).paper_test.gate if bundle.items_MC.size else None


def _warn_of_other_rate(bundle: Bundle, footage: LabelledFootage) -> None:
    wanted = bundle.manifest.fps
    rates = sorted({clip.video.fps for clip in footage.clips if abs(clip.video.fps / wanted - 1) > FPS_TOLERANCE})
    if rates:
        told = ", ".join(f"{rate:g}" for rate in rates)
        log.warning("the bundle is for %g frames a second, the footage has %s: things move otherwise", wanted, told)
