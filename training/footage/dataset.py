"""Video as clips of the right size: decoded once into a flat file, then read through memory mapping.

A cached frame went the same way as a live one: JPEG as the producer sends it, decoded and resized by the worker's code.
So what the network learns, and what the calibration is fitted on, is what a worker will see.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from inference.decode import fit
from inference.formats import FrameFormat
from schemas.arrays import Int64, UInt8
from schemas.errors import FatalError
from training.footage.sources import Hole, Source, listed, read_frames
from training.footage.timing import Rate

log = logging.getLogger(__name__)

CONTENT_VERSION = 4
"""Counts changes of what a cache's folder holds, so that an older one is not taken for a new one."""


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """What decides the content of a cache besides the footage.

    Attributes:
        frame: size and channels.
        fps: frames a second to keep; None = all of them, see ``timing.Rate``.
        image_fps: rate of folders of images, which do not say it themselves.
        jpeg_quality: of the round trip that a live frame makes; None = none.
    """

    frame: FrameFormat
    fps: float | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90


@dataclass(frozen=True, slots=True)
class Video:
    """A stretch of frames in a cache: a source, or the part of it before, between or after frames not to be read.

    Nor does it reach over a pause in a film whose rate varies.

    Attributes:
        name: of the source.
        first_frame: index in the cache.
        num_frames: how many.
        fps: of the frames kept.
        offset: index within the source of its first frame, counting frames kept and frames that cannot be read;
            frame i has the source's label ``offset + i`` where all frames are kept, see ``timing.Choice.kept``.
        camera: of the source.
    """

    name: str
    first_frame: int
    num_frames: int
    fps: float
    offset: int = 0
    camera: str = ""

    def clip_starts(self, clip_length: int, stride: int = 1) -> Int64:
        """First frames of all clips that lie within this video."""
        reach = (clip_length - 1) * stride
        return np.arange(self.first_frame, self.first_frame + max(0, self.num_frames - reach))


@dataclass(frozen=True, slots=True)
class FrameCache:
    """Decoded footage. ``frames_FHWC`` is memory-mapped uint8; ``digest`` names the footage, not its path."""

    frames_FHWC: UInt8
    videos: tuple[Video, ...]
    digest: str

    def clips(self, starts: Int64, clip_length: int, stride: int = 1) -> UInt8:
        """Clips (B, T, H, W, C) that begin at the given frames, ``stride`` frames from one frame to the next."""
        clips_BTHWC: UInt8 = self.frames_FHWC[starts[:, None] + stride * np.arange(clip_length)]
        return clips_BTHWC


def open_cache(sources: Sequence[Source], wanted: CacheFormat, cache: Path) -> FrameCache:
    """Footage, decoded on the first call and found again in ``cache`` afterwards.

    Frames that cannot be read are named in a warning; the video goes on behind them as another ``Video``.

    Raises:
        FatalError: nothing can be read, frames of several sizes from one camera, or the disk is full.
    """
    digest = _digest(sources)
    content = [CONTENT_VERSION, digest, asdict(wanted), *camera_names(sources)]
    place = cache / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    if not place.is_dir():
        _decode(sources, wanted, place)
    index = json.loads((place / "index.json").read_text())
    _warn(index["unreadable"])
    videos = tuple(Video(**video) for video in index["videos"])
    total = sum(video.num_frames for video in videos)
    shape = (total, wanted.frame.height, wanted.frame.width, wanted.frame.channels)
    return FrameCache(np.memmap(place / "frames.bin", np.uint8, "r", shape=shape), videos, digest)


def camera_names(footage: Sequence[Source | Video]) -> tuple[str, ...]:
    """Of the cameras that footage is from, in its order; none where there is only one."""
    return tuple(dict.fromkeys(part.camera for part in footage if part.camera))


def _decode(sources: Sequence[Source], wanted: CacheFormat, place: Path) -> None:
    """Fill a folder beside ``place``, then put it there, so that a crash leaves no half cache."""
    cache = place.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="unfinished-") as unfinished:
            content = Path(unfinished) / "content"
            content.mkdir()
            _fill(content, sources, wanted)
            content.rename(place)
    except OSError as error:
        if place.is_dir():  # another process of this training was first
            return
        raise FatalError(f"decoded footage must fit into '{cache}': {error}; free space or give --cache") from error


def _fill(content: Path, sources: Sequence[Source], wanted: CacheFormat) -> None:
    with (content / "frames.bin").open("wb") as out:
        writing = _Writing(out, wanted)
        for source in tqdm(sources, desc="decoding", unit="video", mininterval=5):
            writing.add(source)
        out.flush()
        os.fsync(out.fileno())
    if not writing.videos:
        text = f"at least one file must be readable, got none of {len(sources)}: {listed(writing.unreadable)}"
        raise FatalError(f"{text}; convert them to something OpenCV can read")
    index = {"videos": [asdict(video) for video in writing.videos], "unreadable": writing.unreadable}
    (content / "index.json").write_text(json.dumps(index))


@dataclass(slots=True)
class _Writing:
    """A cache that grows frame by frame."""

    out: BinaryIO
    wanted: CacheFormat
    videos: list[Video] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    total: int = 0

    def add(self, source: Source) -> None:
        choice = Rate(self.wanted.fps, self.wanted.image_fps).choice(source)
        first, offset = self.total, 0
        for position, frame in enumerate(read_frames(source, choice.numbers(), choice.num_known)):
            is_hole = isinstance(frame, Hole)
            if is_hole or position in choice.pauses:
                self._close(source, first, choice.fps, offset)
                first, offset = self.total, position + is_hole
            if isinstance(frame, Hole):
                self.unreadable.append(frame.what)
            else:
                self._write(source, frame)
        self._close(source, first, choice.fps, offset)

    def _close(self, source: Source, first: int, fps: float, offset: int) -> None:
        if self.total > first:
            self.videos.append(Video(source.name, first, self.total - first, fps, offset, source.camera))

    def _write(self, source: Source, image: UInt8) -> None:
        size = image.shape[:2]
        before = self.sizes.setdefault(source.camera, size)
        if size != before:
            text = f"all frames of a camera must have one size, '{source.name}' has {size[1]} x {size[0]} pixels"
            text += f" after frames of {before[1]} x {before[0]}"
            raise FatalError(f"{text}; convert them to one size, or give each camera's footage by a --data of its own")
        self.out.write(fit(_as_sent(image, self.wanted.jpeg_quality), self.wanted.frame).tobytes())
        self.total += 1


def _as_sent(image: UInt8, jpeg_quality: int | None) -> UInt8:
    if jpeg_quality is None:
        return image
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def _warn(unreadable: Sequence[str]) -> None:
    if unreadable:
        log.warning("left out %d that cannot be read: %s", len(unreadable), listed(unreadable))


def _digest(sources: Sequence[Source]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0")
        for path in source.files:
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
