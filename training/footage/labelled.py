"""Labelled test footage of a data set: every stretch that can be read, with the truth that belongs to its frames."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.formats import ClipFormat
from schemas.arrays import Int64, UInt8
from schemas.errors import FatalError
from training.footage.dataset import CacheFormat, FrameCache, Video, open_cache
from training.footage.layouts import Layout, find_layout
from training.footage.material import long_enough
from training.footage.sources import Hole, Source, promised_frames, read_frames
from training.footage.timing import Choice, Rate
from training.footage.truth import label_file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClip:
    """A test clip, or the stretch of it before, between or after frames that cannot be read.

    Attributes:
        name: of the clip; says where the stretch begins if it is not the start.
        source: its files.
        video: its frames in the cache.
        labels_T: one a frame of ``video``, 1 = abnormal.
        source_frames: how many frames the whole source has, those that cannot be read included.
        choice: which of them are kept.
        layout: of the data set, which knows the masks.
    """

    name: str
    source: Source
    video: Video
    labels_T: UInt8
    source_frames: int
    choice: Choice
    layout: Layout

    def masks(self) -> UInt8 | None:
        """One a frame of ``video``, (T, H, W), 1 = abnormal, at the footage's own size; None = there are none.

        Raises:
            FatalError: they cannot be read, or are of another length or size than the footage.
        """
        masks_THW = self.layout.masks(self.source)
        if masks_THW is None:
            return None
        _check_length(self.source, "mask", len(masks_THW), (self.source_frames,))
        size = _frame_size(self.source)
        if masks_THW.shape[1:] != size:
            got = f"{masks_THW.shape[2]} x {masks_THW.shape[1]}"
            text = f"masks of '{self.source.name}' must be {size[1]} x {size[0]} pixels as its frames are, got {got}"
            raise FatalError(f"{text}; check that they belong to this footage")
        return masks_THW[_kept_of(self.video, len(masks_THW), self.choice)]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFootage:
    """Decoded test clips of a data set, each long enough to be scored."""

    cache: FrameCache
    clips: tuple[LabelledClip, ...]

    def check_masks(self) -> None:
        """Read all masks there are, so that one that does not fit is told before the work.

        Raises:
            FatalError: see ``LabelledClip.masks``.
        """
        for clip in self.clips:
            clip.masks()


def open_labelled(
    data: Path, labels: Path | None, wanted: CacheFormat, clip: ClipFormat, cache: Path
) -> LabelledFootage:
    """Test footage of a data set with its labels.

    Args:
        data: folder laid out as ``training.footage.layouts`` knows it.
        labels: folder of ``CLIP.npy``, one value a frame; None = where the data set keeps them.
        wanted: how to decode; of footage that is faster than its ``fps``, one frame in so many is kept, with its truth.
        clip: that the network measures; footage that holds none is named in a warning and left out.
        cache: folder of decoded footage.

    Raises:
        FatalError: no test footage, none long enough, or labels that are missing or do not fit.
    """
    layout = find_layout(data)
    if not layout.test:
        text = f"'{data}' must hold test footage in a folder 'test', it has training footage only"
        raise FatalError(f"{text}; add labelled clips there")
    found = {source.name: _labels(layout, source, labels) for source in layout.test}
    footage = open_cache(layout.test, wanted, cache)
    rate = Rate(wanted.fps, wanted.image_fps)
    choices = {source.name: rate.choice(source) for source in layout.test}
    _check_lengths(layout.test, footage.videos, found, choices)
    sources = {source.name: source for source in layout.test}
    clips = [
        LabelledClip(
            _stretch_name(sources[video.name], video),
            sources[video.name],
            video,
            found[video.name][_kept_of(video, len(found[video.name]), choices[video.name])],
            len(found[video.name]),
            choices[video.name],
            layout,
        )
        for video in long_enough(footage.videos, clip)
    ]
    return LabelledFootage(footage, tuple(clips))


def _stretch_name(source: Source, video: Video) -> str:
    return f"{source.clip} from frame {video.offset}" if video.offset else source.clip


def _labels(layout: Layout, source: Source, folder: Path | None) -> UInt8:
    if folder is None:
        return layout.labels(source)
    path = folder / f"{source.clip}.npy"
    if not path.exists():
        raise FatalError(f"labels of '{source.name}' must be in '{path}', there is no such file; check the folder")
    return label_file(path)


def _kept_of(video: Video, count: int, choice: Choice) -> Int64:
    """Which frames of a source of ``count`` a video in the cache is."""
    return choice.kept(count)[video.offset :][: video.num_frames]


def _check_lengths(
    sources: Sequence[Source], videos: Sequence[Video], labels: dict[str, UInt8], choices: dict[str, Choice]
) -> None:
    last = {video.name: video for video in videos}
    for source in sources:
        if source.name in last:
            possible = _lengths(source, last[source.name], choices[source.name])
            _check_length(source, "label", len(labels[source.name]), possible)


def _check_length(source: Source, what: str, found: int, possible: Sequence[int]) -> None:
    if found not in possible:
        text = f"'{source.name}' must have one {what} a frame, got {found} for {possible[0]} frames"
        raise FatalError(f"{text}; check that they belong to this clip")


def _lengths(source: Source, last: Video, choice: Choice) -> tuple[int, ...]:
    """How many frames a source has: as many as were read, or as it promises, since its end may be unreadable."""
    if not source.is_video:
        return (len(source.files),)
    read = choice.possible_lengths(last.offset + last.num_frames)
    promised = choice.num_known or promised_frames(source.files[0])
    return (promised, *read) if promised in read else (*read, promised)


def _frame_size(source: Source) -> tuple[int, ...]:
    frame = next(frame for frame in read_frames(source) if not isinstance(frame, Hole))
    return frame.shape[:2]
