"""Video as clips of the right size: decoded once into a flat file, then read through memory mapping.

A cached frame went the same way as a live one: JPEG as the producer sends it, decoded and resized by the worker's code.
So what the network learns, and what the calibration is fitted on, is what a worker will see.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from schemas.errors import FatalError
from workers.decode import FrameFormat, fit

UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".ts", ".wmv"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
GREY_TOLERANCE = 2
"""Levels that the colours of one pixel may differ by in a grey video; lossy codecs do not give exact equality."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stretch of consecutive frames: a video file, or the images of one folder in order of their names."""

    name: str
    files: tuple[Path, ...]

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.files[0].suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """What decides the content of a cache besides the footage.

    Attributes:
        frame: size and channels.
        fps: frames a second to keep; None = all of them.
        image_fps: rate of folders of images, which do not say it themselves.
        jpeg_quality: of the round trip that a live frame makes; None = none.
    """

    frame: FrameFormat
    fps: float | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90


@dataclass(frozen=True, slots=True)
class Video:
    """A source's place in a cache. ``fps`` is that of the frames kept."""

    name: str
    first_frame: int
    num_frames: int
    fps: float

    def clip_starts(self, clip_length: int) -> Int64:
        """First frames of all clips that lie within this video."""
        return np.arange(self.first_frame, self.first_frame + max(0, self.num_frames - clip_length + 1))


@dataclass(frozen=True, slots=True)
class FrameCache:
    """Decoded footage. ``frames_FHWC`` is memory-mapped uint8; ``digest`` names the footage, not its path."""

    frames_FHWC: UInt8
    videos: tuple[Video, ...]
    digest: str

    def clips(self, starts: Int64, clip_length: int) -> UInt8:
        """Clips (B, T, H, W, C) that begin at the given frames."""
        clips_BTHWC: UInt8 = self.frames_FHWC[starts[:, None] + np.arange(clip_length)]
        return clips_BTHWC


def find_sources(folder: Path) -> list[Source]:
    """Video files and folders of images anywhere under ``folder``, in order of their names.

    Raises:
        FatalError: there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    sources = [Source(path.relative_to(folder).as_posix(), (path,)) for path in videos]
    images: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.parent, []).append(path)
    for parent, members in images.items():
        name = parent.relative_to(folder).as_posix()
        sources.append(Source(name, tuple(sorted(members, key=lambda path: _natural(path.name)))))
    if not sources:
        endings = ", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        raise FatalError(f"'{folder}' must hold videos or folders of images ({endings}), found none; check the path")
    return sorted(sources, key=lambda source: source.name)


def is_grey(source: Source) -> bool:
    """Whether the first frame has no colour."""
    image = next(_images(source, CacheFormat(FrameFormat(0, 0, 0))))
    if image.ndim == 2:
        return True
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    return bool(np.quantile(spread, 0.99) <= GREY_TOLERANCE)


def open_cache(folder: Path, wanted: CacheFormat, cache: Path) -> FrameCache:
    """The footage under ``folder``, decoded on the first call and found again in ``cache`` afterwards.

    Raises:
        FatalError: no footage, or a file that cannot be read.
    """
    sources = find_sources(folder)
    digest = _digest(sources)
    key = hashlib.sha256(json.dumps([digest, asdict(wanted)], sort_keys=True).encode()).hexdigest()[:24]
    place = cache / key
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="unfinished-") as unfinished:
            _fill(Path(unfinished), sources, wanted)
            (Path(unfinished) / "content").rename(place)
    index = json.loads((place / "index.json").read_text())
    videos = tuple(Video(**video) for video in index)
    total = sum(video.num_frames for video in videos)
    shape = (total, wanted.frame.height, wanted.frame.width, wanted.frame.channels)
    return FrameCache(np.memmap(place / "frames.bin", np.uint8, "r", shape=shape), videos, digest)


def _fill(unfinished: Path, sources: list[Source], wanted: CacheFormat) -> None:
    content = unfinished / "content"
    content.mkdir()
    videos: list[Video] = []
    total = 0
    with (content / "frames.bin").open("wb") as out:
        for source in tqdm(sources, desc="decoding", unit="video", mininterval=5):
            count = 0
            for image in _images(source, wanted):
                out.write(fit(_as_sent(image, wanted.jpeg_quality), wanted.frame).tobytes())
                count += 1
            videos.append(Video(source.name, total, count, _kept_fps(source, wanted)))
            total += count
        out.flush()
        os.fsync(out.fileno())
    (content / "index.json").write_text(json.dumps([asdict(video) for video in videos]))


def _as_sent(image: UInt8, jpeg_quality: int | None) -> UInt8:
    if jpeg_quality is None:
        return image
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def _images(source: Source, wanted: CacheFormat) -> Iterator[UInt8]:
    """Every n-th frame of a source, so that about the wanted rate remains."""
    stride = _stride(_own_fps(source, wanted), wanted)
    if source.is_video:
        yield from _video_frames(source.files[0], stride)
        return
    for path in source.files[::stride]:
        image = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR)
        if image is None:
            raise FatalError(f"'{path}' must be an image OpenCV can read; remove or convert it")
        yield np.asarray(image, dtype=np.uint8)


def _video_frames(path: Path, stride: int) -> Iterator[UInt8]:
    capture = cv2.VideoCapture(str(path))
    try:
        index = 0
        while capture.grab():
            if index % stride == 0:
                yield np.asarray(capture.retrieve()[1], dtype=np.uint8)
            index += 1
        if index == 0:
            raise FatalError(f"'{path}' must be a video OpenCV can read; remove or convert it")
    finally:
        capture.release()


def _kept_fps(source: Source, wanted: CacheFormat) -> float:
    own = _own_fps(source, wanted)
    return own / _stride(own, wanted)


def _own_fps(source: Source, wanted: CacheFormat) -> float:
    if not source.is_video:
        return wanted.image_fps
    capture = cv2.VideoCapture(str(source.files[0]))
    try:
        return float(capture.get(cv2.CAP_PROP_FPS)) or wanted.image_fps
    finally:
        capture.release()


def _stride(own_fps: float, wanted: CacheFormat) -> int:
    return 1 if wanted.fps is None else max(1, round(own_fps / wanted.fps))


def _natural(name: str) -> tuple[int, str]:
    """Order by the number in the name, so that 10.jpg comes after 9.jpg."""
    digits = "".join(letter for letter in Path(name).stem if letter.isdigit())
    return (int(digits) if digits else -1, name)


def _digest(sources: list[Source]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0")
        for path in source.files:
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
