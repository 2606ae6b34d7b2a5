"""What a training is made of: footage, decoded and divided into what is learned and what is held back.

Normal footage is held back for validation and calibration, since a network does too well on frames it has learnt.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from inference.formats import ClipFormat, FrameFormat
from inference.scoring import MIN_FRAMES
from schemas.arrays import Int64
from schemas.errors import FatalError
from training.footage.dataset import FrameCache, Video
from training.footage.layouts import find_layout
from training.footage.sources import MOST_NAMED, Source, listed
from training.presets import Preset

log = logging.getLogger(__name__)

HELD_SHARE = 0.15
MOST_HELD_SHARE = 0.3
"""A whole video is held back if that keeps the share below this; a larger one is cut."""


@dataclass(frozen=True, slots=True)
class Split:
    """Videos, or parts of them, to train on, and to validate and calibrate with. They share no frame."""

    training: tuple[Video, ...]
    held_back: tuple[Video, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Footage, and the first frames of the clips to train on and of those held back."""

    footage: FrameCache
    training: Int64
    held_back: Int64


def normal_footage(data: Path) -> Sequence[Source]:
    """What may be learned of a data set.

    Raises:
        FatalError: there is none.
    """
    layout = find_layout(data)
    if not layout.train:
        text = f"'{data}' must hold normal footage in a folder 'train', it has test footage only"
        raise FatalError(f"{text}; give the folder above, or one that holds normal footage only")
    return layout.train


def split_videos(videos: Sequence[Video], share: float = HELD_SHARE) -> Split:
    """Hold back the last ``share`` of each camera's frames: whole videos from the end, or the tail of a long one.

    The end rather than a random part, because that is where a camera goes on when the training is over.
    """
    parts = [_split_camera(list(own), share) for _, own in groupby(videos, key=lambda video: video.camera)]
    training = tuple(video for part in parts for video in part.training)
    return Split(training, tuple(video for part in parts for video in part.held_back))


def long_enough(videos: Sequence[Video], clip: ClipFormat) -> list[Video]:
    """The videos that hold a clip; the others are named in a warning.

    Raises:
        FatalError: none does.
    """
    short = [video for video in videos if video.num_frames < clip.span]
    told = listed([f"'{video.name}' has {video.num_frames}" for video in short])
    if len(short) == len(videos):
        text = f"a video must have at least {clip.span} frames, which make one clip; {told}"
        raise FatalError(f"{text}; give longer videos")
    if short:
        log.warning("left out %d videos of fewer than the %d frames of a clip: %s", len(short), clip.span, told)
    return [video for video in videos if video.num_frames >= clip.span]


def clip_starts(videos: Sequence[Video], clip: ClipFormat, at_least: int) -> Int64:
    """First frames of all clips of these videos.

    Raises:
        FatalError: fewer than ``at_least`` clips.
    """
    starts = np.concatenate([video.clip_starts(clip.length, clip.stride) for video in videos])
    if len(starts) < at_least:
        frames = sum(video.num_frames for video in videos)
        text = f"footage must give at least {at_least} clips of {clip.span} frames, got {len(starts)}"
        names = ", ".join(f"'{video.name}'" for video in videos[:MOST_NAMED])
        raise FatalError(f"{text} from {frames} frames of {names}; record more normal video")
    return starts


@dataclass(frozen=True, slots=True)
class Material:
    """What a training is made of.

    Attributes:
        preset: with its channels settled.
        footage: decoded.
        split: which of it is learned.
        clip: which frames make a clip.
        fps: frames a second that stand for all of it.
        cameras: that it must all be of; none = of any.
    """

    preset: Preset
    footage: FrameCache
    split: Split
    clip: ClipFormat
    fps: float
    cameras: tuple[str, ...] = ()

    @property
    def frame(self) -> FrameFormat:
        """Of the footage at model size."""
        _, height, width, channels = self.footage.frames_FHWC.shape
        return FrameFormat(width, height, channels)

    def clips(self) -> Clips:
        """To train on, and held back.

        Raises:
            FatalError: too few for a batch, or for the calibration, of which each camera must have its part.
        """
        for camera in self.cameras:
            self._require_held_back(camera)
        training = clip_starts(self.split.training, self.clip, at_least=self.preset.recipe.batch)
        return Clips(self.footage, training, clip_starts(self.split.held_back, self.clip, at_least=MIN_FRAMES))

    def _require_held_back(self, camera: str) -> None:
        own = [video for video in self.split.held_back if video.camera == camera]
        num_clips = sum(len(video.clip_starts(self.clip.length, self.clip.stride)) for video in own)
        if num_clips < MIN_FRAMES:
            text = f"each camera must leave at least {MIN_FRAMES} clips of {self.clip.span} frames to calibrate on"
            text += f", '{camera}' leaves {num_clips}"
            raise FatalError(f"{text}; record more normal video of it, or leave it out")


def _split_camera(videos: Sequence[Video], share: float) -> Split:
    total = sum(video.num_frames for video in videos)
    training, held_back = list(videos), list[Video]()
    missing = round(share * total)
    while missing > 0:
        last = training.pop()
        if last.num_frames <= missing + (MOST_HELD_SHARE - share) * total and training:
            held_back.insert(0, last)
        else:
            kept = last.num_frames - missing
            training.append(replace(last, num_frames=kept))
            held_back.insert(0, replace(last, first_frame=last.first_frame + kept, num_frames=missing))
        missing -= held_back[0].num_frames
    return Split(tuple(training), tuple(held_back))
